//! Events of the log. An event keeps its values as they were, as versioned JSON and never as a join to live rows; the text of
//! a message stands in a column of its own, so that a deletion can blank it without reading the JSON.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, SmallInt, Text},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sipgraph_core::{
    AccountId, Timestamp,
    commit::NewEvent,
    event::{BindingEnd, ContactStatus, Event, EventBody, EventType, PeerStatus, Subjects},
    message::Variables,
};

use super::{
    Corrupt,
    binding::{from_micros, micros},
    endpoint, message, numbers, registration, unsigned,
};
use crate::{
    schema::events,
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

/// The version of the JSON that is written; each version that was ever written stays readable.
const VERSION: u8 = 1;

numbers! {
    "event kind" EventType: kind_number kind {
        MessageIn = 0, MessageOut = 1, MessageOutStatus = 2, TextMessageReceived = 3, EndpointStateChanged = 4,
        ContactStatusChanged = 5, EndpointCreated = 6, EndpointDeleted = 7, MessageUpdated = 8, ChatUpdated = 9,
        PeerStatusChanged = 10,
        EndpointUpdated = 12,
        MessageDeleted = 13,
        ChatDeleted = 14,
        RegistrationFailed = 20,
    }
    "contact status" ContactStatus: contact_number contact {
        NonQualified = 0, Removed = 1, Reachable = 2, Unreachable = 3
    }
    "peer status" PeerStatus: peer_number peer { Reachable = 0, Unreachable = 1 }
    "end of a binding" BindingEnd: end_number end {
        Unregistered = 0, Expired = 1, ConnectionClosed = 2, Disabled = 3, EncryptionRequired = 4,
        TokenRevoked = 5,
    }
}

columns! {
    /// An event.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = events)]
    pub(crate) struct EventRow {
        account_id: DbId => Id,
        seq: BigInt => i64,
        id: DbId => Id,
        check_bits: BigInt => i64,
        happened_at: DbTime => Time,
        kind: SmallInt => i16,
        endpoint_id: Nullable<DbId> => Option<Id>,
        domain_id: Nullable<DbId> => Option<Id>,
        chat_id: Nullable<DbId> => Option<Id>,
        message_id: Nullable<DbId> => Option<Id>,
        body: Text => String,
        text: Nullable<Text> => Option<String>,
    }
}

/// The envelope of every body.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u8,
    #[serde(flatten)]
    values: T,
}

#[derive(Serialize, Deserialize)]
struct Empty {}

#[derive(Serialize, Deserialize)]
struct MessageInV1 {
    endpoint_name: String,
    own_number: String,
    src_number: String,
}

#[derive(Serialize, Deserialize)]
struct MessageOutV1 {
    endpoint_name: String,
    src_number: String,
    dst_number: String,
}

#[derive(Serialize, Deserialize)]
struct MessageOutStatusV1 {
    endpoint_name: String,
    src_number: String,
    dst_number: String,
    status: i16,
}

#[derive(Serialize, Deserialize)]
struct TextMessageReceivedV1 {
    from: String,
    to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exchange: Option<String>,
    /// Whether the text is a [`TextWithVariables`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_variables: bool,
}

/// A text with the header fields that came with it, which go with it when it is deleted.
#[derive(Serialize, Deserialize)]
struct TextWithVariables {
    text: String,
    variables: Variables,
}

#[derive(Serialize, Deserialize)]
struct EndpointStateChangedV1 {
    state: i16,
}

