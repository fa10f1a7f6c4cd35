//! Failed registrations: why a device does not come in.

use crate::binding::Transport;
use crate::defence::Source;
use crate::{AccountId, DomainId, EndpointId, RegistrationFailureId, Timestamp};

/// The most kinds of failures that are kept of one account; the latest stay.
pub const KEPT_MAX: u32 = 1000;
/// The longest address that is kept, in characters; the rest of what an attacker invents is cut.
pub const AOR_MAX: usize = 256;

/// Why a registration failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    /// The domain has no such user.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The password is right, but the nonce was used before or is not ours for this device: its address changed on the
    /// way, or the request was recorded and played again.
    StaleNonce,
    /// The endpoint is disabled.
    Disabled,
    /// The endpoint registers over TLS only.
    TlsRequired,
    /// The source is banned.
    Banned,
    /// The request breaks a rule of SIP.
    Malformed,
    /// The device used an algorithm that the domain does not offer or that the endpoint's password was not kept for.
    Algorithm,
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [FailureReason; 8] = [
        FailureReason::UnknownUser,
        FailureReason::WrongPassword,
        FailureReason::StaleNonce,
        FailureReason::Disabled,
        FailureReason::TlsRequired,
        FailureReason::Banned,
        FailureReason::Malformed,
        FailureReason::Algorithm,
    ];

    /// Returns its name as logs and metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReason::UnknownUser => "unknown_user",
            FailureReason::WrongPassword => "wrong_password",
            FailureReason::StaleNonce => "stale_nonce",
            FailureReason::Disabled => "disabled",
            FailureReason::TlsRequired => "tls_required",
            FailureReason::Banned => "banned",
            FailureReason::Malformed => "malformed",
            FailureReason::Algorithm => "algorithm",
        }
    }
}

/// What failed, as the front door tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRegistration {
    /// The owner of the domain.
    pub account: AccountId,
    /// The domain.
    pub domain: DomainId,
    /// The endpoint, where there is one with that name.
    pub endpoint: Option<EndpointId>,
    /// Who it wanted to be: `user@domain`.
    pub aor: String,
    /// Where it came from.
    pub source: Source,
    /// How it came.
    pub transport: Transport,
    /// Why it failed.
    pub reason: FailureReason,
}

/// The failures of one source at one address for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationFailure {
    /// Its id; stays when it fails again.
    pub id: RegistrationFailureId,
    /// When it failed last.
    pub at: Timestamp,
    /// How often it failed.
    pub count: i64,
    /// What failed, last.
    pub failed: FailedRegistration,
}
