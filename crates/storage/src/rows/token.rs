//! API tokens.

use diesel::{
    prelude::*,
    sql_types::{Binary, Nullable, Text},
};
use sipgraph_core::{access::Scope, token::ApiToken};

use super::{Corrupt, ids_from_bytes, ids_to_bytes};
use crate::{
    schema::tokens,
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

columns! {
    /// A token with the hash of its secret.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = tokens)]
    pub(crate) struct TokenRow {
        account_id: DbId => Id,
        id: DbId => Id,
        name: Text => String,
        secret_hash: Binary => Vec<u8>,
        scopes: Text => String,
        endpoint_ids: Nullable<Binary> => Option<Vec<u8>>,
        created_at: DbTime => Time,
        expires_at: Nullable<DbTime> => Option<Time>,
        revoked_at: Nullable<DbTime> => Option<Time>,
    }
}

impl TokenRow {
    /// Makes the row of a token.
    pub(crate) fn new(token: ApiToken, hash: [u8; 32]) -> Self {
        let ApiToken {
            id,
            account,
            name,
            scopes,
            endpoints,
            created_at,
            expires_at,
            revoked_at,
        } = token;
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        Self {
            account_id: account.into(),
            id: id.into(),
            name,
            secret_hash: hash.to_vec(),
            scopes: scopes.join(","),
            endpoint_ids: endpoints.map(|ids| ids_to_bytes(ids.iter().map(|id| id.0))),
            created_at: created_at.into(),
            expires_at: expires_at.map(Into::into),
            revoked_at: revoked_at.map(Into::into),
        }
    }
}

impl TryFrom<TokenRow> for ApiToken {
    type Error = Corrupt;

    fn try_from(row: TokenRow) -> Result<Self, Corrupt> {
        let TokenRow {
            account_id,
            id,
            name,
            secret_hash: _,
            scopes,
            endpoint_ids,
            created_at,
            expires_at,
            revoked_at,
        } = row;
        let scopes = scopes
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| Scope::parse(name).ok_or_else(|| Corrupt::new(format!("scope {name}"))))
            .collect::<Result<Vec<Scope>, Corrupt>>()?;
        let endpoints = match endpoint_ids {
            Some(bytes) => Some(
                ids_from_bytes(&bytes)?
                    .into_iter()
                    .map(|id| Id(id).into())
                    .collect(),
            ),
            None => None,
        };
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            name,
            scopes,
            endpoints,
            created_at: created_at.into(),
            expires_at: expires_at.map(Into::into),
            revoked_at: revoked_at.map(Into::into),
        })
    }
}
