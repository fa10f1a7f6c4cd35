//! Chats, and what a send is decided on.

use diesel::{QueryResult, prelude::*, sql_types::Text};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, ChatId, EndpointId,
    chat::{Chat, ChatKey},
    endpoint::Endpoint,
    page::{Page, Slice},
    ports::store::{ChatFilter, EndpointKey, Found, SendSnapshot},
};

use super::{
    Conn, Db, LISTS_MERGED, deletions::chat_there, domains, endpoints, load, load_over, load_up_to,
    messages::found_in_chat,
};
use crate::{
    page::{Merged, by_position, page, rows_to_read},
    rows::{ChatKeyRow, ChatRow, convert},
    schema::{chats, domains as domain_table},
    sql::OneOf,
    types::{DbId, Id, Time},
};

fn of_account(account: AccountId) -> chats::BoxedQuery<'static, Db> {
    chats::table
        .filter(chats::account_id.eq(Id::from(account)))
        .filter(chat_there())
        .into_boxed()
}

fn filtered(account: AccountId, filter: &ChatFilter) -> chats::BoxedQuery<'static, Db> {
    let ChatFilter {
        endpoint,
        peer,
        own_number,
        unread,
        from,
        to,
        text,
        visible,
    } = filter;
    let mut query = of_account(account);
    if let Some(endpoint) = endpoint {
        query = query.filter(chats::endpoint_id.eq(Id::from(*endpoint)));
    }
    if let Some(peer) = peer {
        query = query.filter(chats::peer.eq(peer.clone()));
    }
    if let Some(own_number) = own_number {
        query = query.filter(chats::own_number.eq(own_number.clone()));
    }
    match unread {
        Some(true) => query = query.filter(chats::unread_count.gt(0)),
        Some(false) => query = query.filter(chats::unread_count.eq(0)),
        None => {}
    }
    if let Some(from) = from {
        query = query.filter(chats::updated_at.ge(Time::from(*from)));
    }
    if let Some(to) = to {
        query = query.filter(chats::updated_at.lt(Time::from(*to)));
    }
    if let Some(words) = text {
        query = query.filter(found_in_chat(account, words));
    }
    if let Some(visible) = visible {
        let ids = visible.iter().copied();
        query = query.filter(OneOf::new("chats.endpoint_id", ids));
    }
    query
}

pub(crate) async fn chats_by_ids(
    c: &mut Conn,
    account: AccountId,
    ids: &[ChatId],
) -> QueryResult<Vec<Chat>> {
    let rows = load(
        c,
        of_account(account)
            .filter(OneOf::new("chats.id", ids.iter().copied()))
            .select(ChatRow::as_select()),
    )
    .await?;
    convert(rows)
}

