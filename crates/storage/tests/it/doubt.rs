//! R3: the connection to Postgres is cut while it commits.

use std::{net::SocketAddr, sync::Arc};

use sipgraph_core::{
    ErrorKind,
    commit::{Answer, Commit},
    ports::{Store as _, store::MessageFilter},
};
use sipgraph_storage::{Options, PostgresOptions, Storage};
use sipgraph_testkit::{Cluster, Database, Proxy, block_on};

use crate::world::World;

struct Scene {
    world: Arc<World>,
    /// A store that reaches the database through the relay.
    far: Storage,
    proxy: Proxy,
    commit: Box<dyn Fn(&str) -> Commit>,
}

async fn scene() -> Scene {
    let database = Database::postgres().await;
    let target = SocketAddr::from(([127, 0, 0, 1], Cluster::shared().port()));
    let proxy = Proxy::start(target).await;
    let far = database.through(proxy.address());
    let options = Options {
        postgres: PostgresOptions {
            writers: 1,
            ..PostgresOptions::default()
        },
        ..Options::default()
    };
    let world = Arc::new(World::with(&database, &options).await);
    let far = far.store_with(&options).await;
    let domain = world.domain("a.example").await;
    let alice = world.phone(&domain, "alice").await;
    let chat = world.chat(&alice, "x").await;
    let maker = Arc::clone(&world);
    let commit = Box::new(move |key: &str| {
        let mut commit = maker.receive(&alice, chat, "once");
        commit.idempotency = Some(maker.call(key, 1));
        commit
    });
    // The first commit connects the writer.
    far.commit(commit("first")).await.unwrap();
    Scene {
        world,
        far,
        proxy,
        commit,
    }
}

async fn stored(scene: &Scene) -> i64 {
    scene
        .world
        .store
        .messages_count(scene.world.account, MessageFilter::default())
        .await
        .unwrap()
}

#[test]
fn a_commit_whose_answer_was_lost_is_found() {
    block_on(async {
        let scene = scene().await;
        scene.proxy.cut_after(b"COMMIT");
        let back = async {
            scene.proxy.was_cut().await;
            scene.proxy.pass();
        };
        let (answer, ()) =
            futures_util::future::join(scene.far.commit((scene.commit)("k")), back).await;
        assert!(matches!(answer, Ok(Answer::Applied(_))), "{answer:?}");
        assert_eq!(stored(&scene).await, 2);
        let again = scene.far.commit((scene.commit)("k")).await.unwrap();
        assert!(matches!(again, Answer::Replayed(_)), "{again:?}");
        assert_eq!(stored(&scene).await, 2);
    });
}

#[test]
fn a_commit_that_never_arrived_is_known_not_to_be_stored() {
    block_on(async {
        let scene = scene().await;
        scene.proxy.cut_before(b"COMMIT");
        let back = async {
            scene.proxy.was_cut().await;
            scene.proxy.pass();
        };
        let (answer, ()) =
            futures_util::future::join(scene.far.commit((scene.commit)("k")), back).await;
        assert_eq!(answer.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(stored(&scene).await, 1);
        let again = scene.far.commit((scene.commit)("k")).await.unwrap();
        assert!(matches!(again, Answer::Applied(_)), "{again:?}");
        assert_eq!(stored(&scene).await, 2);
    });
}

#[test]
fn an_outcome_that_nobody_can_know_is_said_to_be_unknown() {
    block_on(async {
        let scene = scene().await;
        scene.proxy.cut_after(b"COMMIT");
        let answer = scene.far.commit((scene.commit)("k")).await;
        assert_eq!(answer.unwrap_err().kind, ErrorKind::UnknownOutcome);
        // The database is back: the same key has the one true result.
        scene.proxy.pass();
        let again = scene.far.commit((scene.commit)("k")).await.unwrap();
        assert!(matches!(again, Answer::Replayed(_)), "{again:?}");
        assert_eq!(stored(&scene).await, 2);
    });
}
