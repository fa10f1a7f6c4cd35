//! Messages.

use diesel::{QueryResult, prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, EndpointId, MessageId, Timestamp,
    message::Message,
    page::{Page, Slice},
    ports::store::MessageFilter,
    search::{Unindexed, Words},
};

use super::{
    Conn, Db, FOUND_ORDERS, LISTS_MERGED, MESSAGE_FOUND, ORDERS, deletions::message_there,
    found_first, index_words, insert_text, load, load_up_to, run_over, search_terms,
};
use crate::{
    page::{Merged, by_position, page, rows_to_read},
    rows::{MessageRow, SearchPosition, convert, direction_number, status_number},
    schema::{accounts, messages},
    search::MessageSearch,
    sql::{Condition, Fixed, OneOf, Orders, Sql},
    types::{DbId, Id, Time},
};

fn of_account(account: AccountId) -> messages::BoxedQuery<'static, Db> {
    messages::table
        .filter(messages::account_id.eq(Id::from(account)))
        .filter(message_there())
        .into_boxed()
}

fn filtered(account: AccountId, filter: &MessageFilter) -> messages::BoxedQuery<'static, Db> {
    let MessageFilter {
        endpoint,
        chat,
        direction,
        read,
        status,
        peer,
        from,
        to,
        text,
        up_to_seq,
        visible,
    } = filter;
    let mut query = of_account(account);
    if let Some(endpoint) = endpoint {
        query = query.filter(messages::endpoint_id.eq(Id::from(*endpoint)));
    }
    if let Some(chat) = chat {
        query = query.filter(messages::chat_id.eq(Id::from(*chat)));
    }
    if let Some(direction) = direction {
        query = query.filter(messages::direction.eq(direction_number(*direction)));
    }
    if let Some(read) = read {
        query = query.filter(messages::is_read.eq(*read));
    }
    if let Some(status) = status {
        query = query.filter(messages::status.eq(status_number(*status)));
    }
    if let Some(peer) = peer {
        query = query.filter(messages::peer.eq(peer.clone()));
    }
    if let Some(from) = from {
        query = query.filter(messages::created_at.ge(Time::from(*from)));
    }
    if let Some(to) = to {
        query = query.filter(messages::created_at.lt(Time::from(*to)));
    }
    if let Some(words) = text {
        query = query.filter(found(account, words));
    }
    if let Some(seq) = up_to_seq {
        query = query.filter(messages::seq.le(*seq));
    }
    if let Some(visible) = visible {
        let ids = visible.iter().copied();
        query = query.filter(OneOf::new("messages.endpoint_id", ids));
    }
    query
}

/// Which messages have these words in their texts.
fn found(account: AccountId, words: &Words) -> Condition {
    let terms = search_terms(account.into(), words);
    Condition::new(MESSAGE_FOUND.to_owned(), vec![terms])
}

/// Which chats have a message with these words in its text.
pub(crate) fn found_in_chat(account: AccountId, words: &Words) -> Condition {
    let terms = search_terms(account.into(), words);
    let text = format!(
        "chats.id IN (SELECT messages.chat_id FROM messages WHERE messages.account_id = chats.account_id \
         AND NOT EXISTS (SELECT 1 FROM chat_clearings c WHERE c.account_id = messages.account_id \
         AND c.chat_id = messages.chat_id AND messages.seq <= c.up_to_seq) AND {MESSAGE_FOUND})"
    );
    Condition::new(text, vec![terms])
}

/// The oldest messages before a time, of the accounts that have such.
pub(crate) async fn messages_before(
    c: &mut Conn,
    before: Timestamp,
    limit: u32,
) -> QueryResult<Vec<Message>> {
    // Ids begin with their time, so that the primary key finds the oldest.
    let first_after = Id::from(MessageId::new(before, [0; 10]));
    let old = messages::table
        .filter(messages::account_id.eq(accounts::id))
        .filter(messages::id.lt(first_after));
    let account: Option<Id> = accounts::table
        .filter(diesel::dsl::exists(old))
        .order(accounts::id)
        .select(accounts::id)
        .first(c)
        .await
        .optional()?;
    let Some(account) = account else {
        return Ok(Vec::new());
    };
    let rows = load(
        c,
        of_account(account.into())
            .filter(messages::id.lt(first_after))
            .order(messages::id)
            .limit(limit.into())
            .select(MessageRow::as_select()),
    )
    .await?;
    convert(rows)
}

/// The oldest messages of an account that are in no index, and up to where it is then indexed; one read transaction.
pub(crate) async fn messages_unindexed(
    c: &mut Conn,
    after: AccountId,
    limit: u32,
) -> QueryResult<Option<Unindexed>> {
    let text = "SELECT a.id, COALESCE(p.seq, 0), a.head_seq FROM accounts a \
                LEFT JOIN search_positions p ON p.account_id = a.id \
                WHERE a.head_seq > COALESCE(p.seq, 0) ORDER BY CASE WHEN a.id > ? THEN 0 ELSE 1 END, a.id LIMIT 1";
    let after = crate::sql::bind::<Db, DbId, _>(Id::from(after));
    let query: Sql<'_, Db, (DbId, BigInt, BigInt)> = Sql::new(text, vec![after]);
    let found: Vec<(Id, i64, i64)> = diesel_async::RunQueryDsl::load(query, c).await?;
    let Some((account, indexed, head)) = found.into_iter().next() else {
        return Ok(None);
    };
    let rows: Vec<(Id, String, i64, Time)> = messages::table
        .filter(messages::account_id.eq(account))
        .filter(messages::log_seq.gt(indexed))
        .order(messages::log_seq)
        .limit(limit.into())
        .select((
            messages::id,
            messages::body,
            messages::log_seq,
            messages::created_at,
        ))
        .load(c)
        .await?;
    let is_all = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    let last = rows.last().map_or(head, |row| row.2);
    Ok(Some(Unindexed {
        account: account.into(),
        oldest: rows.as_slice().first().map(|row| row.3.into()),
        up_to: if is_all { head.max(last) } else { last },
        texts: rows
            .into_iter()
            .map(|(id, body, ..)| (id.into(), body))
            .collect(),
    }))
}

