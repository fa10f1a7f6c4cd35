//! SIP profiles, and what they mean for endpoints and contacts.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId,
    binding::Transport,
    endpoint::Encryption,
    ports::store::{AccountSettings, EncryptionBegun},
    sip_profile::SipProfile,
};

use super::Conn;
use crate::{
    rows::{BindingRow, SipProfileRow, convert, encryption_number, transport_number},
    schema::{accounts, bindings, endpoints, sip_profiles},
    types::Id,
};

pub(crate) async fn sip_profile(c: &mut Conn, account: AccountId) -> QueryResult<SipProfile> {
    let row = sip_profiles::table
        .find(Id::from(account))
        .select(SipProfileRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    Ok(match row {
        Some(row) => row.try_into()?,
        None => SipProfile::unchanged(account),
    })
}

pub(crate) async fn account_settings(
    c: &mut Conn,
    account: AccountId,
) -> QueryResult<AccountSettings> {
    let (unique_names, encryption): (bool, Option<i16>) = accounts::table
        .left_join(sip_profiles::table.on(sip_profiles::account_id.eq(accounts::id)))
        .filter(accounts::id.eq(Id::from(account)))
        .select((
            accounts::unique_names,
            sip_profiles::default_encryption.nullable(),
        ))
        .get_result(c)
        .await?;
    Ok(AccountSettings {
        unique_names,
        profile_encrypts: encryption == Some(encryption_number(Encryption::Required)),
    })
}

/// An account that began to demand encryption, with some of the contacts that it does not allow; one read transaction.
pub(crate) async fn encryption_next(
    c: &mut Conn,
    limit: u32,
) -> QueryResult<Option<EncryptionBegun>> {
    let begun = sip_profiles::table
        .filter(sip_profiles::is_begun)
        .order(sip_profiles::account_id)
        .select(SipProfileRow::as_select())
        .first(c)
        .await
        .optional()?;
    let Some(begun) = begun else {
        return Ok(None);
    };
    let profile: SipProfile = begun.try_into()?;
    let plain = [Transport::Udp, Transport::Tcp, Transport::Ws].map(transport_number);
    let of_endpoint = endpoints::account_id
        .eq(bindings::account_id)
        .and(endpoints::id.eq(bindings::endpoint_id));
    let rows = bindings::table
        .inner_join(endpoints::table.on(of_endpoint))
        .filter(bindings::account_id.eq(Id::from(profile.account)))
        .filter(bindings::transport.eq_any(plain))
        .filter(endpoints::encryption.eq(encryption_number(Encryption::Default)))
        .order((bindings::endpoint_id, bindings::id))
        .limit(limit.into())
        .select(BindingRow::as_select())
        .load(c)
        .await?;
    Ok(Some(EncryptionBegun {
        profile,
        bindings: convert(rows)?,
    }))
}