#[derive(Serialize, Deserialize)]
struct ContactStatusChangedV1 {
    uri: String,
    aor: String,
    status: i16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round_trip_us: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct PeerStatusChangedV1 {
    status: i16,
    cause: Option<i16>,
    remote: String,
}

#[derive(Serialize, Deserialize)]
struct ChatUpdatedV1 {
    unread_count: i64,
    last_message: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct EndpointUpdatedV1 {
    changed_fields: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct RegistrationFailedV1 {
    aor: String,
    source: String,
    reason: i16,
}

fn write<T: Serialize>(values: T) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Versioned { v: VERSION, values })
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, Corrupt> {
    let Versioned { v, values } = serde_json::from_str::<Versioned<T>>(body)
        .map_err(|error| Corrupt::new(format!("event body: {error}")))?;
    if v != VERSION {
        return Err(Corrupt::new(format!("event body version {v}")));
    }
    Ok(values)
}

impl EventRow {
    /// Makes the row of a new event with the number that the store allotted.
    pub(crate) fn new(
        account: Id,
        at: Timestamp,
        seq: i64,
        event: NewEvent,
    ) -> diesel::QueryResult<Self> {
        let NewEvent {
            id,
            check,
            subjects:
                Subjects {
                    endpoint,
                    domain,
                    chat,
                    message,
                },
            body,
        } = event;
        let kind = kind_number(body.event_type());
        let (body, text) = split(body)
            .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))?;
        Ok(Self {
            account_id: account,
            seq,
            id: id.into(),
            check_bits: check.into(),
            happened_at: at.into(),
            kind,
            endpoint_id: endpoint.map(Into::into),
            domain_id: domain.map(Into::into),
            chat_id: chat.map(Into::into),
            message_id: message.map(Into::into),
            body,
            text,
        })
    }
}

/// The JSON of an event's values, and its text.
fn split(body: EventBody) -> Result<(String, Option<String>), serde_json::Error> {
    Ok(match body {
        EventBody::MessageIn {
            endpoint_name,
            own_number,
            src_number,
            text,
        } => (
            write(MessageInV1 {
                endpoint_name,
                own_number,
                src_number,
            })?,
            text,
        ),
        EventBody::MessageOut {
            endpoint_name,
            src_number,
            dst_number,
            text,
        } => (
            write(MessageOutV1 {
                endpoint_name,
                src_number,
                dst_number,
            })?,
            text,
        ),
        EventBody::MessageOutStatus {
            endpoint_name,
            src_number,
            dst_number,
            text,
            status,
        } => (
            write(MessageOutStatusV1 {
                endpoint_name,
                src_number,
                dst_number,
                status: message::status_number(status),
            })?,
            text,
        ),
        EventBody::TextMessageReceived {
            from,
            to,
            body,
            variables,
            exchange,
        } => {
            let has_variables = body.is_some() && !variables.is_empty();
            let values = TextMessageReceivedV1 {
                from,
                to,
                exchange: exchange.map(|id| uuid::Uuid::from_bytes(id.0).to_string()),
                has_variables,
            };
            let text = match body {
                Some(text) if has_variables => Some(serde_json::to_string(&TextWithVariables {
                    text,
                    variables,
                })?),
                text => text,
            };
            (write(values)?, text)
        }
        EventBody::EndpointStateChanged { state } => (
            write(EndpointStateChangedV1 {
                state: endpoint::state_number(state),
            })?,
            None,
        ),
        EventBody::ContactStatusChanged {
            uri,
            aor,
            status,
            round_trip,
        } => (
            write(ContactStatusChangedV1 {
                uri,
                aor,
                status: contact_number(status),
                round_trip_us: round_trip.map(micros),
            })?,
            None,
        ),
        EventBody::PeerStatusChanged {
            status,
            cause,
            remote,
        } => (
            write(PeerStatusChangedV1 {
                status: peer_number(status),
                cause: cause.map(end_number),
                remote,
            })?,
            None,
        ),
        EventBody::ChatUpdated {
            unread_count,
            last_message,
        } => (
            write(ChatUpdatedV1 {
                unread_count,
                last_message: last_message.map(|id| uuid::Uuid::from_bytes(id.0).to_string()),
            })?,
            None,
        ),
        EventBody::EndpointUpdated { changed_fields } => {
            (write(EndpointUpdatedV1 { changed_fields })?, None)
        }
        EventBody::RegistrationFailed {
            aor,
            source,
            reason,
        } => (
            write(RegistrationFailedV1 {
                aor,
                source,
                reason: registration::reason_number(reason),
            })?,
            None,
        ),
        EventBody::EndpointCreated
        | EventBody::EndpointDeleted
        | EventBody::MessageUpdated
        | EventBody::MessageDeleted
        | EventBody::ChatDeleted => (write(Empty {})?, None),
    })
}

