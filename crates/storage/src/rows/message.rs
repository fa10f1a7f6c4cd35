//! Messages as endpoints keep them.

use diesel::{
    QueryResult,
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable, SmallInt, Text},
};
use sipgraph_core::{
    Timestamp,
    commit::NewMessage,
    message::{
        CallKey, Failure, FailureCode, Message, MessageDirection, MessageOrigin, MessageStatus,
    },
};

use super::{Corrupt, numbers, sip_status, variables_text};
use crate::{
    schema::messages,
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

numbers! {
    "message direction" MessageDirection: direction_number direction { In = 0, Out = 1 }
    "message origin" MessageOrigin: origin_number origin { Api = 0, Sip = 1, Trunk = 2 }
    "message status" MessageStatus: status_number status { Accepted = 0, Sent = 1, Failed = 2, Received = 3 }
    "failure code" FailureCode: failure_number failure_code {
        Expired = 0, Refused = 1, EndpointDisabled = 2, EndpointDeleted = 3, NoContact = 4, TooLarge = 5, Unreachable = 6,
        AuthFailed = 20, NoRoute = 21,
    }
}

columns! {
    /// A message.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = messages)]
    pub(crate) struct MessageRow {
        account_id: DbId => Id,
        id: DbId => Id,
        exchange_id: DbId => Id,
        endpoint_id: DbId => Id,
        chat_id: DbId => Id,
        seq: BigInt => i64,
        log_seq: BigInt => i64,
        direction: SmallInt => i16,
        origin: SmallInt => i16,
        sender_uri: Text => String,
        recipient_uri: Text => String,
        peer: Text => String,
        body: Text => String,
        content_type: Text => String,
        status: SmallInt => i16,
        failure_code: Nullable<SmallInt> => Option<i16>,
        failure_sip_status: Nullable<Integer> => Option<i32>,
        failure_reason: Nullable<Text> => Option<String>,
        is_read: Bool => bool,
        created_at: DbTime => Time,
        status_at: DbTime => Time,
        expires_at: Nullable<DbTime> => Option<Time>,
        sender_number: Nullable<Text> => Option<String>,
        recipient_number: Nullable<Text> => Option<String>,
        variables: Nullable<Text> => Option<String>,
        delivered_at: Nullable<DbTime> => Option<Time>,
        displayed_at: Nullable<DbTime> => Option<Time>,
        token_id: Nullable<DbId> => Option<Id>,
        idempotency_key: Nullable<Text> => Option<String>,
    }

    /// What a device reported.
    #[derive(Debug)]
    pub(crate) struct MessageReceipt {
        account_id: DbId => Id,
        id: DbId => Id,
        delivered_at: Nullable<DbTime> => Option<Time>,
        displayed_at: Nullable<DbTime> => Option<Time>,
    }

    /// A new status.
    #[derive(Debug)]
    pub(crate) struct MessageStatusChange {
        account_id: DbId => Id,
        id: DbId => Id,
        status: SmallInt => i16,
        failure_code: Nullable<SmallInt> => Option<i16>,
        failure_sip_status: Nullable<Integer> => Option<i32>,
        failure_reason: Nullable<Text> => Option<String>,
        status_at: DbTime => Time,
        status_seq: Nullable<BigInt> => Option<i64>,
    }

    /// The words of a message.
    #[derive(Debug)]
    pub(crate) struct MessageWords {
        account_id: DbId => Id,
        id: DbId => Id,
        words: Text => String,
    }

    /// A new read mark.
    #[derive(Debug)]
    pub(crate) struct MessageRead {
        account_id: DbId => Id,
        id: DbId => Id,
        is_read: Bool => bool,
    }
}

impl MessageRow {
    /// Makes the row of a new message with the numbers that the store allotted.
    pub(crate) fn new(
        account: Id,
        at: Timestamp,
        message: NewMessage,
        seq: i64,
        log_seq: i64,
    ) -> QueryResult<Self> {
        let NewMessage {
            id,
            exchange,
            endpoint,
            chat,
            direction,
            origin,
            from,
            to,
            from_number,
            to_number,
            peer,
            body,
            content_type,
            variables,
            status,
            read,
            expires_at,
            call_key,
            first_event: _,
            activity_event: _,
        } = message;
        let (token_id, idempotency_key) =
            call_key.map(|given| (Id(given.actor), given.key)).unzip();
        Ok(Self {
            account_id: account,
            id: id.into(),
            exchange_id: exchange.into(),
            endpoint_id: endpoint.into(),
            chat_id: chat.into(),
            seq,
            log_seq,
            direction: direction_number(direction),
            origin: origin_number(origin),
            sender_uri: from,
            recipient_uri: to,
            peer,
            body,
            content_type,
            status: status_number(status),
            failure_code: None,
            failure_sip_status: None,
            failure_reason: None,
            is_read: read,
            created_at: at.into(),
            status_at: at.into(),
            expires_at: expires_at.map(Into::into),
            sender_number: from_number,
            recipient_number: to_number,
            variables: variables_text(&variables)?,
            delivered_at: None,
            displayed_at: None,
            token_id,
            idempotency_key,
        })
    }
}

impl MessageStatusChange {
    /// Makes the change of a message's status, which the event with this number tells of.
    pub(crate) fn new(
        account: Id,
        at: Timestamp,
        id: Id,
        status: MessageStatus,
        failure: Option<Failure>,
        status_seq: Option<i64>,
    ) -> Self {
        let (failure_code, failure_sip_status, failure_reason) = match failure {
            Some(Failure {
                code,
                sip_status,
                reason,
            }) => (
                Some(failure_number(code)),
                sip_status.map(Into::into),
                reason,
            ),
            None => (None, None, None),
        };
        Self {
            account_id: account,
            id,
            status: status_number(status),
            failure_code,
            failure_sip_status,
            failure_reason,
            status_at: at.into(),
            status_seq,
        }
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = Corrupt;

    fn try_from(row: MessageRow) -> Result<Self, Corrupt> {
        let MessageRow {
            account_id,
            id,
            exchange_id,
            endpoint_id,
            chat_id,
            seq,
            log_seq,
            direction: direction_number,
            origin: origin_number,
            sender_uri,
            recipient_uri,
            peer: _,
            body,
            content_type,
            status: status_number,
            failure_code: code,
            failure_sip_status,
            failure_reason,
            is_read,
            created_at,
            status_at,
            expires_at,
            sender_number,
            recipient_number,
            variables,
            delivered_at,
            displayed_at,
            token_id,
            idempotency_key,
        } = row;
        let failure = match code {
            Some(code) => Some(Failure {
                code: failure_code(code)?,
                sip_status: sip_status(failure_sip_status)?,
                reason: failure_reason,
            }),
            None => None,
        };
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            exchange: exchange_id.into(),
            endpoint: endpoint_id.into(),
            chat: chat_id.into(),
            seq,
            log_seq,
            direction: direction(direction_number)?,
            origin: origin(origin_number)?,
            from: sender_uri,
            to: recipient_uri,
            from_number: sender_number,
            to_number: recipient_number,
            body,
            content_type,
            variables: super::variables(variables.as_deref())?,
            status: status(status_number)?,
            failure,
            read: is_read,
            created_at: created_at.into(),
            status_at: status_at.into(),
            expires_at: expires_at.map(Into::into),
            delivered_at: delivered_at.map(Into::into),
            displayed_at: displayed_at.map(Into::into),
            call_key: token_id.zip(idempotency_key).map(|(actor, key)| CallKey {
                actor: actor.0,
                key,
            }),
        })
    }
}
