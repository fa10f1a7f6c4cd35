//! Endpoints and their digest credentials, which are encrypted here and nowhere else.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text},
};
use sipgraph_core::{
    AccountId, EndpointId,
    commit::EndpointSecret,
    digest::{DigestAlgorithm, Ha1, PasswordCharset},
    endpoint::{Cipher, Codec, Encryption, Endpoint, EndpointState, EndpointType, Simulation},
    keyring::{Keyring, Sealer, Secret},
    ports::Entropy,
};

use super::{
    Corrupt, SealedRow, domain, nested, numbers,
    sealed::{opened, sealed},
};
use crate::{
    schema::{credentials, endpoint_secrets, endpoints},
    sql::{Fixed, columns},
    types::{DbId, DbTime, Id, Time},
};

numbers! {
    "endpoint state" EndpointState: state_number state { Unknown = 0, Online = 1, Offline = 2 }
    "simulation" Simulation: simulation_number simulation {
        Echo = 0, Busy = 1, Slow = 2, Flaky = 3, Offline = 4,
    }
    "digest algorithm" DigestAlgorithm: algorithm_number algorithm { Sha256 = 0, Md5 = 1, Sha512_256 = 2 }
    "endpoint type" EndpointType: kind_number kind {
        SipUser = 0, ThirdParty = 1, Mediator = 2, Flexml = 3, Conference = 4, ConferenceV2 = 5, ConferencePlayback = 6,
        Voicemail = 7, SystemGateway = 8,
    }
    "encryption" Encryption: encryption_number encryption { Default = 0, Required = 1, Optional = 2 }
    "password charset" PasswordCharset: charset_number charset { Utf8 = 0, Latin1 = 1 }
}

/// Whether an endpoint is enabled: not in a domain whose deletion has begun.
pub(crate) fn enabled_now() -> Fixed<Bool> {
    Fixed::new(
        "(endpoints.enabled AND endpoints.domain_id NOT IN (SELECT domain_id FROM domain_deletions))",
    )
}

/// What is added to the number of an endpoint's encryption, when it is read, where the account's profile demands encryption.
const DEMANDED: i16 = 3;

/// An endpoint's encryption, and by [`DEMANDED`] whether its account's profile demands it: one column, because a row is written as it
/// is read.
pub(crate) fn encryption_now() -> Fixed<SmallInt> {
    // 1 is the number of REQUIRED, 3 is DEMANDED.
    Fixed::new(
        "(CASE WHEN EXISTS (SELECT 1 FROM sip_profiles p WHERE p.account_id = endpoints.account_id \
         AND p.default_encryption = 1) THEN CAST(endpoints.encryption + 3 AS smallint) ELSE endpoints.encryption END)",
    )
}

/// Declares the names that stand for the values of an enumeration in a list, which is one text.
macro_rules! lists {
    ($($what:literal $enum:ty: $to:ident $from:ident { $($variant:ident = $name:literal),+ $(,)? })+) => {$(
        pub(crate) fn $to(values: &[$enum]) -> String {
            let names: Vec<&str> = values
                .iter()
                .map(|value| match value { $(<$enum>::$variant => $name),+ })
                .collect();
            names.join(",")
        }

        pub(crate) fn $from(text: &str) -> Result<Vec<$enum>, Corrupt> {
            text.split(',')
                .map(|name| match name {
                    $($name => Ok(<$enum>::$variant),)+
                    _ => Err(Corrupt::new(format!(concat!($what, " {}"), name))),
                })
                .collect()
        }
    )+};
}

