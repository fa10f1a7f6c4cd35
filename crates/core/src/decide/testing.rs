//! What the tests of decisions share.

use crate::binding::Transport;
use crate::delivery::{Dispatch, Way};
use crate::digest::DigestAlgorithm;
use crate::endpoint::{
    Address, AddressDirection, Encryption, Endpoint, EndpointState, EndpointType, Nested,
};
use crate::message::Variables;
use crate::ports::Entropy;
use crate::{AccountId, AddressId, DomainId, EndpointId, ExchangeId, Timestamp};
use std::sync::atomic::{AtomicU8, Ordering};

/// Bytes that count up: different at each call, the same at each run.
#[derive(Default)]
pub(crate) struct Seeded(AtomicU8);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
    }
}

/// An enabled endpoint that never registered.
pub(crate) fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        id: EndpointId([3; 16]),
        account: AccountId([1; 16]),
        domain: DomainId([2; 16]),
        domain_name: "example.com".into(),
        external_id: 1,
        kind: EndpointType::SipUser,
        name: name.into(),
        canonical_name: name.into(),
        display_name: None,
        description: None,
        application: None,
        enabled: true,
        has_password: true,
        digest_algorithms: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
        numbers: Vec::new(),
        caller_id: None,
        send_as: None,
        allow_outside: false,
        ciphers: None,
        codecs: None,
        encryption: Encryption::Default,
        profile_encrypts: false,
        capacity: 0,
        cps_limit: None,
        auth_required: true,
        nested: Nested::default(),
        out_sip_username: None,
        has_out_sip_password: false,
        simulation: None,
        state: EndpointState::Unknown,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        version: 1,
        bindings_revision: 0,
    }
}

/// An address of a trunk for both directions; its number is its place in 192.0.2.0/24.
pub(crate) fn address(n: u8, priority: i32) -> Address {
    Address {
        id: AddressId([n; 16]),
        direction: AddressDirection::Any,
        ip: format!("192.0.2.{n}"),
        port: 5060,
        dst_port: 5060,
        priority,
        transport: Transport::Udp,
        srtp: false,
        location_sid: None,
        sip_username: None,
        has_sip_password: false,
    }
}

/// A trunk with these addresses.
pub(crate) fn trunk(name: &str, addresses: Vec<Address>) -> Endpoint {
    let mut trunk = endpoint(name);
    trunk.kind = EndpointType::ThirdParty;
    trunk.nested.addresses = addresses;
    trunk
}

/// A message on its way to the contacts of an endpoint.
pub(crate) fn dispatch() -> Dispatch {
    Dispatch {
        id: ExchangeId([5; 16]),
        account: AccountId([1; 16]),
        sender: EndpointId([2; 16]),
        recipient: EndpointId([3; 16]),
        way: Way::Contacts,
        out_message: None,
        from: "sip:bob@example.com".into(),
        from_name: None,
        to: "sip:alice@example.com".into(),
        body: "hi".into(),
        content_type: "text/plain".into(),
        variables: Variables::new(),
        taken: false,
        rounds: 0,
        created_at: Timestamp(0),
        expires_at: Timestamp(100_000_000),
        due_at: Timestamp(0),
        lease: 1,
    }
}
