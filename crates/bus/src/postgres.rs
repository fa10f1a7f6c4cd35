//! Wakes between the nodes that share a Postgres database: `NOTIFY` after a commit, on a connection of its own.
//!
//! Readers of this node are woken at once, in process; the others by the database. Wakes of an
//! account are joined to 50 a second: only the highest number counts.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use sipgraph_core::{
    AccountId,
    ports::{Bus, Wake},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client, types::ToSql};

use crate::LocalBus;

/// A client and the messages that its connection brings; reading them drives the connection.
pub type Connection = (
    Client,
    BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>,
);

/// Makes a connection to the database that the nodes share.
pub type Connect = Arc<
    dyn Fn() -> BoxFuture<'static, Result<Connection, Box<dyn StdError + Send + Sync>>>
        + Send
        + Sync,
>;

/// The name of the channel; databases have channels of their own.
const CHANNEL: &str = "sipgraph_wake";
/// The pause after each sending: 50 a second.
const PAUSE: Duration = Duration::from_millis(20);
/// Accounts whose wakes wait to be sent. Beyond it a wake is dropped: the other nodes look once a second.
const WAITING_MAX: usize = 10_000;
/// A connection that takes longer to make will not come: the address swallows what is sent to it.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// A statement that takes longer is on a connection that is lost.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(5);
/// The pauses between attempts to connect: from the first, doubled up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A bus over Postgres.
pub struct PostgresBus {
    local: LocalBus,
    waiting: Arc<Waiting>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Waiting {
    highest: Mutex<HashMap<AccountId, i64>>,
    added: Notify,
}

impl Waiting {
    fn add(&self, wake: Wake) {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        let full = highest.len() >= WAITING_MAX;
        match highest.get_mut(&wake.account) {
            Some(seq) => *seq = wake.seq.max(*seq),
            None if full => return,
            None => {
                highest.insert(wake.account, wake.seq);
            }
        }
        drop(highest);
        self.added.notify_one();
    }

    fn take(&self) -> HashMap<AccountId, i64> {
        std::mem::take(&mut self.highest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PostgresBus {
    /// Starts a bus; it connects by itself, and again whenever the connection is lost.
    #[must_use]
    pub fn start(connect: Connect) -> Self {
        let local = LocalBus::new();
        let waiting = Arc::new(Waiting::default());
        let task = tokio::spawn(serve(connect, local.clone(), Arc::clone(&waiting)));
        Self {
            local,
            waiting,
            task,
        }
    }
}

impl Bus for PostgresBus {
    fn wake(&self, wake: Wake) {
        self.local.wake(wake);
        self.waiting.add(wake);
    }

    fn wakes(&self) -> BoxStream<'static, Wake> {
        self.local.wakes()
    }
}

impl Drop for PostgresBus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(connect: Connect, local: LocalBus, waiting: Arc<Waiting>) {
    let mut pause = RETRY.0;
    loop {
        match timeout(CONNECT_DEADLINE, connect()).await {
            Ok(Ok(connection)) => {
                let connected = Instant::now();
                let error = session(connection, &local, &waiting).await;
                tracing::warn!(error, "the bus lost its connection");
                // One that is lost at once, again and again, is no reason to hurry.
                if connected.elapsed() > RETRY.1 {
                    pause = RETRY.0;
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the bus can't connect"),
            Err(_) => tracing::warn!("the bus can't connect: the database did not answer in time"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

/// Listens and sends on one connection until it is lost; gives the reason.
async fn session((client, messages): Connection, local: &LocalBus, waiting: &Waiting) -> String {
    // Our own notifications come back to us: the sender's process id tells them apart. It is known before any is sent.
    let own_process = AtomicI32::new(0);
    tokio::select! {
        reason = listen(messages, local, &own_process) => reason,
        reason = send(&client, waiting, &own_process) => reason,
    }
}

async fn listen(
    mut messages: BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>,
    local: &LocalBus,
    own_process: &AtomicI32,
) -> String {
    loop {
        match messages.next().await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                if notification.process_id() != own_process.load(Ordering::Relaxed)
                    && let Some(wake) = read(notification.payload())
                {
                    local.wake(wake);
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.to_string(),
            None => return "it was closed".to_owned(),
        }
    }
}

async fn send(client: &Client, waiting: &Waiting, own_process: &AtomicI32) -> String {
    let prepare = async {
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await?;
        own_process.store(row.get(0), Ordering::Relaxed);
        client
            .prepare("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload")
            .await
    };
    let notify = match timeout(STATEMENT_DEADLINE, prepare).await {
        Ok(Ok(notify)) => notify,
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return "the database did not answer in time".to_owned(),
    };
    loop {
        let wakes = waiting.take();
        if wakes.is_empty() {
            waiting.added.notified().await;
            continue;
        }
        let payloads: Vec<String> = wakes
            .iter()
            .map(|(account, seq)| write(*account, *seq))
            .collect();
        let parameters: [&(dyn ToSql + Sync); 2] = [&CHANNEL, &payloads];
        let reason = match timeout(STATEMENT_DEADLINE, client.execute(&notify, &parameters)).await {
            Ok(Ok(_)) => {
                sleep(PAUSE).await;
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database did not answer in time".to_owned(),
        };
        // Repeating a wake is harmless, losing it costs the other nodes up to a second.
        for (account, seq) in wakes {
            waiting.add(Wake { account, seq });
        }
        return reason;
    }
}

/// Writes a wake as the payload of a notification: the account's 32 hexadecimal digits and the number.
fn write(account: AccountId, seq: i64) -> String {
    format!("{}{seq}", sipgraph_core::digest::hex(&account.0))
}

/// Reads what [`write`] wrote; anything else on the channel is not ours.
fn read(payload: &str) -> Option<Wake> {
    let (account, seq) = payload.split_at_checked(32)?;
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(account.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(Wake {
        account: AccountId(bytes),
        seq: seq.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_back() {
        let account = AccountId([0xa5; 16]);
        let wake = Wake {
            account,
            seq: i64::MAX,
        };
        assert_eq!(read(&write(account, i64::MAX)), Some(wake));
        for other in [
            "",
            "x",
            "00",
            "zz000000000000000000000000000000 1",
            "ü",
            &"0".repeat(32),
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn wakes_that_wait_are_joined_and_bounded() {
        let waiting = Waiting::default();
        let account = |n: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            AccountId(id)
        };
        for n in 0..WAITING_MAX + 5 {
            waiting.add(Wake {
                account: account(n),
                seq: 1,
            });
        }
        waiting.add(Wake {
            account: account(0),
            seq: 9,
        });
        waiting.add(Wake {
            account: account(0),
            seq: 3,
        });
        let wakes = waiting.take();
        assert_eq!(wakes.len(), WAITING_MAX);
        assert_eq!(wakes[&account(0)], 9);
    }
}
