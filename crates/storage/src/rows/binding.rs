//! Bindings of endpoints to contacts.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, SmallInt, Text},
};
use sipgraph_core::binding::{Binding, Flow, Transport};

use super::{Corrupt, numbers, unsigned};
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
    }
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
            user_agent,
            registered_at,
            refreshed_at,
            expires_at,
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
            user_agent,
            registered_at: registered_at.into(),
            refreshed_at: refreshed_at.into(),
            expires_at: expires_at.into(),
        })
    }
}