/// Puts an event's values together again.
fn join(kind: EventType, body: &str, text: Option<String>) -> Result<EventBody, Corrupt> {
    Ok(match kind {
        EventType::MessageIn => {
            let MessageInV1 {
                endpoint_name,
                own_number,
                src_number,
            } = read(body)?;
            EventBody::MessageIn {
                endpoint_name,
                own_number,
                src_number,
                text,
            }
        }
        EventType::MessageOut => {
            let MessageOutV1 {
                endpoint_name,
                src_number,
                dst_number,
            } = read(body)?;
            EventBody::MessageOut {
                endpoint_name,
                src_number,
                dst_number,
                text,
            }
        }
        EventType::MessageOutStatus => {
            let MessageOutStatusV1 {
                endpoint_name,
                src_number,
                dst_number,
                status,
            } = read(body)?;
            EventBody::MessageOutStatus {
                endpoint_name,
                src_number,
                dst_number,
                text,
                status: message::status(status)?,
            }
        }
        EventType::TextMessageReceived => {
            let TextMessageReceivedV1 {
                from,
                to,
                exchange,
                has_variables,
            } = read(body)?;
            let exchange = exchange
                .map(|id| uuid::Uuid::try_parse(&id))
                .transpose()
                .map_err(|_| Corrupt::new("exchange id in an event"))?;
            let (text, variables) = match text {
                Some(text) if has_variables => {
                    let TextWithVariables { text, variables } = serde_json::from_str(&text)
                        .map_err(|error| Corrupt::new(format!("event text: {error}")))?;
                    (Some(text), variables)
                }
                text => (text, Variables::new()),
            };
            EventBody::TextMessageReceived {
                from,
                to,
                body: text,
                variables,
                exchange: exchange.map(|id| Id(id.into_bytes()).into()),
            }
        }
        EventType::EndpointStateChanged => {
            let EndpointStateChangedV1 { state } = read(body)?;
            EventBody::EndpointStateChanged {
                state: endpoint::state(state)?,
            }
        }
        EventType::ContactStatusChanged => {
            let ContactStatusChangedV1 {
                uri,
                aor,
                status,
                round_trip_us,
            } = read(body)?;
            EventBody::ContactStatusChanged {
                uri,
                aor,
                status: contact(status)?,
                round_trip: round_trip_us.map(from_micros),
            }
        }
        EventType::PeerStatusChanged => {
            let PeerStatusChangedV1 {
                status,
                cause,
                remote,
            } = read(body)?;
            EventBody::PeerStatusChanged {
                status: peer(status)?,
                cause: cause.map(end).transpose()?,
                remote,
            }
        }
        EventType::ChatUpdated => {
            let ChatUpdatedV1 {
                unread_count,
                last_message,
            } = read(body)?;
            let last_message = last_message
                .map(|id| uuid::Uuid::try_parse(&id))
                .transpose()
                .map_err(|_| Corrupt::new("message id in an event"))?;
            EventBody::ChatUpdated {
                unread_count,
                last_message: last_message.map(|id| Id(id.into_bytes()).into()),
            }
        }
        EventType::EndpointUpdated => {
            let EndpointUpdatedV1 { changed_fields } = read(body)?;
            EventBody::EndpointUpdated { changed_fields }
        }
        EventType::RegistrationFailed => {
            let RegistrationFailedV1 {
                aor,
                source,
                reason,
            } = read(body)?;
            EventBody::RegistrationFailed {
                aor,
                source,
                reason: registration::reason(reason)?,
            }
        }
        EventType::EndpointCreated => EventBody::EndpointCreated,
        EventType::EndpointDeleted => EventBody::EndpointDeleted,
        EventType::MessageUpdated => EventBody::MessageUpdated,
        EventType::MessageDeleted => EventBody::MessageDeleted,
        EventType::ChatDeleted => EventBody::ChatDeleted,
    })
}

impl TryFrom<EventRow> for Event {
    type Error = Corrupt;

