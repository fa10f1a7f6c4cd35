//! Bindings of endpoints to contacts.

use std::sync::Arc;

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, EndpointId, Timestamp,
    binding::{Binding, Transport},
    endpoint::Endpoint,
    id::NodeId,
};

use super::Conn;
use crate::{
    rows::{BindingRow, EndpointRow, convert, transport_number},
    schema::{bindings, endpoints},
    types::{Id, Time},
};

/// The endpoint with its bindings; one read transaction. Each REGISTER reads them, so neither statement is one that has to be
/// prepared anew.
pub(crate) async fn endpoint_bindings(
    c: &mut Conn,
    account: AccountId,
    id: EndpointId,
) -> QueryResult<Option<(Arc<Endpoint>, Vec<Binding>)>> {
    let endpoint = endpoints::table
        .filter(endpoints::account_id.eq(Id::from(account)))
        .filter(endpoints::id.eq(Id::from(id)))
        .select(EndpointRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let rows = bindings::table
        .filter(bindings::account_id.eq(Id::from(account)))
        .filter(bindings::endpoint_id.eq(Id::from(id)))
        .order((bindings::registered_at, bindings::id))
        .select(BindingRow::as_select())
        .load(c)
        .await?;
    Ok(Some((Arc::new(endpoint.try_into()?), convert(rows)?)))
}

pub(crate) async fn bindings_by_endpoints(
    c: &mut Conn,
    account: AccountId,
    ids: &[EndpointId],
) -> QueryResult<Vec<Binding>> {
    let ids: Vec<Id> = ids.iter().map(|id| (*id).into()).collect();
    let rows = bindings::table
        .filter(bindings::account_id.eq(Id::from(account)))
        .filter(bindings::endpoint_id.eq_any(&ids))
        .order((bindings::endpoint_id, bindings::registered_at, bindings::id))
        .select(BindingRow::as_select())
        .load(c)
        .await?;
    convert(rows)
}

/// Those of the whole instance, for the sweep.
pub(crate) async fn bindings_ended(
    c: &mut Conn,
    before: Timestamp,
    limit: u32,
) -> QueryResult<Vec<Binding>> {
    let rows = bindings::table
        .filter(bindings::expires_at.lt(Time::from(before)))
        .order(bindings::expires_at)
        .limit(limit.into())
        .select(BindingRow::as_select())
        .load(c)
        .await?;
    convert(rows)
}

pub(crate) async fn bindings_of_connection(
    c: &mut Conn,
    node: NodeId,
    connection: i64,
) -> QueryResult<Vec<Binding>> {
    let rows = bindings::table
        .filter(bindings::node_id.eq(Id::from(node)))
        .filter(bindings::connection.eq(connection))
        .order((bindings::registered_at, bindings::id))
        .select(BindingRow::as_select())
        .load(c)
        .await?;
    convert(rows)
}

pub(crate) async fn bindings_to_qualify(
    c: &mut Conn,
    node: NodeId,
    asked_before: Timestamp,
    now: Timestamp,
    limit: u32,
) -> QueryResult<Vec<Binding>> {
    let is_due = bindings::qualified_at
        .is_null()
        .or(bindings::qualified_at.lt(Time::from(asked_before)));
    let is_here = bindings::transport
        .eq(transport_number(Transport::Udp))
        .or(bindings::node_id.eq(Id::from(node)));
    let rows = bindings::table
        .filter(is_due)
        .filter(is_here)
        .filter(bindings::expires_at.gt(Time::from(now)))
        .order((bindings::qualified_at, bindings::id))
        .limit(limit.into())
        .select(BindingRow::as_select())
        .load(c)
        .await?;
    convert(rows)
}

pub(crate) async fn bindings_suspend_streams(
    c: &mut Conn,
    node: NodeId,
    until: Timestamp,
) -> QueryResult<()> {
    let streams = [
        Transport::Tcp,
        Transport::Tls,
        Transport::Ws,
        Transport::Wss,
    ]
    .map(transport_number);
    diesel::update(
        bindings::table
            .filter(bindings::node_id.ne(Id::from(node)))
            .filter(bindings::transport.eq_any(streams))
            .filter(bindings::expires_at.gt(Time::from(until))),
    )
    .set(bindings::expires_at.eq(Time::from(until)))
    .execute(c)
    .await
    .map(|_| ())
}
