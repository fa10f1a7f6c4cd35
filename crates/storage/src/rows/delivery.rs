//! Messages on their way and the attempts to deliver them.

use diesel::{
    QueryResult,
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable, SmallInt, Text},
};
use sipgraph_core::delivery::{Delivery, DeliveryOutcome, DeliveryTarget, Dispatch, Way};

use super::{Corrupt, binding, numbers, sip_status, unsigned, variables_text};
use crate::{
    schema::{deliveries, dispatches},
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

numbers! {
    "delivery outcome" DeliveryOutcome: outcome_number outcome {
        Pending = 0, Delivered = 1, Retrying = 2, Refused = 3, Timeout = 4, TransportError = 5,
    }
}

columns! {
    /// A message on its way.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = dispatches)]
    pub(crate) struct DispatchRow {
        account_id: DbId => Id,
        id: DbId => Id,
        sender_id: DbId => Id,
        recipient_id: DbId => Id,
        out_message_id: Nullable<DbId> => Option<Id>,
        sender_uri: Text => String,
        recipient_uri: Text => String,
        body: Text => String,
        content_type: Text => String,
        taken: Bool => bool,
        rounds: Integer => i32,
        created_at: DbTime => Time,
        expires_at: DbTime => Time,
        due_at: DbTime => Time,
        lease: BigInt => i64,
        way: SmallInt => i16,
        called: Nullable<Text> => Option<String>,
        sender_name: Nullable<Text> => Option<String>,
        variables: Nullable<Text> => Option<String>,
    }

    /// A dispatch that is given back.
    #[derive(Debug)]
    pub(crate) struct DispatchReleaseRow {
        account_id: DbId => Id,
        id: DbId => Id,
        taken: Bool => bool,
        rounds: Integer => i32,
        due_at: DbTime => Time,
    }

    /// An attempt.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = deliveries)]
    pub(crate) struct DeliveryRow {
        account_id: DbId => Id,
        id: DbId => Id,
        exchange_id: DbId => Id,
        target_id: DbId => Id,
        contact_uri: Text => String,
        transport: SmallInt => i16,
        call_id: Text => String,
        from_tag: Text => String,
        cseq: BigInt => i64,
        branch: Text => String,
        attempt: Integer => i32,
        started_at: DbTime => Time,
        finished_at: Nullable<DbTime> => Option<Time>,
        sip_status: Nullable<Integer> => Option<i32>,
        reason: Nullable<Text> => Option<String>,
        outcome: SmallInt => i16,
        target_kind: SmallInt => i16,
        recipient_id: DbId => Id,
        out_message_id: Nullable<DbId> => Option<Id>,
        retry_at: Nullable<DbTime> => Option<Time>,
    }

    /// The end of an attempt.
    #[derive(Debug)]
    pub(crate) struct DeliveryEnd {
        account_id: DbId => Id,
        id: DbId => Id,
        finished_at: DbTime => Time,
        sip_status: Nullable<Integer> => Option<i32>,
        reason: Nullable<Text> => Option<String>,
        outcome: SmallInt => i16,
        retry_at: Nullable<DbTime> => Option<Time>,
    }
}

impl DispatchRow {
    /// Makes the row of a message on its way.
    pub(crate) fn new(dispatch: Dispatch) -> QueryResult<Self> {
        let Dispatch {
            id,
            account,
            sender,
            recipient,
            way,
            out_message,
            from,
            from_name,
            to,
            body,
            content_type,
            variables,
            taken,
            rounds,
            created_at,
            expires_at,
            due_at,
            lease,
        } = dispatch;
        let (way, called) = match way {
            Way::Contacts => (0, None),
            Way::Number(number) => (1, Some(number)),
            Way::Uri(uri) => (2, Some(uri)),
        };
        Ok(Self {
            account_id: account.into(),
            id: id.into(),
            sender_id: sender.into(),
            recipient_id: recipient.into(),
            out_message_id: out_message.map(Into::into),
            sender_uri: from,
            recipient_uri: to,
            body,
            content_type,
            taken,
            rounds,
            created_at: created_at.into(),
            expires_at: expires_at.into(),
            due_at: due_at.into(),
            lease,
            way,
            called,
            sender_name: from_name,
            variables: variables_text(&variables)?,
        })
    }
}

impl TryFrom<DispatchRow> for Dispatch {
    type Error = Corrupt;

    fn try_from(row: DispatchRow) -> Result<Self, Corrupt> {
        let DispatchRow {
            account_id,
            id,
            sender_id,
            recipient_id,
            out_message_id,
            sender_uri,
            recipient_uri,
            body,
            content_type,
            taken,
            rounds,
            created_at,
            expires_at,
            due_at,
            lease,
            way,
            called,
            sender_name,
            variables,
        } = row;
        let way = match (way, called) {
            (0, None) => Way::Contacts,
            (1, Some(number)) => Way::Number(number),
            (2, Some(uri)) => Way::Uri(uri),
            (way, _) => return Err(Corrupt::new(format!("way of a message {way}"))),
        };
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            sender: sender_id.into(),
            recipient: recipient_id.into(),
            way,
            out_message: out_message_id.map(Into::into),
            from: sender_uri,
            from_name: sender_name,
            to: recipient_uri,
            body,
            content_type,
            variables: super::variables(variables.as_deref())?,
            taken,
            rounds,
            created_at: created_at.into(),
            expires_at: expires_at.into(),
            due_at: due_at.into(),
            lease,
        })
    }
}