/// Puts words into the index, with the position that they bring it to; one write transaction.
pub(crate) async fn messages_index(
    c: &mut Conn,
    account: AccountId,
    up_to: i64,
    words: Vec<(MessageId, Words)>,
) -> QueryResult<()> {
    let words = words.into_iter().map(|(id, words)| (id.into(), words));
    index_words(c, account.into(), words.collect()).await?;
    let insert = insert_text::<SearchPosition>("search_positions");
    let text = format!(
        "{insert} ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq WHERE search_positions.seq < excluded.seq"
    );
    let row = SearchPosition {
        account_id: account.into(),
        seq: up_to,
    };
    run_over(c, &text, vec![row]).await.map(|_| ())
}

pub(crate) async fn messages_by_ids(
    c: &mut Conn,
    account: AccountId,
    ids: &[MessageId],
) -> QueryResult<Vec<Message>> {
    let rows = load(
        c,
        of_account(account)
            .filter(OneOf::new("messages.id", ids.iter().copied()))
            .select(MessageRow::as_select()),
    )
    .await?;
    convert(rows)
}

/// The endpoints whose lists a list is merged out of, if it is. Each would search for a text anew; a chat is one list already, and
/// so is an endpoint.
pub(crate) fn lists_merged(filter: &MessageFilter) -> Option<&[EndpointId]> {
    let is_one = filter.endpoint.is_some() || filter.chat.is_some() || filter.text.is_some();
    filter
        .visible
        .as_deref()
        .filter(|_| LISTS_MERGED && !is_one)
}

/// Newest first: by `seq` in one chat, by `log_seq` across chats. One read transaction, where lists are merged.
pub(crate) async fn messages(
    c: &mut Conn,
    account: AccountId,
    filter: &MessageFilter,
    slice: &Slice,
) -> QueryResult<Page<Message>> {
    if let Some(words) = &filter.text
        && let Some(page) = found_page(c, account, filter, words, slice).await?
    {
        return Ok(page);
    }
    let Some(visible) = lists_merged(filter) else {
        let rows = listed(c, filtered(account, filter), ORDERS, filter, slice).await?;
        return Ok(page(slice, rows));
    };
    let mut merged = Merged::new(slice);
    for endpoint in visible {
        let own = MessageFilter {
            endpoint: Some(*endpoint),
            visible: None,
            ..filter.clone()
        };
        let query = filtered(account, &own);
        let rows = listed(c, query, ORDERS, &own, merged.slice()).await?;
        merged.add(rows, |message| message.log_seq);
    }
    Ok(page(slice, merged.into_rows()))
}

async fn listed(
    c: &mut Conn,
    query: messages::BoxedQuery<'static, Db>,
    orders: Orders,
    filter: &MessageFilter,
    slice: &Slice,
) -> QueryResult<Vec<Message>> {
    let in_chat = filter.chat.is_some();
    let position = Fixed::<BigInt>::new(if in_chat { orders.seq } else { orders.log_seq });
    let query = by_position!(query, position, slice);
    let rows = load_up_to(
        c,
        query.select(MessageRow::as_select()),
        rows_to_read(slice),
    )
    .await?;
    convert(rows)
}

/// A page of those messages with these words that stand first in the list; `None` where the other fields of the filter leave
/// too few of them, or where the index does not know which stand first.
async fn found_page(
    c: &mut Conn,
    account: AccountId,
    filter: &MessageFilter,
    words: &Words,
    slice: &Slice,
) -> QueryResult<Option<Page<Message>>> {
    /// So many times the page are looked at: some are hidden, or do not match the other fields.
    const LOOKED_AT: i64 = 4;
    let wanted = rows_to_read(slice);
    let search = MessageSearch {
        account: account.into(),
        chat: filter.chat.map(Into::into),
        terms: &search_terms(account.into(), words),
        older_than: slice.after.map(|key| key.position),
        newer_than: slice.before.map(|key| key.position),
        backward: slice.backward,
        limit: LOOKED_AT * wanted,
    };
    let Some(first) = found_first(c, &search).await? else {
        return Ok(None);
    };
    let is_all = i64::try_from(first.len()).is_ok_and(|count| count < search.limit);
    let others = MessageFilter {
        text: None,
        ..filter.clone()
    };
    let query = filtered(account, &others).filter(OneOf::new("messages.id", first));
    let rows = listed(c, query, FOUND_ORDERS, filter, slice).await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= wanted);
    Ok((is_all || is_full).then(|| page(slice, rows)))
}

pub(crate) async fn messages_count(
    c: &mut Conn,
    account: AccountId,
    filter: &MessageFilter,
) -> QueryResult<i64> {
    filtered(account, filter).count().get_result(c).await
}