    fn try_from(row: EventRow) -> Result<Self, Corrupt> {
        let EventRow {
            account_id,
            seq,
            id,
            check_bits,
            happened_at,
            kind: kind_number,
            endpoint_id,
            domain_id,
            chat_id,
            message_id,
            body,
            text,
        } = row;
        let account: AccountId = account_id.into();
        Ok(Self {
            id: id.into(),
            account,
            seq,
            check: unsigned("event check", check_bits)?,
            at: happened_at.into(),
            subjects: Subjects {
                endpoint: endpoint_id.map(Into::into),
                domain: domain_id.map(Into::into),
                chat: chat_id.map(Into::into),
                message: message_id.map(Into::into),
            },
            body: join(kind(kind_number)?, &body, text)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipgraph_core::{
        ExchangeId, MessageId, endpoint::EndpointState, message::MessageStatus,
        registration_failure::FailureReason,
    };

    #[test]
    fn every_body_comes_back_as_it_was() {
        let (a, b, c) = ("a".to_owned(), "b".to_owned(), "ü\"\\".to_owned());
        let bodies = [
            EventBody::MessageIn {
                endpoint_name: a.clone(),
                own_number: b.clone(),
                src_number: c.clone(),
                text: Some(c.clone()),
            },
            EventBody::MessageOut {
                endpoint_name: a.clone(),
                src_number: b.clone(),
                dst_number: c.clone(),
                text: None,
            },
            EventBody::MessageOutStatus {
                endpoint_name: a.clone(),
                src_number: b.clone(),
                dst_number: c.clone(),
                text: Some(a.clone()),
                status: MessageStatus::Failed,
            },
            EventBody::TextMessageReceived {
                from: a.clone(),
                to: b.clone(),
                body: Some(c.clone()),
                variables: Variables::from([("X-Foo".to_owned(), c.clone())]),
                exchange: Some(ExchangeId([8; 16])),
            },
            EventBody::TextMessageReceived {
                from: a.clone(),
                to: b.clone(),
                body: Some(c.clone()),
                variables: Variables::new(),
                exchange: None,
            },
            EventBody::EndpointStateChanged {
                state: EndpointState::Online,
            },
            EventBody::ContactStatusChanged {
                uri: a,
                aor: b,
                status: ContactStatus::Removed,
                round_trip: None,
            },
            EventBody::ContactStatusChanged {
                uri: "sip:c@d".to_owned(),
                aor: "sip:c@e".to_owned(),
                status: ContactStatus::Reachable,
                round_trip: Some(std::time::Duration::from_micros(1234)),
            },
            EventBody::PeerStatusChanged {
                status: PeerStatus::Unreachable,
                cause: Some(BindingEnd::Expired),
                remote: "[2001:db8::1]:5060".to_owned(),
            },
            EventBody::EndpointCreated,
            EventBody::EndpointDeleted,
            EventBody::MessageUpdated,
            EventBody::MessageDeleted,
            EventBody::ChatDeleted,
            EventBody::ChatUpdated {
                unread_count: 3,
                last_message: Some(MessageId([7; 16])),
            },
            EventBody::EndpointUpdated {
                changed_fields: vec!["displayName".to_owned(), "codecs".to_owned()],
            },
            EventBody::RegistrationFailed {
                aor: "x@y".to_owned(),
                source: "192.0.2.1".to_owned(),
                reason: FailureReason::Banned,
            },
        ];
        let kinds: std::collections::BTreeSet<EventType> =
            bodies.iter().map(EventBody::event_type).collect();
        assert_eq!(kinds.len(), EventType::ALL.len());
        for body in bodies {
            let kind_before = body.event_type();
            let number = kind_number(kind_before);
            let (json, text) = split(body.clone()).unwrap();
            assert_eq!(join(kind(number).unwrap(), &json, text).unwrap(), body);
        }
    }

    #[test]
    fn f122_variables_go_with_the_text() {
        let told = EventBody::TextMessageReceived {
            from: "a".to_owned(),
            to: "b".to_owned(),
            body: Some("c".to_owned()),
            variables: Variables::from([("Subject".to_owned(), "lunch".to_owned())]),
            exchange: None,
        };
        let kind = told.event_type();
        let (json, _) = split(told).unwrap();
        assert!(!json.contains("lunch"), "{json}");
        let EventBody::TextMessageReceived {
            body, variables, ..
        } = join(kind, &json, None).unwrap()
        else {
            panic!("another kind");
        };
        assert_eq!((body, variables), (None, Variables::new()));
    }

    #[test]
    fn a_body_of_a_later_version_is_not_misread() {
        let error = join(
            EventType::EndpointStateChanged,
            r#"{"v":2,"state":1}"#,
            None,
        )
        .unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
    }
}