lists! {
    "cipher" Cipher: ciphers_text ciphers {
        AeadAes256Gcm8 = "AEAD_AES_256_GCM_8",
        Aes256CmHmacSha1With80 = "AES_256_CM_HMAC_SHA1_80",
        AesCm128HmacSha1With80 = "AES_CM_128_HMAC_SHA1_80",
        Aes256CmHmacSha1With32 = "AES_256_CM_HMAC_SHA1_32",
        AesCm128HmacSha1With32 = "AES_CM_128_HMAC_SHA1_32",
    }
    "codec" Codec: codecs_text codecs {
        Opus = "OPUS", G722 = "G722", Pcmu = "PCMU", Pcma = "PCMA", Vp8 = "VP8", H264 = "H264",
    }
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
        kind: SmallInt => i16,
        application_id: Nullable<DbId> => Option<Id>,
        digest_algorithms: Text => String,
        caller_id: Nullable<Text> => Option<String>,
        send_as: Nullable<Text> => Option<String>,
        allow_outside: Bool => bool,
        ciphers: Nullable<Text> => Option<String>,
        codecs: Nullable<Text> => Option<String>,
        #[diesel(select_expression = encryption_now())]
        #[diesel(select_expression_type = Fixed<SmallInt>)]
        encryption: SmallInt => i16,
        capacity: Integer => i32,
        cps_limit: Nullable<Integer> => Option<i32>,
        auth_required: Bool => bool,
        nested: Nullable<Text> => Option<String>,
        out_sip_username: Nullable<Text> => Option<String>,
        has_out_sip_password: Bool => bool,
        numbers: Nullable<Text> => Option<String>,
    }

    /// What a change of an endpoint writes: all but what it is, where it stands and its presence.
    #[derive(Debug)]
    pub(crate) struct EndpointChangeRow {
        account_id: DbId => Id,
        id: DbId => Id,
        display_name: Nullable<Text> => Option<String>,
        description: Nullable<Text> => Option<String>,
        enabled: Bool => bool,
        has_password: Bool => bool,
        simulation: Nullable<SmallInt> => Option<i16>,
        updated_at: DbTime => Time,
        version: BigInt => i64,
        application_id: Nullable<DbId> => Option<Id>,
        digest_algorithms: Text => String,
        caller_id: Nullable<Text> => Option<String>,
        send_as: Nullable<Text> => Option<String>,
        allow_outside: Bool => bool,
        ciphers: Nullable<Text> => Option<String>,
        codecs: Nullable<Text> => Option<String>,
        encryption: SmallInt => i16,
        capacity: Integer => i32,
        cps_limit: Nullable<Integer> => Option<i32>,
        auth_required: Bool => bool,
        nested: Nullable<Text> => Option<String>,
        out_sip_username: Nullable<Text> => Option<String>,
        has_out_sip_password: Bool => bool,
        numbers: Nullable<Text> => Option<String>,
    }

    /// The HA1 values of one algorithm of an endpoint.
    #[derive(Debug)]
    pub(crate) struct CredentialKey {
        account_id: DbId => Id,
        endpoint_id: DbId => Id,
        algorithm: SmallInt => i16,
    }

    /// A secret of an endpoint.
    #[derive(Debug)]
    pub(crate) struct SecretKey {
        account_id: DbId => Id,
        endpoint_id: DbId => Id,
        kind: SmallInt => i16,
        item_id: DbId => Id,
    }

    /// A sealed secret and the id of the key that opens it.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = endpoint_secrets)]
    pub(crate) struct SecretRow {
        account_id: DbId => Id,
        endpoint_id: DbId => Id,
        kind: SmallInt => i16,
        item_id: DbId => Id,
        key_id: Text => String,
        sealed: Binary => Vec<u8>,
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

/// The numbers of an endpoint as one text; none for the many that have none.
fn numbers_text(numbers: &[String]) -> Option<String> {
    (!numbers.is_empty()).then(|| numbers.join(","))
}

fn numbers_of(text: Option<&str>) -> Vec<String> {
    let numbers = text.into_iter().flat_map(|text| text.split(','));
    numbers.map(str::to_owned).collect()
}

impl EndpointRow {
    /// Makes the row of an endpoint.
    pub(crate) fn new(endpoint: Endpoint) -> QueryResult<Self> {
        let Endpoint {
            id,
            account,
            domain,
            domain_name,
            external_id,
            kind,
            name,
            canonical_name,
            display_name,
            description,
            application,
            enabled,
            has_password,
            digest_algorithms,
            numbers,
            caller_id,
            send_as,
            allow_outside,
            ciphers,
            codecs,
            encryption,
            profile_encrypts: _,
            capacity,
            cps_limit,
            auth_required,
            nested,
            out_sip_username,
            has_out_sip_password,
            simulation,
            state,
            created_at,
            updated_at,
            version,
            bindings_revision,
        } = endpoint;
        Ok(Self {
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
            kind: kind_number(kind),
            application_id: application.map(Into::into),
            digest_algorithms: domain::digest_algorithms_text(&digest_algorithms),
            caller_id,
            send_as,
            allow_outside,
            ciphers: ciphers.as_deref().map(ciphers_text),
            codecs: codecs.as_deref().map(codecs_text),
            encryption: encryption_number(encryption),
            capacity,
            cps_limit,
            auth_required,
            nested: nested::write(nested)?,
            out_sip_username,
            has_out_sip_password,
            numbers: numbers_text(&numbers),
        })
    }
}

impl EndpointChangeRow {
    /// Makes the row of a changed endpoint.
    pub(crate) fn new(endpoint: Endpoint) -> QueryResult<Self> {
        let EndpointRow {
            account_id,
            id,
            domain_id: _,
            domain_name: _,
            external_id: _,
            name: _,
            canonical_name: _,
            display_name,
            description,
            enabled,
            has_password,
            simulation,
            state: _,
            created_at: _,
            updated_at,
            version,
            bindings_revision: _,
            kind: _,
            application_id,
            digest_algorithms,
            caller_id,
            send_as,
            allow_outside,
            ciphers,
            codecs,
            encryption,
            capacity,
            cps_limit,
            auth_required,
            nested,
            out_sip_username,
            has_out_sip_password,
            numbers,
        } = EndpointRow::new(endpoint)?;
        Ok(Self {
            account_id,
            id,
            display_name,
            description,
            enabled,
            has_password,
            simulation,
            updated_at,
            version,
            application_id,
            digest_algorithms,
            caller_id,
            send_as,
            allow_outside,
            ciphers,
            codecs,
            encryption,
            capacity,
            cps_limit,
            auth_required,
            nested,
            out_sip_username,
            has_out_sip_password,
            numbers,
        })
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
            kind: kind_number,
            application_id,
            digest_algorithms,
            caller_id,
            send_as,
            allow_outside,
            ciphers: ciphers_text,
            codecs: codecs_text,
            encryption: encryption_number,
            capacity,
            cps_limit,
            auth_required,
            nested,
            out_sip_username,
            has_out_sip_password,
            numbers,
        } = row;
        let profile_encrypts = encryption_number >= DEMANDED;
        let own_encryption = if profile_encrypts {
            encryption_number - DEMANDED
        } else {
            encryption_number
        };
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            domain: domain_id.into(),
            domain_name,
            external_id,
            kind: kind(kind_number)?,
            name,
            canonical_name,
            display_name,
            description,
            application: application_id.map(Into::into),
            enabled,
            has_password,
            digest_algorithms: domain::digest_algorithms(&digest_algorithms)?,
            numbers: numbers_of(numbers.as_deref()),
            caller_id,
            send_as,
            allow_outside,
            ciphers: ciphers_text.as_deref().map(ciphers).transpose()?,
            codecs: codecs_text.as_deref().map(codecs).transpose()?,
            encryption: encryption(own_encryption)?,
            profile_encrypts,
            capacity,
            cps_limit,
            auth_required,
            nested: nested::read(nested.as_deref())?,
            out_sip_username,
            has_out_sip_password,
            simulation: simulation_number.map(simulation).transpose()?,
            state: state(state_number)?,
            created_at: created_at.into(),
            updated_at: updated_at.into(),
            version,
            bindings_revision,
        })
    }
}

