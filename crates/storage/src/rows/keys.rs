//! Keys and small changes that statements over many rows are given.

use diesel::sql_types::{BigInt, Binary, Bool, Nullable, SmallInt, Text};

use sipgraph_core::{AccountId, ChatId, chat::ChatKey};

use super::Corrupt;
use crate::{
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

columns! {
    /// An account.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct AccountKey {
        id: DbId => Id,
    }

    /// Any object of an account.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct ObjectKey {
        account_id: DbId => Id,
        id: DbId => Id,
    }

    /// A name in something: an endpoint's canonical name in its domain.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct NameKey {
        account_id: DbId => Id,
        id: DbId => Id,
        name: Text => String,
    }

    /// A domain whose deletion begins.
    #[derive(Debug)]
    pub(crate) struct DomainDeletionRow {
        account_id: DbId => Id,
        domain_id: DbId => Id,
        created_at: DbTime => Time,
    }

    /// An endpoint that is deleted.
    #[derive(Debug)]
    pub(crate) struct EndpointDeletionRow {
        account_id: DbId => Id,
        id: DbId => Id,
        created_at: DbTime => Time,
    }

    /// The messages of a chat that are deleted.
    #[derive(Debug)]
    pub(crate) struct ChatClearing {
        account_id: DbId => Id,
        chat_id: DbId => Id,
        endpoint_id: DbId => Id,
        up_to_seq: BigInt => i64,
        up_to_event: BigInt => i64,
        created_at: DbTime => Time,
    }

    /// Messages of a chat to mark.
    #[derive(Debug)]
    pub(crate) struct ChatMarkRow {
        account_id: DbId => Id,
        chat_id: DbId => Id,
        is_read: Bool => bool,
        up_to_seq: BigInt => i64,
    }

    /// How far the texts of an account are indexed.
    #[derive(Debug)]
    pub(crate) struct SearchPosition {
        account_id: DbId => Id,
        seq: BigInt => i64,
    }

    /// The key of a chat.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) struct ChatKeyRow {
        account_id: DbId => Id,
        endpoint_id: DbId => Id,
        own_number: Text => String,
        peer: Text => String,
    }

    /// The key of a call that may be repeated.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) struct CallKey {
        account_id: DbId => Id,
        actor: DbId => Id,
        operation: Text => String,
        call_key: Text => String,
    }

    /// The record of a call that may be repeated.
    #[derive(Debug)]
    pub(crate) struct IdempotencyRow {
        account_id: DbId => Id,
        actor: DbId => Id,
        operation: Text => String,
        call_key: Text => String,
        input: Binary => Vec<u8>,
        result: Binary => Vec<u8>,
        created_at: DbTime => Time,
    }

    /// An endpoint's new presence.
    #[derive(Debug)]
    pub(crate) struct StateChange {
        account_id: DbId => Id,
        id: DbId => Id,
        state: SmallInt => i16,
    }

    /// Who has a number from now on.
    #[derive(Debug)]
    pub(crate) struct NumberChange {
        account_id: DbId => Id,
        number: Text => String,
        endpoint_id: Nullable<DbId> => Option<Id>,
    }

    /// A number of an account.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) struct NumberKey {
        account_id: DbId => Id,
        number: Text => String,
    }

    /// By how much an endpoint's `bindings_revision` rises.
    #[derive(Debug)]
    pub(crate) struct RevisionRaise {
        account_id: DbId => Id,
        id: DbId => Id,
        step: BigInt => i64,
    }

    /// When the messages on their way to an endpoint are due at the latest.
    #[derive(Debug)]
    pub(crate) struct Hurry {
        account_id: DbId => Id,
        recipient_id: DbId => Id,
        due_at: DbTime => Time,
    }

    /// A contact whose device came back.
    #[derive(Debug)]
    pub(crate) struct Returned {
        account_id: DbId => Id,
        contact_id: DbId => Id,
    }

    /// A refresh of a binding.
    #[derive(Debug)]
    pub(crate) struct Refresh {
        account_id: DbId => Id,
        id: DbId => Id,
        call_id: Text => String,
        cseq: BigInt => i64,
        refreshed_at: DbTime => Time,
        expires_at: DbTime => Time,
    }

    /// What a device's answer to an OPTIONS, or its silence, says of a binding.
    #[derive(Debug)]
    pub(crate) struct Qualified {
        account_id: DbId => Id,
        id: DbId => Id,
        status: SmallInt => i16,
        round_trip_us: Nullable<BigInt> => Option<i64>,
        qualified_at: DbTime => Time,
    }

    /// The end of a token.
    #[derive(Debug)]
    pub(crate) struct TokenRevocation {
        account_id: DbId => Id,
        id: DbId => Id,
        revoked_at: DbTime => Time,
    }
}

impl ChatKeyRow {
    /// Makes the key of a chat of an account.
    pub(crate) fn new(account: AccountId, key: &ChatKey) -> Self {
        Self {
            account_id: account.into(),
            endpoint_id: key.endpoint.into(),
            own_number: key.own_number.clone(),
            peer: key.peer.clone(),
        }
    }
}

impl ChatMarkRow {
    /// Marks the messages that came in to a chat, up to and with a `seq`.
    pub(crate) fn new(account: AccountId, chat: ChatId, read: bool, up_to_seq: i64) -> Self {
        Self {
            account_id: account.into(),
            chat_id: chat.into(),
            is_read: read,
            up_to_seq,
        }
    }
}

/// Writes ids one behind the other.
pub(crate) fn ids_to_bytes(ids: impl Iterator<Item = [u8; 16]>) -> Vec<u8> {
    ids.flatten().collect()
}

/// Reads what [`ids_to_bytes`] wrote.
pub(crate) fn ids_from_bytes(bytes: &[u8]) -> Result<Vec<[u8; 16]>, Corrupt> {
    let (ids, rest) = bytes.as_chunks::<16>();
    if rest.is_empty() {
        Ok(ids.to_vec())
    } else {
        Err(Corrupt::new("list of ids"))
    }
}
