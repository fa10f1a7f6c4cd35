//! Endpoints and their digest credentials, which are encrypted here and nowhere else.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Binary, Bool, Nullable, SmallInt, Text},
};
use sipgraph_core::{
    AccountId, EndpointId,
    digest::{DigestAlgorithm, Ha1, PasswordCharset},
    endpoint::{Endpoint, EndpointState, Simulation},
    keyring::{Keyring, Secret},
    ports::Entropy,
};

use super::{Corrupt, numbers};
use crate::{
    schema::{credentials, endpoints},
    sql::{Fixed, columns},
    types::{DbId, DbTime, Id, Time},
};

numbers! {
    "endpoint state" EndpointState: state_number state { Unknown = 0, Online = 1, Offline = 2 }
    "simulation" Simulation: simulation_number simulation { Echo = 0 }
    "digest algorithm" DigestAlgorithm: algorithm_number algorithm { Sha256 = 0, Md5 = 1 }
    "password charset" PasswordCharset: charset_number charset { Utf8 = 0, Latin1 = 1 }
}

/// Whether an endpoint is enabled: not in a domain whose deletion has begun.
pub(crate) fn enabled_now() -> Fixed<Bool> {
    Fixed::new(
        "(endpoints.enabled AND endpoints.domain_id NOT IN (SELECT domain_id FROM domain_deletions))",
    )
}

columns! {
    /// An endpoint.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = endpoints)]
    pub(crate) struct EndpointRow {
        account_id: DbId => Id,
        id: DbId => Id,
        domain_id: DbId => Id,
        domain_name: Text => String,
        external_id: BigInt => i64,
        name: Text => String,
        canonical_name: Text => String,
        display_name: Nullable<Text> => Option<String>,
        description: Nullable<Text> => Option<String>,
        #[diesel(select_expression = enabled_now())]
        #[diesel(select_expression_type = Fixed<Bool>)]
        enabled: Bool => bool,
        has_password: Bool => bool,
        simulation: Nullable<SmallInt> => Option<i16>,
        state: SmallInt => i16,
        created_at: DbTime => Time,
        updated_at: DbTime => Time,
        version: BigInt => i64,
        bindings_revision: BigInt => i64,
    }

    /// A sealed HA1 value and the id of the key that opens it.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = credentials)]
    pub(crate) struct CredentialRow {
        account_id: DbId => Id,
        endpoint_id: DbId => Id,
        algorithm: SmallInt => i16,
        charset: SmallInt => i16,
        key_id: Text => String,
        sealed: Binary => Vec<u8>,
    }
}

impl From<Endpoint> for EndpointRow {
    fn from(endpoint: Endpoint) -> Self {
        let Endpoint {
            id,
            account,
            domain,
            domain_name,
            external_id,
            name,
            canonical_name,
            display_name,
            description,
            enabled,
            has_password,
            simulation,
            state,
            created_at,
            updated_at,
            version,
            bindings_revision,
        } = endpoint;
        Self {
            account_id: account.into(),
            id: id.into(),
            domain_id: domain.into(),
            domain_name,
            external_id,
            name,
            canonical_name,
            display_name,
            description,
            enabled,
            has_password,
            simulation: simulation.map(simulation_number),
            state: state_number(state),
            created_at: created_at.into(),
            updated_at: updated_at.into(),
            version,
            bindings_revision,
        }
    }
}

impl TryFrom<EndpointRow> for Endpoint {
    type Error = Corrupt;

    fn try_from(row: EndpointRow) -> Result<Self, Corrupt> {
        let EndpointRow {
            account_id,
            id,
            domain_id,
            domain_name,
            external_id,
            name,
            canonical_name,
            display_name,
            description,
            enabled,
            has_password,
            simulation: simulation_number,
            state: state_number,
            created_at,
            updated_at,
            version,
            bindings_revision,
        } = row;
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            domain: domain_id.into(),
            domain_name,
            external_id,
            name,
            canonical_name,
            display_name,
            description,
            enabled,
            has_password,
            simulation: simulation_number.map(simulation).transpose()?,
            state: state(state_number)?,
            created_at: created_at.into(),
            updated_at: updated_at.into(),
            version,
            bindings_revision,
        })
    }
}

/// What a sealed value is bound to, so that it cannot be moved to another endpoint or algorithm.
fn bound_to(account: Id, endpoint: Id, algorithm: i16, charset: i16) -> Vec<u8> {
    let mut bytes = b"ha1".to_vec();
    bytes.extend(account.0);
    bytes.extend(endpoint.0);
    bytes.extend(algorithm.to_be_bytes());
    bytes.extend(charset.to_be_bytes());
    bytes
}

/// Encrypts an endpoint's HA1 values.
pub(crate) fn seal_credentials(
    keyring: &Keyring,
    entropy: &dyn Entropy,
    account: AccountId,
    endpoint: EndpointId,
    values: &[Ha1],
) -> Vec<CredentialRow> {
    values
        .iter()
        .map(|ha1| {
            let Ha1 {
                algorithm,
                charset,
                value,
            } = ha1;
            let mut nonce = [0; 24];
            entropy.fill(&mut nonce);
            let (account_id, endpoint_id) = (account.into(), endpoint.into());
            let (algorithm, charset) = (algorithm_number(*algorithm), charset_number(*charset));
            let bound_to = bound_to(account_id, endpoint_id, algorithm, charset);
            CredentialRow {
                account_id,
                endpoint_id,
                algorithm,
                charset,
                key_id: keyring.id_text(),
                sealed: keyring.seal(nonce, value.expose().as_bytes(), &bound_to),
            }
        })
        .collect()
}

/// Decrypts an endpoint's HA1 values.
pub(crate) fn open_credentials(
    keyring: &Keyring,
    rows: Vec<CredentialRow>,
) -> Result<Vec<Ha1>, Corrupt> {
    rows.into_iter()
        .map(|row| {
            let CredentialRow {
                account_id,
                endpoint_id,
                algorithm: algorithm_number,
                charset: charset_number,
                key_id,
                sealed,
            } = row;
            let bound_to = bound_to(account_id, endpoint_id, algorithm_number, charset_number);
            let value = keyring
                .open(&sealed, &bound_to)
                .map_err(|_| Corrupt::new(format!("credential sealed by key {key_id}")))?;
            let text = std::str::from_utf8(&value)
                .map_err(|_| Corrupt::new("credential that is not text"))?;
            Ok(Ha1 {
                algorithm: algorithm(algorithm_number)?,
                charset: charset(charset_number)?,
                value: Secret::new(text),
            })
        })
        .collect()
}