pub(crate) async fn chat_by_key(
    c: &mut Conn,
    account: AccountId,
    key: &ChatKey,
) -> QueryResult<Option<Chat>> {
    let row = of_account(account)
        .filter(chats::endpoint_id.eq(Id::from(key.endpoint)))
        .filter(chats::own_number.eq(key.own_number.clone()))
        .filter(chats::peer.eq(key.peer.clone()))
        .select(ChatRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    Ok(row.map(Chat::try_from).transpose()?)
}

/// The endpoints whose lists a list is merged out of, if it is. Each would search for a text anew.
pub(crate) fn lists_merged(filter: &ChatFilter) -> Option<&[EndpointId]> {
    let is_one = filter.endpoint.is_some() || filter.text.is_some();
    filter
        .visible
        .as_deref()
        .filter(|_| LISTS_MERGED && !is_one)
}

/// Latest activity first. One read transaction, where lists are merged.
pub(crate) async fn chats(
    c: &mut Conn,
    account: AccountId,
    filter: &ChatFilter,
    slice: &Slice,
) -> QueryResult<Page<Chat>> {
    let Some(visible) = lists_merged(filter) else {
        let rows = listed(c, filtered(account, filter), slice).await?;
        return Ok(page(slice, rows));
    };
    let mut merged = Merged::new(slice);
    for endpoint in visible {
        let own = ChatFilter {
            endpoint: Some(*endpoint),
            visible: None,
            ..filter.clone()
        };
        let rows = listed(c, filtered(account, &own), merged.slice()).await?;
        merged.add(rows, |chat| chat.activity_seq);
    }
    Ok(page(slice, merged.into_rows()))
}

async fn listed(
    c: &mut Conn,
    query: chats::BoxedQuery<'static, Db>,
    slice: &Slice,
) -> QueryResult<Vec<Chat>> {
    let query = by_position!(query, chats::activity_seq, slice);
    let rows = load_up_to(c, query.select(ChatRow::as_select()), rows_to_read(slice)).await?;
    convert(rows)
}

pub(crate) async fn chats_count(
    c: &mut Conn,
    account: AccountId,
    filter: &ChatFilter,
) -> QueryResult<i64> {
    filtered(account, filter).count().get_result(c).await
}

pub(crate) async fn unread_by_endpoints(
    c: &mut Conn,
    account: AccountId,
    ids: &[EndpointId],
) -> QueryResult<Vec<(EndpointId, i64)>> {
    let ids: Vec<Id> = ids.iter().map(|id| (*id).into()).collect();
    // The counts are small whole numbers, but their sum is of the type numeric on Postgres; so they are added here.
    let rows: Vec<(Id, i64)> = chats::table
        .filter(chats::account_id.eq(Id::from(account)))
        .filter(chats::endpoint_id.eq_any(&ids))
        .filter(chats::unread_count.gt(0))
        .select((chats::endpoint_id, chats::unread_count))
        .load(c)
        .await?;
    let mut counts = std::collections::BTreeMap::new();
    for (endpoint, unread) in rows {
        *counts.entry(endpoint).or_insert(0) += unread;
    }
    Ok(counts
        .into_iter()
        .map(|(id, unread)| (id.into(), unread))
        .collect())
}

/// The id of the chat of one endpoint with another, by their addresses.
async fn between_in_txn(
    c: &mut Conn,
    account: AccountId,
    own: &Endpoint,
    peer: &Endpoint,
) -> QueryResult<Option<ChatId>> {
    let id: Option<Id> = chats::table
        .filter(chats::account_id.eq(Id::from(account)))
        .filter(chats::endpoint_id.eq(Id::from(own.id)))
        .filter(chats::own_number.eq(own.address()))
        .filter(chats::peer.eq(peer.address()))
        .select(chats::id)
        .get_result(c)
        .await
        .optional()?;
    Ok(id.map(Into::into))
}

/// What a send is decided on; one read transaction.
pub(crate) async fn send_snapshot(
    c: &mut Conn,
    account: AccountId,
    sender: &EndpointKey,
    recipient: Option<&EndpointKey>,
) -> QueryResult<SendSnapshot> {
    let from = endpoints::endpoint(c, account, sender).await?;
    let to = match recipient {
        Some(key) => endpoints::endpoint(c, account, key).await?,
        None => Found::None,
    };
    let record_internal = match &from {
        Found::One(endpoint) => domain_table::table
            .find((Id::from(account), Id::from(endpoint.domain)))
            .select(domain_table::record_internal_messages)
            .get_result(c)
            .await
            .optional()?
            .unwrap_or(false),
        Found::None | Found::Ambiguous => false,
    };
    let (sender_chat, recipient_chat) = match (&from, &to) {
        (Found::One(from), Found::One(to)) => (
            between_in_txn(c, account, from, to).await?,
            between_in_txn(c, account, to, from).await?,
        ),
        _ => (None, None),
    };
    let is_own_domain = match recipient {
        Some(EndpointKey::Name {
            domain: Some(domain),
            ..
        }) => match &to {
            Found::One(_) => true,
            Found::None | Found::Ambiguous => {
                domains::domain_id(c, account, domain).await?.is_some()
            }
        },
        _ => false,
    };
    Ok(SendSnapshot {
        sender: from,
        recipient: to,
        record_internal,
        sender_chat,
        recipient_chat,
        is_own_domain,
    })
}

/// Returns those of the chats with these keys that are there.
pub(crate) async fn chats_by_keys(
    c: &mut Conn,
    account: AccountId,
    keys: Vec<ChatKey>,
) -> QueryResult<Vec<(ChatKey, ChatId)>> {
    let keys = keys.into_iter().map(|key| ChatKeyRow::new(account, &key));
    let text = "SELECT t.id, t.endpoint_id, t.own_number, t.peer FROM {rows} \
                JOIN chats t ON t.account_id = k.account_id AND t.endpoint_id = k.endpoint_id \
                AND t.own_number = k.own_number AND t.peer = k.peer";
    type Sql = (DbId, DbId, Text, Text);
    let found = load_over::<_, Sql, (Id, Id, String, String)>(c, text, keys.collect()).await?;
    let chat = |(id, endpoint, own_number, peer): (Id, Id, String, String)| {
        let key = ChatKey {
            endpoint: endpoint.into(),
            own_number,
            peer,
        };
        (key, id.into())
    };
    Ok(found.into_iter().map(chat).collect())
}
