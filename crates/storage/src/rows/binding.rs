//! Bindings of endpoints to contacts.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, SmallInt, Text},
};
use sipgraph_core::binding::{Binding, Flow, Transport};

use super::{Corrupt, event, numbers, unsigned};
use crate::{
    schema::bindings,
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

numbers! {
    "transport" Transport: transport_number transport { Udp = 0, Tcp = 1, Tls = 2, Ws = 3, Wss = 4 }
}

columns! {
    /// A binding.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = bindings)]
    pub(crate) struct BindingRow {
        account_id: DbId => Id,
        id: DbId => Id,
        endpoint_id: DbId => Id,
        contact_uri: Text => String,
        transport: SmallInt => i16,
        remote: Text => String,
        local: Text => String,
        node_id: DbId => Id,
        connection: BigInt => i64,
        call_id: Text => String,
        cseq: BigInt => i64,
        instance: Nullable<Text> => Option<String>,
        reg_id: Nullable<BigInt> => Option<i64>,
        user_agent: Nullable<Text> => Option<String>,
        registered_at: DbTime => Time,
        refreshed_at: DbTime => Time,
        expires_at: DbTime => Time,
        path: Nullable<Text> => Option<String>,
        status: SmallInt => i16,
        round_trip_us: Nullable<BigInt> => Option<i64>,
        qualified_at: Nullable<DbTime> => Option<Time>,
        endpoint_token_id: Nullable<DbId> => Option<Id>,
    }
}

/// A duration as a column or an event holds it.
pub(crate) fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The duration of a column or an event.
pub(crate) fn from_micros(micros: i64) -> std::time::Duration {
    std::time::Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

impl From<Binding> for BindingRow {
    fn from(binding: Binding) -> Self {
        let Binding {
            id,
            account,
            endpoint,
            contact_uri,
            flow:
                Flow {
                    transport,
                    remote,
                    local,
                    node,
                    connection,
                },
            call_id,
            cseq,
            instance,
            reg_id,
            path,
            user_agent,
            registered_at,
            refreshed_at,
            expires_at,
            status,
            round_trip,
            qualified_at,
            token,
        } = binding;
        Self {
            account_id: account.into(),
            id: id.into(),
            endpoint_id: endpoint.into(),
            contact_uri,
            transport: transport_number(transport),
            remote,
            local,
            node_id: node.into(),
            connection,
            call_id,
            cseq: cseq.into(),
            instance,
            reg_id: reg_id.map(Into::into),
            user_agent,
            registered_at: registered_at.into(),
            refreshed_at: refreshed_at.into(),
            expires_at: expires_at.into(),
            path,
            status: event::contact_number(status),
            round_trip_us: round_trip.map(micros),
            qualified_at: qualified_at.map(Into::into),
            endpoint_token_id: token.map(Into::into),
        }
    }
}

impl TryFrom<BindingRow> for Binding {
    type Error = Corrupt;

    fn try_from(row: BindingRow) -> Result<Self, Corrupt> {
        let BindingRow {
            account_id,
            id,
            endpoint_id,
            contact_uri,
            transport: transport_number,
            remote,
            local,
            node_id,
            connection,
            call_id,
            cseq,
            instance,
            reg_id,
            user_agent,
            registered_at,
            refreshed_at,
            expires_at,
            path,
            status,
            round_trip_us,
            qualified_at,
            endpoint_token_id,
        } = row;
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            endpoint: endpoint_id.into(),
            contact_uri,
            flow: Flow {
                transport: transport(transport_number)?,
                remote,
                local,
                node: node_id.into(),
                connection,
            },
            call_id,
            cseq: unsigned("CSeq", cseq)?,
            instance,
            reg_id: reg_id
                .map(|reg_id| unsigned("reg-id", reg_id))
                .transpose()?,
            path,
            user_agent,
            registered_at: registered_at.into(),
            refreshed_at: refreshed_at.into(),
            expires_at: expires_at.into(),
            status: event::contact(status)?,
            round_trip: round_trip_us.map(from_micros),
            qualified_at: qualified_at.map(Into::into),
            token: endpoint_token_id.map(Into::into),
        })
    }
}
