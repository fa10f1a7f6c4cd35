//! Encryption at the storage border: core hands over HA1 values and other secrets in the clear and gets them back so; the tables hold them sealed.

use std::sync::Arc;

use sipgraph_core::{
    AccountId, EndpointId,
    digest::Ha1,
    endpoint_token::{EndpointToken, TokenCredentials},
    keyring::{KeyId, Keyring, Sealer, Secret},
    ports::Entropy,
};

use crate::{
    rows::{
        self, Corrupt, CredentialRow, SealedRow, SecretKey, SecretRow, TokenCredentialRow, opened,
    },
    types::Time,
};

/// The instance keys and a source of nonces.
#[derive(Clone)]
pub(crate) struct Sealing {
    keyring: Keyring,
    entropy: Arc<dyn Entropy>,
}

impl Sealing {
    pub(crate) fn new(keyring: Keyring, entropy: Arc<dyn Entropy>) -> Self {
        Self { keyring, entropy }
    }

    /// Gives what seals with the key that the database has noted as the one in use.
    pub(crate) fn with(&self, key: KeyId) -> Result<Seal, Corrupt> {
        let sealer = self.keyring.sealer(key);
        Ok(Seal {
            sealer: sealer.ok_or_else(|| {
                Corrupt::new(format!("instance key, {key}: the key file lacks it"))
            })?,
            entropy: Arc::clone(&self.entropy),
        })
    }

    pub(crate) fn open(&self, rows: Vec<CredentialRow>) -> Result<Vec<Ha1>, Corrupt> {
        rows::open_credentials(&self.keyring, rows)
    }

    pub(crate) fn open_secret(&self, row: SecretRow) -> Result<(EndpointId, Secret), Corrupt> {
        rows::open_secret(&self.keyring, row)
    }

    pub(crate) fn open_tokens(
        &self,
        rows: Vec<(TokenCredentialRow, Time)>,
    ) -> Result<Vec<TokenCredentials>, Corrupt> {
        rows::open_tokens(&self.keyring, rows)
    }

    /// Opens what a row has and seals it anew.
    pub(crate) fn anew(&self, seal: &Seal, row: &mut impl SealedRow) -> Result<(), Corrupt> {
        let value = opened(&self.keyring, row)?;
        let sealed = rows::sealed(
            &seal.sealer,
            &*seal.entropy,
            value.expose(),
            &row.bound_to(),
        );
        row.put(seal.sealer.id().to_string(), sealed);
        Ok(())
    }
}

/// What secrets are sealed with in one transaction.
pub(crate) struct Seal {
    sealer: Sealer,
    entropy: Arc<dyn Entropy>,
}

impl Seal {
    /// Which key it is.
    pub(crate) fn key(&self) -> KeyId {
        self.sealer.id()
    }

    pub(crate) fn credentials(
        &self,
        account: AccountId,
        endpoint: EndpointId,
        values: &[Ha1],
    ) -> Vec<CredentialRow> {
        rows::seal_credentials(&self.sealer, &*self.entropy, account, endpoint, values)
    }

    pub(crate) fn secret(&self, key: SecretKey, secret: &Secret) -> SecretRow {
        rows::seal_secret(&self.sealer, &*self.entropy, key, secret)
    }

    pub(crate) fn token(&self, token: &EndpointToken, values: &[Ha1]) -> Vec<TokenCredentialRow> {
        rows::seal_token(&self.sealer, &*self.entropy, token, values)
    }
}
