//! Messages.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, MessageId,
    message::Message,
    page::{Page, Slice},
    ports::store::MessageFilter,
};

use super::{Conn, Db, deletions::message_there, load, load_up_to};
use crate::{
    page::{by_position, page, rows_to_read},
    rows::{MessageRow, convert, direction_number, status_number},
    schema::messages,
    types::{Id, Time},
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
    if let Some(visible) = visible {
        let ids: Vec<Id> = visible.iter().map(|id| (*id).into()).collect();
        query = query.filter(messages::endpoint_id.eq_any(ids));
    }
    query
}

pub(crate) async fn messages_by_ids(
    c: &mut Conn,
    account: AccountId,
    ids: &[MessageId],
) -> QueryResult<Vec<Message>> {
    let ids: Vec<Id> = ids.iter().map(|id| (*id).into()).collect();
    let rows = load(
        c,
        of_account(account)
            .filter(messages::id.eq_any(ids))
            .select(MessageRow::as_select()),
    )
    .await?;
    convert(rows)
}

/// Newest first: by `seq` in one chat, by `log_seq` across chats.
pub(crate) async fn messages(
    c: &mut Conn,
    account: AccountId,
    filter: &MessageFilter,
    slice: &Slice,
) -> QueryResult<Page<Message>> {
    let query = filtered(account, filter);
    let query = if filter.chat.is_some() {
        by_position!(query, messages::seq, slice)
    } else {
        by_position!(query, messages::log_seq, slice)
    };
    let rows = load_up_to(
        c,
        query.select(MessageRow::as_select()),
        rows_to_read(slice),
    )
    .await?;
    Ok(page(slice, convert(rows)?))
}

pub(crate) async fn messages_count(
    c: &mut Conn,
    account: AccountId,
    filter: &MessageFilter,
) -> QueryResult<i64> {
    filtered(account, filter).count().get_result(c).await
}
