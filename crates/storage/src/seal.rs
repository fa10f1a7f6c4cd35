//! Encryption at the storage border: core hands over HA1 values and other secrets in the clear and gets them back so; the tables hold them sealed.

use std::sync::Arc;

use sipgraph_core::{
    AccountId, EndpointId,
    digest::Ha1,
    endpoint_token::{EndpointToken, TokenCredentials},
    keyring::{Keyring, Secret},
    ports::Entropy,
};

use crate::{
    rows::{self, Corrupt, CredentialRow, SecretKey, SecretRow, TokenCredentialRow},
    types::Time,
};

/// The instance key and a source of nonces.
#[derive(Clone)]
pub(crate) struct Sealing {
    keyring: Keyring,
    entropy: Arc<dyn Entropy>,
}

impl Sealing {
    pub(crate) fn new(keyring: Keyring, entropy: Arc<dyn Entropy>) -> Self {
        Self { keyring, entropy }
    }

    pub(crate) fn seal(
        &self,
        account: AccountId,
        endpoint: EndpointId,
        values: &[Ha1],
    ) -> Vec<CredentialRow> {
        rows::seal_credentials(&self.keyring, &*self.entropy, account, endpoint, values)
    }

    pub(crate) fn open(&self, rows: Vec<CredentialRow>) -> Result<Vec<Ha1>, Corrupt> {
        rows::open_credentials(&self.keyring, rows)
    }

    pub(crate) fn seal_secret(&self, key: SecretKey, secret: &Secret) -> SecretRow {
        rows::seal_secret(&self.keyring, &*self.entropy, key, secret)
    }

    pub(crate) fn open_secret(&self, row: SecretRow) -> Result<(EndpointId, Secret), Corrupt> {
        rows::open_secret(&self.keyring, row)
    }

    pub(crate) fn seal_token(
        &self,
        token: &EndpointToken,
        values: &[Ha1],
    ) -> Vec<TokenCredentialRow> {
        rows::seal_token(&self.keyring, &*self.entropy, token, values)
    }

    pub(crate) fn open_tokens(
        &self,
        rows: Vec<(TokenCredentialRow, Time)>,
    ) -> Result<Vec<TokenCredentials>, Corrupt> {
        rows::open_tokens(&self.keyring, rows)
    }
}
