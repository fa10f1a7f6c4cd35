//! SIP profiles: changed.

use super::Mint;
use super::endpoints::send_as;
use crate::commit::{Commit, Precondition, Write};
use crate::endpoint::{Cipher, Codec, Encryption, each_once};
use crate::error::Problem;
use crate::patch::Field;
use crate::sip_profile::SipProfile;

/// What is to change of a SIP profile. Null means what a profile has that was never changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SipProfilePatch {
    /// The cipher suites; an empty list means the same as null.
    pub default_ciphers: Field<Vec<Cipher>>,
    /// The codecs; an empty list means the same as null.
    pub default_codecs: Field<Vec<Codec>>,
    /// Whether encrypted transports are demanded.
    pub default_encryption: Field<Encryption>,
    /// What endpoints send from; an empty text means the same as null.
    pub default_send_as: Field<String>,
}

/// A changed SIP profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedSipProfile {
    /// The profile as it is now.
    pub profile: SipProfile,
    /// The names of the fields that changed, as the API has them.
    pub changed: Vec<&'static str>,
}

/// Decides on changing a SIP profile. `None` for the commit means that nothing changes.
///
/// # Errors
/// All that is wrong with the patch, below `patch`.
pub fn update(
    mint: &Mint<'_>,
    old: &SipProfile,
    patch: &SipProfilePatch,
) -> Result<(Option<Commit>, UpdatedSipProfile), Vec<Problem>> {
    let mut problems = Vec::new();
    if patch.default_encryption == Field::Value(Encryption::Default) {
        problems.push(Problem::validation(
            "patch.defaultEncryption",
            "A profile is what DEFAULT means for endpoints; give REQUIRED or OPTIONAL.",
        ));
    }
    let mut default_send_as = patch.default_send_as.over(&old.default_send_as);
    let given = patch.default_send_as.value();
    if let Some(text) = given.filter(|text| !text.is_empty()) {
        match send_as("patch.defaultSendAs", text) {
            Ok(number) => default_send_as = Some(number),
            Err(found) => problems.push(found),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let unchanged = SipProfile::unchanged(old.account);
    let mut profile = SipProfile {
        default_ciphers: list(
            &patch.default_ciphers,
            &old.default_ciphers,
            unchanged.default_ciphers,
        ),
        default_codecs: list(
            &patch.default_codecs,
            &old.default_codecs,
            unchanged.default_codecs,
        ),
        default_encryption: patch
            .default_encryption
            .over_default(&old.default_encryption, unchanged.default_encryption),
        default_send_as: default_send_as.filter(|text| !text.is_empty()),
        ..old.clone()
    };
    let changed: Vec<&'static str> = [
        (
            "defaultCiphers",
            profile.default_ciphers != old.default_ciphers,
        ),
        (
            "defaultCodecs",
            profile.default_codecs != old.default_codecs,
        ),
        (
            "defaultEncryption",
            profile.default_encryption != old.default_encryption,
        ),
        (
            "defaultSendAs",
            profile.default_send_as != old.default_send_as,
        ),
    ]
    .into_iter()
    .filter_map(|(name, is_changed)| is_changed.then_some(name))
    .collect();
    if changed.is_empty() {
        return Ok((None, UpdatedSipProfile { profile, changed }));
    }
    profile.version += 1;
    let commit = Commit {
        preconditions: vec![Precondition::SipProfileAt(old.version)],
        writes: vec![Write::SipProfilePut(profile.clone())],
        ..Commit::empty(old.account, mint.now)
    };
    Ok((Some(commit), UpdatedSipProfile { profile, changed }))
}

/// Decides on noting that no contact is left over a transport that the profile, at a version, does not allow.
#[must_use]
pub fn enforced(mint: &Mint<'_>, profile: &SipProfile) -> Commit {
    Commit {
        preconditions: vec![Precondition::SipProfileAt(profile.version)],
        writes: vec![Write::SipProfileEnforced],
        ..Commit::empty(profile.account, mint.now)
    }
}

fn list<T: Copy + PartialEq>(given: &Field<Vec<T>>, old: &Vec<T>, default: Vec<T>) -> Vec<T> {
    let list = each_once(&given.over_default(old, Vec::new()));
    if list.is_empty() { default } else { list }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::Seeded;
    use crate::{AccountId, Timestamp};

    fn changed(
        old: &SipProfile,
        patch: &SipProfilePatch,
    ) -> Result<(Option<Commit>, UpdatedSipProfile), Vec<Problem>> {
        let entropy = Seeded::default();
        update(&Mint::new(Timestamp(5), &entropy), old, patch)
    }

    #[test]
    fn d091_null_and_an_empty_list_are_what_a_new_account_has() {
        let new = SipProfile::unchanged(AccountId([1; 16]));
        let patch = SipProfilePatch {
            default_codecs: vec![Codec::Pcma, Codec::Opus, Codec::Pcma].into(),
            default_encryption: Encryption::Required.into(),
            default_send_as: "+12125551212".to_owned().into(),
            ..SipProfilePatch::default()
        };
        let (commit, updated) = changed(&new, &patch).unwrap();
        assert_eq!(
            updated.changed,
            ["defaultCodecs", "defaultEncryption", "defaultSendAs"]
        );
        assert_eq!(updated.profile.default_codecs, [Codec::Pcma, Codec::Opus]);
        assert_eq!((updated.profile.version, new.version), (1, 0));
        assert_eq!(
            commit.unwrap().preconditions,
            [Precondition::SipProfileAt(0)]
        );
        let back = SipProfilePatch {
            default_ciphers: Field::Null,
            default_codecs: Vec::new().into(),
            default_encryption: Field::Null,
            default_send_as: String::new().into(),
        };
        let (_, back) = changed(&updated.profile, &back).unwrap();
        assert_eq!(back.profile, SipProfile { version: 2, ..new });
        let (commit, _) = changed(&back.profile, &SipProfilePatch::default()).unwrap();
        assert!(commit.is_none());
    }

    #[test]
    fn d094_what_is_wrong_comes_together() {
        let patch = SipProfilePatch {
            default_encryption: Encryption::Default.into(),
            default_send_as: "anybody".to_owned().into(),
            ..SipProfilePatch::default()
        };
        let problems = changed(&SipProfile::unchanged(AccountId([1; 16])), &patch).unwrap_err();
        let fields: Vec<String> = problems.iter().map(|p| p.field.join(".")).collect();
        assert_eq!(fields, ["patch.defaultEncryption", "patch.defaultSendAs"]);
    }
}
