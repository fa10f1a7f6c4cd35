//! Databases, clocks and networks for the tests of sipgraph.
//!
//! It must not be used by anything that ships: every crate names it as a dev-dependency only.
//! It holds no second copy of our own parts; what it starts is the real thing (a real Postgres
//! cluster, real sockets, the real store).
//!
//! - [`both_backends!`] runs one body on SQLite and on Postgres, as two tests.
//! - [`database`] gives each test a database of its own.
//! - [`cluster`] starts, stops and freezes a private Postgres.
//! - [`proxy`] is a TCP relay that can be cut, also in the middle of a commit.
//! - [`clock`] has time and randomness that a test decides.
//! - [`crowd`] has many endpoints to list.
//! - [`certificates`] makes a certificate authority and server certificates.

pub mod certificates;
pub mod clock;
pub mod cluster;
pub mod crowd;
pub mod database;
pub mod proxy;

use std::time::{Duration, Instant};

pub use clock::{SeededEntropy, SettableClock};
pub use cluster::{Cluster, ClusterOptions};
pub use crowd::Crowd;
pub use database::{Backend, Database};
pub use proxy::Proxy;

/// No test takes longer than this; a hang becomes a failure that names itself. The longest test waits for leases of 120 s after
/// several kills, on a machine that may be busy.
const TEST_DEADLINE: Duration = Duration::from_secs(600);

/// How often [`eventually`] looks again.
const POLL: Duration = Duration::from_millis(10);

/// Runs `body` on a fresh database of `backend`, on a runtime of its own.
///
/// This is what [`both_backends!`] expands to. It fails the test when the body takes longer than ten minutes.
pub fn run<F, Fut>(backend: Backend, body: F)
where
    F: FnOnce(Database) -> Fut,
    Fut: Future<Output = ()>,
{
    block_on(async {
        let database = Database::create(backend).await;
        body(database).await;
    });
}

/// Runs one test body on a multi-threaded runtime, with the same deadline as [`run`].
pub fn block_on(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime starts");
    runtime.block_on(async {
        tokio::time::timeout(TEST_DEADLINE, body)
            .await
            .expect("the test ends before its deadline");
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// Waits until `look` answers `Some`, looking every 10 ms, and gives what it found.
///
/// It fails the test with `what` after `within`; nothing in a test sleeps for a guessed time.
#[track_caller]
pub fn eventually<'a, T, Fut>(
    what: &'a str,
    within: Duration,
    mut look: impl FnMut() -> Fut + 'a,
) -> impl Future<Output = T> + 'a
where
    Fut: Future<Output = Option<T>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{caller}: {what} did not happen within {within:?}"
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Makes two tests of each body: `NAME::on_sqlite` and `NAME::on_postgres`.
///
/// ```text
/// both_backends! {
///     /// What the test shows.
///     async fn a_message_is_stored(database: Database) { ... }
/// }
/// ```
#[macro_export]
macro_rules! both_backends {
    ($($(#[$meta:meta])* async fn $name:ident($database:ident: Database) $body:block)*) => {
        $(
            $(#[$meta])*
            async fn $name($database: $crate::Database) $body

            mod $name {
                #[test]
                fn on_sqlite() {
                    $crate::run($crate::Backend::Sqlite, super::$name);
                }

                #[test]
                fn on_postgres() {
                    $crate::run($crate::Backend::Postgres, super::$name);
                }
            }
        )*
    };
}
