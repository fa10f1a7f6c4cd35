//! Where a rotation of the instance key is, as the caller of its steps keeps it. It survives nothing: a rotation that was broken off
//! begins at the first place again and passes over what is done.

use crate::types::Id;

/// Up to where everything was sealed anew, or was being changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPlace {
    pub(crate) table: SealedTable,
    pub(crate) account: Id,
    pub(crate) owner: Id,
}

/// The tables with sealed values, in the order of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealedTable {
    Credentials,
    EndpointSecrets,
    TokenCredentials,
}

impl SealedTable {
    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self::Credentials => Some(Self::EndpointSecrets),
            Self::EndpointSecrets => Some(Self::TokenCredentials),
            Self::TokenCredentials => None,
        }
    }
}

impl RotationPlace {
    /// Before the first value of a table.
    pub(crate) fn first_of(table: SealedTable) -> Self {
        Self {
            table,
            account: Id([0; 16]),
            owner: Id([0; 16]),
        }
    }
}

impl Default for RotationPlace {
    fn default() -> Self {
        Self::first_of(SealedTable::Credentials)
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationStep {
    /// How many values it sealed anew.
    pub done: u64,
    /// Where the next one begins; `None` at the end.
    pub next: Option<RotationPlace>,
}