impl SecretRow {
    /// Returns which secret it is.
    pub(crate) fn which(&self) -> Result<EndpointSecret, Corrupt> {
        match self.kind {
            0 => Ok(EndpointSecret::OutSipPassword),
            1 => Ok(EndpointSecret::VoipToken),
            2 => Ok(EndpointSecret::AddressPassword(self.item_id.into())),
            kind => Err(Corrupt::new(format!("kind of a secret {kind}"))),
        }
    }
}

impl SecretKey {
    /// Makes the key of a secret.
    pub(crate) fn new(account: AccountId, endpoint: EndpointId, which: EndpointSecret) -> Self {
        let (kind, item_id) = match which {
            EndpointSecret::OutSipPassword => (0, Id([0; 16])),
            EndpointSecret::VoipToken => (1, Id([0; 16])),
            EndpointSecret::AddressPassword(address) => (2, address.into()),
        };
        Self {
            account_id: account.into(),
            endpoint_id: endpoint.into(),
            kind,
            item_id,
        }
    }

    fn bound_to(&self) -> Vec<u8> {
        let mut bytes = b"endpoint secret".to_vec();
        bytes.extend(self.account_id.0);
        bytes.extend(self.endpoint_id.0);
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(self.item_id.0);
        bytes
    }
}

/// Encrypts a secret of an endpoint.
pub(crate) fn seal_secret(
    sealer: &Sealer,
    entropy: &dyn Entropy,
    key: SecretKey,
    secret: &Secret,
) -> SecretRow {
    let sealed = sealed(sealer, entropy, secret.expose(), &key.bound_to());
    let SecretKey {
        account_id,
        endpoint_id,
        kind,
        item_id,
    } = key;
    SecretRow {
        account_id,
        endpoint_id,
        kind,
        item_id,
        key_id: sealer.id().to_string(),
        sealed,
    }
}

