//! Encryption at the storage border: core hands over HA1 values in the clear and gets them back so; the tables hold them sealed.

use std::sync::Arc;

use sipgraph_core::{AccountId, EndpointId, digest::Ha1, keyring::Keyring, ports::Entropy};

use crate::rows::{self, Corrupt, CredentialRow};

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
}
