//! The bus over a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use sipgraph_bus::{Connect, PostgresBus};
use sipgraph_core::{
    AccountId,
    ports::{Bus as _, Wake},
};
use sipgraph_storage::PostgresConnector;
use sipgraph_testkit::{Cluster, ClusterOptions, Database, block_on};
use tokio::time::timeout;

/// Long enough for a loaded machine, and for the bus to connect again.
const SOON: Duration = Duration::from_secs(30);

fn connect(url: &str) -> Connect {
    let connector = PostgresConnector::parse(url).unwrap();
    Arc::new(move || {
        let connector = connector.clone();
        async move { Ok(connector.connect().await?) }.boxed()
    })
}

fn wake(account: u8, seq: i64) -> Wake {
    Wake {
        account: AccountId([account; 16]),
        seq,
    }
}

/// Wakes by `from` until `to` hears of it: before both are connected, wakes are lost, as they may be.
async fn heard(from: &PostgresBus, to: &PostgresBus, account: u8) {
    let mut wakes = to.wakes();
    let hearing = async {
        for seq in 1.. {
            from.wake(wake(account, seq));
            let next = timeout(Duration::from_millis(100), wakes.next()).await;
            if next.is_ok_and(|w| w.is_some_and(|w| w.account == AccountId([account; 16]))) {
                return;
            }
        }
    };
    timeout(SOON, hearing).await.unwrap();
}

#[test]
fn another_node_is_woken() {
    block_on(async {
        let database = Database::postgres().await;
        let (one, two) = (
            PostgresBus::start(connect(database.url())),
            PostgresBus::start(connect(database.url())),
        );
        heard(&one, &two, 1).await;
        heard(&two, &one, 2).await;
        // What this node wakes reaches its own readers at once, and once.
        let mut own = one.wakes();
        one.wake(wake(3, 7));
        assert_eq!(own.next().now_or_never(), Some(Some(wake(3, 7))));
        let mut far = two.wakes();
        one.wake(wake(4, 1));
        let next = async {
            loop {
                let next = far.next().await.unwrap();
                if next.account == AccountId([4; 16]) {
                    return next;
                }
            }
        };
        assert_eq!(timeout(SOON, next).await.unwrap(), wake(4, 1));
        assert_eq!(own.next().now_or_never(), Some(Some(wake(4, 1))));
        assert_eq!(own.next().now_or_never(), None);
    });
}

#[test]
fn many_wakes_of_an_account_become_few_and_the_last_arrives() {
    block_on(async {
        let database = Database::postgres().await;
        let (one, two) = (
            PostgresBus::start(connect(database.url())),
            PostgresBus::start(connect(database.url())),
        );
        heard(&one, &two, 1).await;
        let mut far = two.wakes();
        for seq in 1..=10_000 {
            one.wake(wake(2, seq));
        }
        let counting = async {
            let mut count = 0;
            loop {
                let next = far.next().await.unwrap();
                if next.account == AccountId([2; 16]) {
                    count += 1;
                    if next.seq == 10_000 {
                        return count;
                    }
                }
            }
        };
        let count = timeout(SOON, counting).await.unwrap();
        assert!(count < 100, "{count} notifications");
    });
}

#[test]
fn it_connects_again_when_the_database_is_back() {
    block_on(async {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(ClusterOptions::default()))
            .await
            .unwrap();
        let database = Database::on(&cluster).await;
        let (one, two) = (
            PostgresBus::start(connect(database.url())),
            PostgresBus::start(connect(database.url())),
        );
        heard(&one, &two, 1).await;
        cluster.crash();
        one.wake(wake(2, 1));
        cluster.start_again();
        heard(&one, &two, 3).await;
        heard(&two, &one, 4).await;
    });
}
