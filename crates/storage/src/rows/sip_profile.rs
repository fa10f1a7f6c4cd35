//! SIP profiles.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Nullable, SmallInt, Text},
};
use sipgraph_core::{endpoint::Encryption, sip_profile::SipProfile};

use super::{
    Corrupt,
    endpoint::{ciphers, ciphers_text, codecs, codecs_text, encryption, encryption_number},
};
use crate::{
    schema::sip_profiles,
    sql::columns,
    types::{DbId, Id},
};

columns! {
    /// A SIP profile; an account that never changed its own has no row.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = sip_profiles)]
    pub(crate) struct SipProfileRow {
        account_id: DbId => Id,
        default_ciphers: Text => String,
        default_codecs: Text => String,
        default_encryption: SmallInt => i16,
        default_send_as: Nullable<Text> => Option<String>,
        version: BigInt => i64,
        is_begun: Bool => bool,
    }
}

impl From<SipProfile> for SipProfileRow {
    fn from(profile: SipProfile) -> Self {
        let SipProfile {
            account,
            default_ciphers,
            default_codecs,
            default_encryption,
            default_send_as,
            version,
        } = profile;
        Self {
            account_id: account.into(),
            default_ciphers: ciphers_text(&default_ciphers),
            default_codecs: codecs_text(&default_codecs),
            default_encryption: encryption_number(default_encryption),
            default_send_as,
            version,
            is_begun: default_encryption == Encryption::Required,
        }
    }
}

impl TryFrom<SipProfileRow> for SipProfile {
    type Error = Corrupt;

    fn try_from(row: SipProfileRow) -> Result<Self, Corrupt> {
        let SipProfileRow {
            account_id,
            default_ciphers,
            default_codecs,
            default_encryption,
            default_send_as,
            version,
            is_begun: _,
        } = row;
        Ok(Self {
            account: account_id.into(),
            default_ciphers: ciphers(&default_ciphers)?,
            default_codecs: codecs(&default_codecs)?,
            default_encryption: encryption(default_encryption)?,
            default_send_as,
            version,
        })
    }
}
