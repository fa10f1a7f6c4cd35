//! Endpoint tokens, failed registrations and lifted bans.

use std::collections::BTreeMap;

use diesel::{
    prelude::*,
    sql_types::{BigInt, Binary, Nullable, SmallInt, Text},
};
use sipgraph_core::{
    Timestamp,
    defence::Source,
    digest::{Ha1, PasswordCharset},
    endpoint_token::{EndpointToken, TokenCredentials},
    keyring::{Keyring, Sealer},
    ports::Entropy,
    registration_failure::{FailedRegistration, FailureReason, RegistrationFailure},
};

use super::{
    Corrupt, SealedRow,
    binding::{transport, transport_number},
    endpoint::{algorithm, algorithm_number},
    numbers,
    sealed::{opened, sealed},
};
use crate::{
    schema::{ban_lifts, endpoint_token_credentials, endpoint_tokens, registration_failures},
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

numbers! {
    "failure reason" FailureReason: reason_number reason {
        UnknownUser = 0, WrongPassword = 1, StaleNonce = 2, Disabled = 3, TlsRequired = 4, Banned = 5, Malformed = 6,
        Algorithm = 7,
    }
}

columns! {
    /// An endpoint token without its HA1 values.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = endpoint_tokens)]
    pub(crate) struct EndpointTokenRow {
        account_id: DbId => Id,
        id: DbId => Id,
        endpoint_id: DbId => Id,
        created_at: DbTime => Time,
        expires_at: DbTime => Time,
        revoked_at: Nullable<DbTime> => Option<Time>,
    }

    /// A sealed HA1 value of an endpoint token.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = endpoint_token_credentials)]
    pub(crate) struct TokenCredentialRow {
        account_id: DbId => Id,
        token_id: DbId => Id,
        algorithm: SmallInt => i16,
        key_id: Text => String,
        sealed: Binary => Vec<u8>,
    }

    /// The failures of one source at one address for one reason.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = registration_failures)]
    pub(crate) struct RegistrationFailureRow {
        account_id: DbId => Id,
        id: DbId => Id,
        failed_at: DbTime => Time,
        failures: BigInt => i64,
        domain_id: DbId => Id,
        endpoint_id: Nullable<DbId> => Option<Id>,
        aor: Text => String,
        source: Text => String,
        transport: SmallInt => i16,
        reason: SmallInt => i16,
    }

    /// A source that was let in.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = ban_lifts)]
    pub(crate) struct BanLiftRow {
        account_id: DbId => Id,
        source: Text => String,
        lifted_at: DbTime => Time,
    }

    /// Which lift.
    #[derive(Debug)]
    pub(crate) struct BanLiftKey {
        account_id: DbId => Id,
        source: Text => String,
    }
}

impl From<EndpointToken> for EndpointTokenRow {
    fn from(token: EndpointToken) -> Self {
        let EndpointToken {
            id,
            account,
            endpoint,
            created_at,
            expires_at,
            revoked_at,
        } = token;
        Self {
            account_id: account.into(),
            id: id.into(),
            endpoint_id: endpoint.into(),
            created_at: created_at.into(),
            expires_at: expires_at.into(),
            revoked_at: revoked_at.map(Into::into),
        }
    }
}

impl From<EndpointTokenRow> for EndpointToken {
    fn from(row: EndpointTokenRow) -> Self {
        let EndpointTokenRow {
            account_id,
            id,
            endpoint_id,
            created_at,
            expires_at,
            revoked_at,
        } = row;
        Self {
            id: id.into(),
            account: account_id.into(),
            endpoint: endpoint_id.into(),
            created_at: created_at.into(),
            expires_at: expires_at.into(),
            revoked_at: revoked_at.map(Into::into),
        }
    }
}

/// What a sealed value is bound to, so that it cannot be moved to another token, algorithm, or a password's place.
fn bound_to(account: Id, token: Id, algorithm: i16) -> Vec<u8> {
    let mut bytes = b"endpoint token ha1".to_vec();
    bytes.extend(account.0);
    bytes.extend(token.0);
    bytes.extend(algorithm.to_be_bytes());
    bytes
}

impl SealedRow for TokenCredentialRow {
    const TABLE: &'static str = "endpoint_token_credentials";
    const KEY: &'static [&'static str] = &["account_id", "token_id", "algorithm"];

    fn place(&self) -> (Id, Id) {
        (self.account_id, self.token_id)
    }

    fn bound_to(&self) -> Vec<u8> {
        bound_to(self.account_id, self.token_id, self.algorithm)
    }

    fn sealed(&self) -> (&str, &[u8]) {
        (&self.key_id, &self.sealed)
    }

    fn put(&mut self, key_id: String, sealed: Vec<u8>) {
        (self.key_id, self.sealed) = (key_id, sealed);
    }
}

