//! What the tests of decisions share.

use crate::digest::DigestAlgorithm;
use crate::endpoint::{Encryption, Endpoint, EndpointState, EndpointType, Nested};
use crate::ports::Entropy;
use crate::{AccountId, DomainId, EndpointId, Timestamp};
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