/// Decrypts a secret of an endpoint.
pub(crate) fn open_secret(
    keyring: &Keyring,
    row: SecretRow,
) -> Result<(EndpointId, Secret), Corrupt> {
    Ok((row.endpoint_id.into(), opened(keyring, &row)?))
}

impl SealedRow for SecretRow {
    const TABLE: &'static str = "endpoint_secrets";
    const KEY: &'static [&'static str] = &["account_id", "endpoint_id", "kind", "item_id"];

    fn place(&self) -> (Id, Id) {
        (self.account_id, self.endpoint_id)
    }

    fn bound_to(&self) -> Vec<u8> {
        let key = SecretKey {
            account_id: self.account_id,
            endpoint_id: self.endpoint_id,
            kind: self.kind,
            item_id: self.item_id,
        };
        key.bound_to()
    }

    fn sealed(&self) -> (&str, &[u8]) {
        (&self.key_id, &self.sealed)
    }

    fn put(&mut self, key_id: String, sealed: Vec<u8>) {
        (self.key_id, self.sealed) = (key_id, sealed);
    }
}

impl SealedRow for CredentialRow {
    const TABLE: &'static str = "credentials";
    const KEY: &'static [&'static str] = &["account_id", "endpoint_id", "algorithm", "charset"];

    fn place(&self) -> (Id, Id) {
        (self.account_id, self.endpoint_id)
    }

    fn bound_to(&self) -> Vec<u8> {
        bound_to(
            self.account_id,
            self.endpoint_id,
            self.algorithm,
            self.charset,
        )
    }

    fn sealed(&self) -> (&str, &[u8]) {
        (&self.key_id, &self.sealed)
    }

    fn put(&mut self, key_id: String, sealed: Vec<u8>) {
        (self.key_id, self.sealed) = (key_id, sealed);
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
    sealer: &Sealer,
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
            let (account_id, endpoint_id) = (account.into(), endpoint.into());
            let (algorithm, charset) = (algorithm_number(*algorithm), charset_number(*charset));
            let bound_to = bound_to(account_id, endpoint_id, algorithm, charset);
            CredentialRow {
                account_id,
                endpoint_id,
                algorithm,
                charset,
                key_id: sealer.id().to_string(),
                sealed: sealed(sealer, entropy, value.expose(), &bound_to),
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
            Ok(Ha1 {
                algorithm: algorithm(row.algorithm)?,
                charset: charset(row.charset)?,
                value: opened(keyring, &row)?,
            })
        })
        .collect()
}
