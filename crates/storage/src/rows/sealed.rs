//! What rows with a sealed value have in common.

use sipgraph_core::{
    keyring::{KeyId, Keyring, Sealer, Secret},
    ports::Entropy,
};

use super::Corrupt;
use crate::{sql::Columns, types::Id};

/// A row of a table that holds a sealed value each, with the id of the key that opens it.
pub(crate) trait SealedRow: Columns {
    /// The table.
    const TABLE: &'static str;
    /// The columns of its primary key; the first is the account's and the second the owner's.
    const KEY: &'static [&'static str];

    /// The account and the owner.
    fn place(&self) -> (Id, Id);

    /// What its value is bound to, so that it can't be moved to another row.
    fn bound_to(&self) -> Vec<u8>;

    /// The id of the key, and the value.
    fn sealed(&self) -> (&str, &[u8]);

    /// Puts a value sealed by another key in place of its own.
    fn put(&mut self, key_id: String, sealed: Vec<u8>);
}

/// Decrypts the value of a row.
pub(crate) fn opened(keyring: &Keyring, row: &impl SealedRow) -> Result<Secret, Corrupt> {
    let (key, sealed) = row.sealed();
    let value = KeyId::parse(key).and_then(|id| keyring.open(id, sealed, &row.bound_to()).ok());
    let value = value.ok_or_else(|| {
        Corrupt::new(format!(
            "secret: the key file lacks its key, {key}, or it was changed"
        ))
    })?;
    let text = std::str::from_utf8(&value);
    text.map(Secret::new)
        .map_err(|_| Corrupt::new("secret that is not text"))
}

/// Encrypts a value.
pub(crate) fn sealed(
    sealer: &Sealer,
    entropy: &dyn Entropy,
    value: &str,
    bound_to: &[u8],
) -> Vec<u8> {
    let mut nonce = [0; 24];
    entropy.fill(&mut nonce);
    sealer.seal(nonce, value.as_bytes(), bound_to)
}
