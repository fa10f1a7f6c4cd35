//! The SIP profile of an account: what its endpoints have where they set nothing of their own. Source: SignalWire.

use crate::AccountId;
use crate::endpoint::{Cipher, Codec, Encryption};

/// A SIP profile; each account has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipProfile {
    /// Its account.
    pub account: AccountId,
    /// The cipher suites of endpoints without their own, most preferred first; never empty.
    pub default_ciphers: Vec<Cipher>,
    /// The codecs of endpoints without their own, most preferred first; never empty.
    pub default_codecs: Vec<Codec>,
    /// Whether endpoints that leave it to the profile must be reached over an encrypted transport: never
    /// [`Encryption::Default`].
    pub default_encryption: Encryption,
    /// What endpoints send from that say nothing: an E.164 number, or [`crate::endpoint::SEND_AS_RANDOM`]; `None` leaves
    /// them their own numbers.
    pub default_send_as: Option<String>,
    /// Counts its changes, from 0: the profile of an account that never changed it.
    pub version: i64,
}

impl SipProfile {
    /// Returns the profile of an account that never changed it.
    #[must_use]
    pub fn unchanged(account: AccountId) -> Self {
        Self {
            account,
            default_ciphers: Cipher::ALL.to_vec(),
            default_codecs: Codec::ALL.to_vec(),
            default_encryption: Encryption::Optional,
            default_send_as: None,
            version: 0,
        }
    }
}
