//! Typed identifiers: UUIDv7 inside (RFC 9562 section 5.7). The opaque ids of GraphQL are made in the gateway.

use crate::Timestamp;
use std::fmt;

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Makes a UUIDv7 from a time and ten random bytes.
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                Self(uuid_v7(now, random))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), uuid::Uuid::from_bytes(self.0).simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

typed_ids! {
    /// Identifies an account, the tenant that owns everything else.
    AccountId "acc";
    /// Identifies a SIP domain.
    DomainId "dom";
    /// Identifies an application.
    ApplicationId "app";
    /// Identifies an endpoint.
    EndpointId "ep";
    /// Identifies an address of an endpoint.
    AddressId "adr";
    /// Identifies a transformation of an endpoint.
    TransformationId "trf";
    /// Identifies a binding of an endpoint to a contact (RFC 3261 section 10).
    BindingId "bnd";
    /// Identifies a message in the store of one endpoint.
    MessageId "msg";
    /// Identifies one message on its way, common to the sender's and the recipient's copy.
    ExchangeId "exc";
    /// Identifies a chat.
    ChatId "cht";
    /// Identifies one attempt to deliver to one contact.
    DeliveryId "dlv";
    /// Identifies a bearer token (not its secret).
    TokenId "tok";
    /// Identifies a short-lived password of an endpoint (not its secret).
    EndpointTokenId "etk";
    /// Identifies a kind of failed registration.
    RegistrationFailureId "rgf";
    /// Identifies an event of the log.
    EventId "evt";
    /// Identifies one run of the program, to tell whose stream connections a binding names.
    NodeId "node";
}

fn uuid_v7(now: Timestamp, random: [u8; 10]) -> [u8; 16] {
    *uuid::Builder::from_unix_timestamp_millis(now.unix_millis(), &random)
        .into_uuid()
        .as_bytes()
}