/// Encrypts the HA1 values of a token. Its secret is ASCII, so that the charset makes no difference.
pub(crate) fn seal_token(
    sealer: &Sealer,
    entropy: &dyn Entropy,
    token: &EndpointToken,
    values: &[Ha1],
) -> Vec<TokenCredentialRow> {
    let (account_id, token_id) = (token.account.into(), token.id.into());
    values
        .iter()
        .map(|ha1| {
            let Ha1 {
                algorithm,
                charset: _,
                value,
            } = ha1;
            let algorithm = algorithm_number(*algorithm);
            let bound_to = bound_to(account_id, token_id, algorithm);
            TokenCredentialRow {
                account_id,
                token_id,
                algorithm,
                key_id: sealer.id().to_string(),
                sealed: sealed(sealer, entropy, value.expose(), &bound_to),
            }
        })
        .collect()
}

/// Decrypts the HA1 values of several tokens with their ends.
pub(crate) fn open_tokens(
    keyring: &Keyring,
    rows: Vec<(TokenCredentialRow, Time)>,
) -> Result<Vec<TokenCredentials>, Corrupt> {
    let mut tokens: BTreeMap<Id, TokenCredentials> = BTreeMap::new();
    for (row, expires_at) in rows {
        let value = opened(keyring, &row)?;
        let TokenCredentialRow {
            account_id: _,
            token_id,
            algorithm: algorithm_number,
            key_id: _,
            sealed: _,
        } = row;
        let token = tokens.entry(token_id).or_insert_with(|| TokenCredentials {
            id: token_id.into(),
            expires_at: expires_at.into(),
            ha1: Vec::new(),
        });
        token.ha1.push(Ha1 {
            algorithm: algorithm(algorithm_number)?,
            charset: PasswordCharset::Utf8,
            value,
        });
    }
    Ok(tokens.into_values().collect())
}

impl From<RegistrationFailure> for RegistrationFailureRow {
    fn from(failure: RegistrationFailure) -> Self {
        let RegistrationFailure {
            id,
            at,
            count,
            failed:
                FailedRegistration {
                    account,
                    domain,
                    endpoint,
                    aor,
                    source,
                    transport,
                    reason,
                },
        } = failure;
        Self {
            account_id: account.into(),
            id: id.into(),
            failed_at: at.into(),
            failures: count,
            domain_id: domain.into(),
            endpoint_id: endpoint.map(Into::into),
            aor,
            source: source.to_string(),
            transport: transport_number(transport),
            reason: reason_number(reason),
        }
    }
}

impl TryFrom<RegistrationFailureRow> for RegistrationFailure {
    type Error = Corrupt;

    fn try_from(row: RegistrationFailureRow) -> Result<Self, Corrupt> {
        let RegistrationFailureRow {
            account_id,
            id,
            failed_at,
            failures,
            domain_id,
            endpoint_id,
            aor,
            source,
            transport: transport_number,
            reason: reason_number,
        } = row;
        Ok(Self {
            id: id.into(),
            at: failed_at.into(),
            count: failures,
            failed: FailedRegistration {
                account: account_id.into(),
                domain: domain_id.into(),
                endpoint: endpoint_id.map(Into::into),
                aor,
                source: Source::parse(&source)
                    .ok_or_else(|| Corrupt::new(format!("source {source}")))?,
                transport: transport(transport_number)?,
                reason: reason(reason_number)?,
            },
        })
    }
}

impl BanLiftRow {
    /// Makes the row of a lift.
    pub(crate) fn new(account_id: Id, source: Source, at: Timestamp) -> Self {
        Self {
            account_id,
            source: source.to_string(),
            lifted_at: at.into(),
        }
    }
}
