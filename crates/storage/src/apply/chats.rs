//! Changes of whole chats, and deletions of single messages: they need what the tables hold, so that they are made when all
//! that the batch wrote before them is there.

use diesel::{
    QueryResult,
    sql_types::{Bool, Nullable, SmallInt},
};
use sipgraph_core::{AccountId, ChatId, MessageId, Timestamp, message::MessageDirection};

use super::{Conn, insert_text, load_over, run_over};
use crate::{
    rows::{ChatClearing, ChatCounters, ChatMarkRow, ObjectKey, direction_number},
    types::{DbId, Id},
};

fn object(account: AccountId, id: Id) -> Vec<ObjectKey> {
    vec![ObjectKey {
        account_id: account.into(),
        id,
    }]
}

/// Deletes a message, with the text of the events that tell of it; gives whether it was unread.
pub(super) async fn message_delete(
    c: &mut Conn,
    account: AccountId,
    id: MessageId,
) -> QueryResult<bool> {
    let key = || object(account, id.into());
    let text = "SELECT t.direction, t.is_read FROM {rows} \
                JOIN messages t ON t.account_id = k.account_id AND t.id = k.id";
    let found: Vec<(i16, bool)> =
        load_over::<_, (SmallInt, Bool), (i16, bool)>(c, text, key()).await?;
    // That it came from a device was told by the event before its own.
    let text = "UPDATE events AS t SET text = NULL FROM {rows} \
                JOIN messages m ON m.account_id = k.account_id AND m.id = k.id \
                WHERE t.account_id = m.account_id AND t.message_id = m.id \
                AND t.seq IN (m.log_seq - 1, m.log_seq, m.status_seq)";
    run_over(c, text, key()).await?;
    let text =
        "DELETE FROM messages WHERE (account_id, id) IN (SELECT k.account_id, k.id FROM {rows})";
    run_over(c, text, key()).await?;
    let incoming = direction_number(MessageDirection::In);
    Ok(found
        .iter()
        .any(|(direction, read)| *direction == incoming && !read))
}

/// The newest message of a chat.
pub(super) async fn newest(
    c: &mut Conn,
    account: AccountId,
    chat: ChatId,
) -> QueryResult<Option<Id>> {
    let text = "SELECT (SELECT t.id FROM messages t WHERE t.account_id = k.account_id AND t.chat_id = k.id \
                AND NOT EXISTS (SELECT 1 FROM chat_clearings c WHERE c.account_id = t.account_id \
                AND c.chat_id = t.chat_id AND t.seq <= c.up_to_seq) ORDER BY t.seq DESC LIMIT 1) FROM {rows}";
    let found =
        load_over::<_, Nullable<DbId>, Option<Id>>(c, text, object(account, chat.into())).await?;
    Ok(found.into_iter().next().flatten())
}

/// Marks the messages that came in to a chat; gives how many did not have the mark.
pub(super) async fn mark(
    c: &mut Conn,
    account: AccountId,
    chat: ChatId,
    read: bool,
    up_to_seq: i64,
) -> QueryResult<i64> {
    let rows = vec![ChatMarkRow::new(account, chat, read, up_to_seq)];
    let count = run_over(c, &mark_text(), rows).await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The statement that marks the messages of chats.
pub(super) fn mark_text() -> String {
    format!(
        "UPDATE messages AS t SET is_read = k.is_read FROM {{rows}} WHERE t.account_id = k.account_id \
         AND t.chat_id = k.chat_id AND t.seq <= k.up_to_seq AND t.direction = {} AND t.is_read <> k.is_read \
         AND NOT EXISTS (SELECT 1 FROM chat_clearings c WHERE c.account_id = t.account_id \
         AND c.chat_id = t.chat_id AND t.seq <= c.up_to_seq)",
        direction_number(MessageDirection::In)
    )
}

/// Hides the messages that a chat has, and the text of the events up to the end of the account's log.
pub(super) async fn clear(
    c: &mut Conn,
    chat: &ChatCounters,
    endpoint_id: Id,
    up_to_event: i64,
    at: Timestamp,
) -> QueryResult<()> {
    let insert = insert_text::<ChatClearing>("chat_clearings");
    let text = format!(
        "{insert} ON CONFLICT (account_id, chat_id) DO UPDATE SET up_to_seq = excluded.up_to_seq, \
         up_to_event = excluded.up_to_event"
    );
    let rows = vec![ChatClearing {
        account_id: chat.account_id,
        chat_id: chat.id,
        endpoint_id,
        up_to_seq: chat.last_seq,
        up_to_event,
        created_at: at.into(),
    }];
    run_over(c, &text, rows).await.map(|_| ())
}

/// Deletes the row of a chat.
pub(super) async fn delete(c: &mut Conn, account: AccountId, chat: ChatId) -> QueryResult<()> {
    let text =
        "DELETE FROM chats WHERE (account_id, id) IN (SELECT k.account_id, k.id FROM {rows})";
    run_over(c, text, object(account, chat.into()))
        .await
        .map(|_| ())
}
