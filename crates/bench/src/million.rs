//! Many messages, put into the store's own table by the fastest way that the database has: the store would write the same
//! rows, in minutes instead of seconds.
//!
//! They are as an account looks after a year: all chats grow together, so that the rows of one chat lie far apart.

use crate::Failure;
use crate::open::System;
use bytes::BytesMut;
use futures_util::pin_mut;
use sipgraph_core::ports::{Clock as _, Entropy as _};
use sipgraph_core::{AccountId, ChatId, EndpointId, ExchangeId, MessageId, Timestamp};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// The columns of the table `messages`, in their order.
pub(crate) const COLUMNS: &str = "account_id, id, exchange_id, endpoint_id, chat_id, seq, log_seq, direction, origin, \
    sender_uri, recipient_uri, peer, body, content_type, status, failure_code, failure_sip_status, failure_reason, is_read, \
    created_at, status_at, expires_at";

/// How `messages.direction`, `origin` and `status` say IN, API and RECEIVED.
const IN_API_RECEIVED: (i16, i16, i16) = (0, 0, 3);

/// Messages in chats, all of one endpoint.
pub(crate) struct Million {
    /// The account.
    pub(crate) account: AccountId,
    /// The chats, each with as many messages.
    pub(crate) chats: Vec<ChatId>,
    /// How many messages each chat has.
    pub(crate) each: u32,
    endpoint: EndpointId,
    began: Timestamp,
}

/// What changes from message to message.
struct Row {
    id: [u8; 16],
    exchange: [u8; 16],
    chat: [u8; 16],
    seq: i64,
    log_seq: i64,
    peer: String,
    sender: String,
    body: String,
    at: Timestamp,
}

impl Million {
    /// Plans `chats` chats with `each` messages each.
    pub(crate) fn plan(account: AccountId, endpoint: EndpointId, chats: u32, each: u32) -> Self {
        let now = System.now();
        Self {
            account,
            chats: (0..chats).map(|_| ChatId::new(now, random())).collect(),
            each,
            endpoint,
            // A message every millisecond, up to now.
            began: now.minus(Duration::from_millis(u64::from(chats) * u64::from(each))),
        }
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        let rounds = 1..=i64::from(self.each);
        let of_round = move |seq| {
            (0_i64..)
                .zip(&self.chats)
                .map(move |(n, chat)| (seq, n, chat))
        };
        rounds
            .flat_map(of_round)
            .zip(1_i64..)
            .map(|((seq, number, chat), log_seq)| {
                let at = Timestamp(self.began.0 + log_seq * 1000);
                let peer = format!("phone{number}@bench.example");
                Row {
                    id: MessageId::new(at, random()).0,
                    exchange: ExchangeId::new(at, random()).0,
                    chat: chat.0,
                    seq,
                    log_seq,
                    sender: format!("sip:{peer}"),
                    peer,
                    body: format!("{} ({log_seq})", crate::world::BODY),
                    at,
                }
            })
    }

    /// Puts them into an SQLite file that the store has made.
    ///
    /// # Errors
    /// SQLite failed.
    pub(crate) fn fill_sqlite(&self, file: &Path) -> Result<(), Failure> {
        let mut connection = rusqlite::Connection::open(file)?;
        // The generator may lose its rows; the cache holds the indexes, which are entered at random.
        connection.execute_batch("PRAGMA synchronous=OFF; PRAGMA cache_size=-262144")?;
        let transaction = connection.transaction()?;
        let marks = vec!["?"; COLUMNS.split(',').count()].join(", ");
        let text = format!("INSERT INTO messages ({COLUMNS}) VALUES ({marks})");
        let mut insert = transaction.prepare(&text)?;
        let (direction, origin, status) = IN_API_RECEIVED;
        for row in self.rows() {
            let none = rusqlite::types::Null;
            let values: [&dyn rusqlite::ToSql; 22] = [
                &self.account.0,
                &row.id,
                &row.exchange,
                &self.endpoint.0,
                &row.chat,
                &row.seq,
                &row.log_seq,
                &direction,
                &origin,
                &row.sender,
                &"sip:phone0@bench.example",
                &row.peer,
                &row.body,
                &"text/plain",
                &status,
                &none,
                &none,
                &none,
                &false,
                &row.at.0,
                &row.at.0,
                &none,
            ];
            insert.execute(&values[..])?;
        }
        drop(insert);
        transaction.commit()?;
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    /// Puts them into a Postgres database that the store has made.
    ///
    /// # Errors
    /// Postgres failed.
    pub(crate) async fn fill_postgres(
        &self,
        client: &tokio_postgres::Client,
    ) -> Result<(), Failure> {
        let sink = client
            .copy_in(&format!("COPY messages ({COLUMNS}) FROM STDIN BINARY"))
            .await?;
        let types = [
            Type::UUID,
            Type::UUID,
            Type::UUID,
            Type::UUID,
            Type::UUID,
            Type::INT8,
            Type::INT8,
            Type::INT2,
            Type::INT2,
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
            Type::INT2,
            Type::INT2,
            Type::INT4,
            Type::TEXT,
            Type::BOOL,
            Type::TIMESTAMPTZ,
            Type::TIMESTAMPTZ,
            Type::TIMESTAMPTZ,
        ];
        let writer = BinaryCopyInWriter::new(sink, &types);
        pin_mut!(writer);
        let (direction, origin, status) = IN_API_RECEIVED;
        for row in self.rows() {
            let at = SystemTime::UNIX_EPOCH + row.at.since(Timestamp::default());
            let values: [&(dyn ToSql + core::marker::Sync); 22] = [
                &Id(self.account.0),
                &Id(row.id),
                &Id(row.exchange),
                &Id(self.endpoint.0),
                &Id(row.chat),
                &row.seq,
                &row.log_seq,
                &direction,
                &origin,
                &row.sender,
                &"sip:phone0@bench.example",
                &row.peer,
                &row.body,
                &"text/plain",
                &status,
                &None::<i16>,
                &None::<i32>,
                &None::<String>,
                &false,
                &at,
                &at,
                &None::<SystemTime>,
            ];
            writer.as_mut().write(&values).await?;
        }
        writer.finish().await?;
        // Two calls: one text of several statements is a transaction, in which VACUUM is refused.
        client.batch_execute("VACUUM ANALYZE messages").await?;
        client.batch_execute("CHECKPOINT").await?;
        Ok(())
    }
}

fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    System.fill(&mut bytes);
    bytes
}

/// An id as Postgres has it: `uuid`, 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id(pub(crate) [u8; 16]);

impl ToSql for Id {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + core::marker::Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Id {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn Error + core::marker::Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
}
