//! What clients see of SIP profiles.

use async_graphql::{ID, Object, SimpleObject};
use sipgraph_core::sip_profile;

use crate::{
    endpoint::{Cipher, Codec, Encryption},
    errors::UserError,
    id::sip_profile_id,
};

/// A SIP profile.
pub(crate) struct SipProfile {
    row: sip_profile::SipProfile,
}

impl SipProfile {
    pub(crate) fn new(row: sip_profile::SipProfile) -> Self {
        Self { row }
    }
}

/// What the endpoints of an account have that set nothing of their own. Each account has one. Source: SignalWire
/// (`sip_profile`).
#[Object]
impl SipProfile {
    /// Its opaque id; it stays the same.
    pub(crate) async fn id(&self) -> ID {
        sip_profile_id(self.row.account)
    }

    /// The cipher suites of endpoints without their own, most preferred first; all of them, the strongest first, until it is
    /// changed. Never empty.
    async fn default_ciphers(&self) -> Vec<Cipher> {
        let ciphers = self.row.default_ciphers.iter().copied();
        ciphers.map(Cipher::from).collect()
    }

    /// The codecs of endpoints without their own, most preferred first; all of them until it is changed. Never empty.
    async fn default_codecs(&self) -> Vec<Codec> {
        let codecs = self.row.default_codecs.iter().copied();
        codecs.map(Codec::from).collect()
    }

    /// Whether endpoints whose encryption is DEFAULT must be reached over an encrypted transport: REQUIRED, or OPTIONAL as until
    /// it is changed. Never DEFAULT.
    async fn default_encryption(&self) -> Encryption {
        self.row.default_encryption.into()
    }

    /// What endpoints send from whose `sendAs` is null: an E.164 number, or `random`. Null, as until it is changed: their own first
    /// number.
    async fn default_send_as(&self) -> Option<&str> {
        self.row.default_send_as.as_deref()
    }
}

/// The answer to `updateSipProfile`.
#[derive(SimpleObject)]
pub(crate) struct UpdateSipProfilePayload {
    /// The profile, with `dryRun` as it would be; null when it was refused.
    pub(crate) sip_profile: Option<SipProfile>,
    /// The names of the fields that changed; empty in a replay.
    pub(crate) changed_fields: Vec<String>,
    /// True when nothing was stored, because a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key changed it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when nothing was refused.
    pub(crate) user_errors: Vec<UserError>,
}