impl From<Delivery> for DeliveryRow {
    fn from(delivery: Delivery) -> Self {
        let Delivery {
            id,
            account,
            exchange,
            recipient,
            message,
            target,
            contact_uri,
            transport,
            call_id,
            from_tag,
            cseq,
            branch,
            attempt,
            started_at,
            finished_at,
            sip_status,
            reason,
            outcome,
            retry_at,
        } = delivery;
        let (target_kind, target_id) = match target {
            DeliveryTarget::Contact(binding) => (0, binding.into()),
            DeliveryTarget::Address(address) => (1, address.into()),
        };
        Self {
            account_id: account.into(),
            id: id.into(),
            exchange_id: exchange.into(),
            target_id,
            contact_uri,
            transport: binding::transport_number(transport),
            call_id,
            from_tag,
            cseq: cseq.into(),
            branch,
            attempt,
            started_at: started_at.into(),
            finished_at: finished_at.map(Into::into),
            sip_status: sip_status.map(Into::into),
            reason,
            outcome: outcome_number(outcome),
            target_kind,
            recipient_id: recipient.into(),
            out_message_id: message.map(Into::into),
            retry_at: retry_at.map(Into::into),
        }
    }
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = Corrupt;

    fn try_from(row: DeliveryRow) -> Result<Self, Corrupt> {
        let DeliveryRow {
            account_id,
            id,
            exchange_id,
            target_id,
            contact_uri,
            transport,
            call_id,
            from_tag,
            cseq,
            branch,
            attempt,
            started_at,
            finished_at,
            sip_status: status,
            reason,
            outcome: outcome_number,
            target_kind,
            recipient_id,
            out_message_id,
            retry_at,
        } = row;
        let target = match target_kind {
            0 => DeliveryTarget::Contact(target_id.into()),
            1 => DeliveryTarget::Address(target_id.into()),
            _ => return Err(Corrupt::new(format!("delivery target {target_kind}"))),
        };
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            exchange: exchange_id.into(),
            recipient: recipient_id.into(),
            message: out_message_id.map(Into::into),
            target,
            contact_uri,
            transport: binding::transport(transport)?,
            call_id,
            from_tag,
            cseq: unsigned("CSeq", cseq)?,
            branch,
            attempt,
            started_at: started_at.into(),
            finished_at: finished_at.map(Into::into),
            sip_status: sip_status(status)?,
            reason,
            outcome: outcome(outcome_number)?,
            retry_at: retry_at.map(Into::into),
        })
    }
}
