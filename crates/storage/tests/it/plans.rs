//! How SQLite finds what the store asks for: by which index.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use sipgraph_core::{
    commit::{Precondition, Write},
    ports::Store as _,
};
use sipgraph_testkit::Database;

use crate::world::World;

/// The statements that all connections of the process keep compiled.
static KEPT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn kept() -> std::sync::MutexGuard<'static, BTreeSet<String>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() -> Option<Box<dyn Instrumentation>> {
    Some(Box::new(|event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::CacheQuery { sql, .. } = event {
            kept().insert(sql.to_owned());
        }
    }))
}

/// The steps of a statement's plan.
fn plan(database: &Database, text: &str) -> Vec<String> {
    let file = database.url().strip_prefix("sqlite:").unwrap();
    let direct = rusqlite::Connection::open(file).unwrap();
    let mut explain = direct
        .prepare(&format!("EXPLAIN QUERY PLAN {text}"))
        .unwrap();
    let nothing = vec![rusqlite::types::Null; explain.parameter_count()];
    let steps = explain.query_map(rusqlite::params_from_iter(nothing), |row| row.get("detail"));
    steps.unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn what_a_deleted_endpoint_left_is_cleared_away_without_a_look_at_the_log() {
    /// No other test has this one.
    const LIMIT: u32 = 987;
    set_default_instrumentation(watch).unwrap();
    let database = Database::sqlite();
    let world = World::on(&database).await;
    let domain = world.domain("a.example").await;
    let phone = world.phone(&domain, "alice").await;
    let chat = world.chat(&phone, "x").await;
    world.apply(world.receive(&phone, chat, "text")).await;
    // What is left of a cleared chat, and then what is left of an endpoint.
    for gone in [Write::ChatClear(chat), Write::EndpointDelete(phone.id)] {
        let mut commit = world.commit(vec![gone]);
        commit.preconditions = vec![Precondition::ChatThere(chat)];
        world.apply(commit).await;
        assert!(world.store.deleted_purge(LIMIT).await.unwrap() > 0);
    }
    let blanking: Vec<String> = {
        let kept = kept();
        kept.iter()
            .filter(|text| text.starts_with("UPDATE events") && text.contains(&LIMIT.to_string()))
            .cloned()
            .collect()
    };
    assert_eq!(blanking.len(), 2, "{blanking:#?}");
    for text in blanking {
        let steps = plan(&database, &text);
        let entered = "SEARCH t USING INDEX events_text (account_id=? AND endpoint_id=?";
        assert!(
            steps.iter().any(|step| step.starts_with(entered)),
            "{text}\n{steps:#?}"
        );
    }
}
