//! What clients say about SIP profiles.

use async_graphql::{InputObject, MaybeUndefined};
use sipgraph_core::decide::sip_profiles::SipProfilePatch;

use crate::{
    endpoint::{Cipher, Codec, Encryption},
    patch::field,
};

/// What is to change of the account's SIP profile: an absent field stays as it is, null means what a new account has.
#[derive(InputObject)]
#[graphql(name = "SipProfilePatch")]
pub(crate) struct SipProfilePatchInput {
    /// The cipher suites of endpoints without their own, most preferred first, each kept once; null or an empty list means all.
    default_ciphers: MaybeUndefined<Vec<Cipher>>,
    /// The codecs of endpoints without their own, most preferred first, each kept once; null or an empty list means all.
    default_codecs: MaybeUndefined<Vec<Codec>>,
    /// Whether endpoints whose encryption is DEFAULT must be reached over an encrypted transport: REQUIRED or OPTIONAL; null means
    /// OPTIONAL. With REQUIRED their contacts over other transports are removed.
    default_encryption: MaybeUndefined<Encryption>,
    /// What endpoints send from whose `sendAs` is null: an E.164 number or `random`; null or an empty text means their own first
    /// number.
    default_send_as: MaybeUndefined<String>,
}

impl SipProfilePatchInput {
    pub(super) fn to_core(&self) -> SipProfilePatch {
        SipProfilePatch {
            default_ciphers: field(&self.default_ciphers, |list| {
                list.iter().copied().map(Into::into).collect()
            }),
            default_codecs: field(&self.default_codecs, |list| {
                list.iter().copied().map(Into::into).collect()
            }),
            default_encryption: field(&self.default_encryption, |value| (*value).into()),
            default_send_as: field(&self.default_send_as, String::clone),
        }
    }
}

/// The account's SIP profile to change.
#[derive(InputObject)]
pub(crate) struct UpdateSipProfileInput {
    /// What is to change.
    pub(super) patch: SipProfilePatchInput,
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}
