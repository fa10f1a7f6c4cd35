//! Opaque ids of the Relay Node specification: a letter for the kind and the sixteen bytes of the id, in base64url.
//!
//! Clients must not take them apart, and need not: a text that is no id of the wanted kind is read as the nil id, which
//! no object has, so that it is "not found" wherever it is used.

use async_graphql::ID;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sipgraph_core::{
    AccountId, AddressId, ApplicationId, BindingId, ChatId, DeliveryId, DomainId, EndpointId,
    EndpointTokenId, EventId, ExchangeId, MessageId, RegistrationFailureId, TokenId,
    TransformationId,
};

/// An id that clients see.
pub(crate) trait NodeId: Copy {
    /// The letter of its kind.
    const KIND: u8;

    /// Returns its bytes.
    fn bytes(self) -> [u8; 16];

    /// Makes it of bytes.
    fn from_bytes(bytes: [u8; 16]) -> Self;

    /// Writes it for clients.
    fn to_id(self) -> ID {
        let mut bytes = [Self::KIND; 17];
        bytes[1..].copy_from_slice(&self.bytes());
        ID(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads what a client sent; anything else than an id of this kind is the nil id.
    fn of(id: &ID) -> Self {
        let bytes = parse(id)
            .filter(|(kind, _)| *kind == Self::KIND)
            .map(|(_, bytes)| bytes);
        Self::from_bytes(bytes.unwrap_or_default())
    }

    /// Reads a list.
    fn all(ids: &[ID]) -> Vec<Self> {
        ids.iter().map(Self::of).collect()
    }
}

fn parse(id: &ID) -> Option<(u8, [u8; 16])> {
    let bytes: [u8; 17] = URL_SAFE_NO_PAD.decode(id.as_str()).ok()?.try_into().ok()?;
    let (kind, rest) = bytes.split_first()?;
    Some((*kind, rest.try_into().ok()?))
}

/// Returns the id of an account's SIP profile, for clients' caches; nothing is found by it.
pub(crate) fn sip_profile_id(account: AccountId) -> ID {
    let mut bytes = [b'S'; 17];
    bytes[1..].copy_from_slice(&account.0);
    ID(URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads the id of an endpoint as clients see it, for the command line; `None` for anything else.
#[must_use]
pub fn endpoint_id(text: &str) -> Option<EndpointId> {
    parse(&ID::from(text))
        .filter(|(kind, _)| *kind == EndpointId::KIND)
        .map(|(_, bytes)| EndpointId(bytes))
}

/// Returns the letter of an id's kind.
pub(crate) fn kind(id: &ID) -> Option<u8> {
    parse(id).map(|(kind, _)| kind)
}

macro_rules! node_ids {
    ($($id:ident $kind:literal;)*) => {$(
        impl NodeId for $id {
            const KIND: u8 = $kind;

            fn bytes(self) -> [u8; 16] {
                self.0
            }

            fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }
    )*};
}

node_ids! {
    AccountId b'A';
    AddressId b'R';
    ApplicationId b'P';
    BindingId b'B';
    ChatId b'C';
    DeliveryId b'Y';
    DomainId b'D';
    EndpointId b'E';
    EndpointTokenId b'K';
    EventId b'V';
    ExchangeId b'X';
    MessageId b'M';
    RegistrationFailureId b'N';
    TokenId b'T';
    TransformationId b'F';
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_only_as_its_own_kind() {
        let endpoint = EndpointId([7; 16]);
        assert_eq!(EndpointId::of(&endpoint.to_id()), endpoint);
        assert_eq!(ChatId::of(&endpoint.to_id()), ChatId([0; 16]));
        assert_eq!(endpoint_id(&endpoint.to_id()), Some(endpoint));
        assert_eq!(endpoint_id(&ChatId([7; 16]).to_id()), None);
        for text in ["", "alice", "AAAA", "%%%", "../../etc"] {
            assert_eq!(
                EndpointId::of(&ID::from(text)),
                EndpointId([0; 16]),
                "{text}"
            );
        }
    }
}
