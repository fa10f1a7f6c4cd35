//! Chats and their counters.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, Text},
};
use sipgraph_core::chat::{Chat, ChatKey};

use super::Corrupt;
use crate::{
    schema::chats,
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

columns! {
    /// A chat.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = chats)]
    pub(crate) struct ChatRow {
        account_id: DbId => Id,
        id: DbId => Id,
        endpoint_id: DbId => Id,
        own_number: Text => String,
        peer: Text => String,
        last_seq: BigInt => i64,
        last_message_id: Nullable<DbId> => Option<Id>,
        unread_count: BigInt => i64,
        message_count: BigInt => i64,
        activity_seq: BigInt => i64,
        created_at: DbTime => Time,
        updated_at: DbTime => Time,
    }

    /// What messages change in their chat.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct ChatCounters {
        account_id: DbId => Id,
        id: DbId => Id,
        last_seq: BigInt => i64,
        last_message_id: Nullable<DbId> => Option<Id>,
        unread_count: BigInt => i64,
        message_count: BigInt => i64,
        activity_seq: BigInt => i64,
        updated_at: DbTime => Time,
    }
}

impl TryFrom<ChatRow> for Chat {
    type Error = Corrupt;

    fn try_from(row: ChatRow) -> Result<Self, Corrupt> {
        let ChatRow {
            account_id,
            id,
            endpoint_id,
            own_number,
            peer,
            last_seq,
            last_message_id,
            unread_count,
            message_count,
            activity_seq,
            created_at,
            updated_at,
        } = row;
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            key: ChatKey {
                endpoint: endpoint_id.into(),
                own_number,
                peer,
            },
            last_seq,
            last_message: last_message_id.map(Into::into),
            unread_count,
            message_count,
            activity_seq,
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        })
    }
}
