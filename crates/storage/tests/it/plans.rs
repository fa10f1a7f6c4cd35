//! How SQLite finds what the store asks for: by which index, and whether the statement is compiled once.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use sipgraph_core::{
    Timestamp,
    binding::Binding,
    commit::{Precondition, Write},
    page::{PageKey, Slice},
    ports::{
        Store as _,
        store::{ChatFilter, EndpointFilter, MessageFilter},
    },
};
use sipgraph_testkit::Database;

use crate::world::{World, first};

/// What all connections of the process were asked for, with its values, and what they keep compiled.
static SEEN: Mutex<Seen> = Mutex::new(Seen {
    asked: Vec::new(),
    kept: BTreeSet::new(),
});

struct Seen {
    asked: Vec<String>,
    kept: BTreeSet<String>,
}

impl Seen {
    /// The statements, without their values, that had a value which no other test has.
    fn with(&self, mark: &str) -> Vec<String> {
        let marked = self.asked.iter().filter(|asked| asked.contains(mark));
        let texts = marked.filter_map(|asked| asked.split(" -- binds: ").next());
        texts.map(str::to_owned).collect()
    }
}

fn seen() -> std::sync::MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() -> Option<Box<dyn Instrumentation>> {
    Some(Box::new(|event: InstrumentationEvent<'_>| match event {
        InstrumentationEvent::StartQuery { query, .. } => seen().asked.push(query.to_string()),
        InstrumentationEvent::CacheQuery { sql, .. } => {
            seen().kept.insert(sql.to_owned());
        }
        _ => {}
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
async fn a_list_of_some_endpoints_looks_at_no_others() {
    const PLACE: i64 = 987_654_321;
    set_default_instrumentation(watch).unwrap();
    let database = Database::sqlite();
    let world = World::on(&database).await;
    let domain = world.domain("a.example").await;
    let mut visible = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let phone = world.phone(&domain, name).await;
        let chat = world.chat(&phone, "x").await;
        world.apply(world.receive(&phone, chat, "text")).await;
        visible.push(phone.id);
    }
    let messages = MessageFilter {
        visible: Some(visible.clone()),
        ..MessageFilter::default()
    };
    let chats = ChatFilter {
        visible: Some(visible),
        ..ChatFilter::default()
    };
    let place = Some(PageKey {
        position: PLACE,
        tie: [0; 16],
    });
    for slice in [
        Slice {
            after: place,
            ..first(50)
        },
        Slice {
            backward: true,
            after: place,
            ..first(50)
        },
    ] {
        let page = world.store.messages(world.account, messages.clone(), slice);
        assert_eq!(page.await.unwrap().items.len(), 3);
        let page = world.store.chats(world.account, chats.clone(), slice);
        assert_eq!(page.await.unwrap().items.len(), 3);
    }
    let asked = seen().with(&PLACE.to_string());
    // One for each endpoint, of each list, in each direction.
    assert_eq!(asked.len(), 12, "{asked:#?}");
    for text in asked {
        let steps = plan(&database, &text);
        let (index, position) = if text.contains("FROM `messages`") {
            ("messages USING INDEX messages_endpoint", "log_seq")
        } else {
            ("chats USING INDEX chats_endpoint_activity", "activity_seq")
        };
        // The place in the list is where the index is entered, so that no row before it is looked at, nor one of others; and without
        // a sort none after the page.
        let entered = format!("SEARCH {index} (account_id=? AND endpoint_id=? AND {position}<?)");
        assert!(steps.contains(&entered), "{text}\n{steps:#?}");
        assert!(
            steps.iter().all(|step| !step.contains("TEMP B-TREE")),
            "{text}\n{steps:#?}"
        );
    }
}

#[tokio::test]
async fn a_search_is_compiled_once() {
    const PART: &str = "compiledonce";
    set_default_instrumentation(watch).unwrap();
    let database = Database::sqlite();
    let world = World::on(&database).await;
    let domain = world.domain("a.example").await;
    // More than the index is asked for at first, and then than are looked at before it is asked again.
    for number in 0..200 {
        let name = if number < 70 { PART } else { "other" };
        world.phone(&domain, &format!("{name}{number}")).await;
    }
    let filter = EndpointFilter {
        name_contains: Some(PART.to_owned()),
        ..EndpointFilter::default()
    };
    let page = world.store.endpoints(world.account, filter, first(50));
    assert_eq!(page.await.unwrap().items.len(), 50);
    let rare = EndpointFilter {
        name_contains: Some(format!("{PART}69")),
        ..EndpointFilter::default()
    };
    let page = world.store.endpoints(world.account, rare, first(50));
    assert_eq!(page.await.unwrap().items.len(), 1);
    let seen = seen();
    let asked = seen.with(PART);
    assert!(asked.len() >= 6, "{asked:#?}");
    for text in asked {
        assert!(seen.kept.contains(&text), "{text}");
    }
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
        let seen = seen();
        let kept = seen.kept.iter();
        kept.filter(|text| text.starts_with("UPDATE events") && text.contains(&LIMIT.to_string()))
            .cloned()
            .collect()
    };
    assert_eq!(blanking.len(), 4, "{blanking:#?}");
    for text in blanking {
        let steps = plan(&database, &text);
        let entered: &[&str] = if text.contains("JOIN events e ") {
            // By the messages of a step, which the index of their chat or endpoint has.
            &[
                "SEARCH t USING COVERING INDEX messages_",
                "SEARCH m USING PRIMARY KEY (account_id=? AND id=?",
                "SEARCH e USING PRIMARY KEY (account_id=? AND seq=?",
            ]
        } else {
            &["SEARCH t USING INDEX events_text (account_id=? AND endpoint_id=?"]
        };
        for entered in entered {
            assert!(
                steps.iter().any(|step| step.starts_with(entered)),
                "{entered}: {text}\n{steps:#?}"
            );
        }
    }
}

#[tokio::test]
async fn a_registration_looks_at_no_other_endpoints_messages() {
    const CAME_AT: i64 = 1_767_225_698_765_432;
    set_default_instrumentation(watch).unwrap();
    let database = Database::sqlite();
    let world = World::on(&database).await;
    let domain = world.domain("a.example").await;
    let alice = world.phone(&domain, "alice").await;
    let came = Binding {
        refreshed_at: Timestamp(CAME_AT),
        ..world.binding_of(&alice)
    };
    world
        .apply(world.commit(vec![Write::BindingPut(came)]))
        .await;
    let (hurried, returned) = {
        let seen = seen();
        let asked = seen.with(&CAME_AT.to_string()).into_iter();
        let hurried = asked.filter(|text| text.starts_with("UPDATE dispatches"));
        let asked = seen.with("UPDATE deliveries AS t SET retry_at").into_iter();
        (hurried.collect::<Vec<_>>(), asked.collect::<Vec<_>>())
    };
    let steps = plan(&database, hurried.first().unwrap());
    for step in [
        "SEARCH d USING COVERING INDEX dispatches_recipient (account_id=? AND recipient_id=?)",
        "SEARCH t USING PRIMARY KEY (account_id=? AND id=?)",
    ] {
        assert!(steps.iter().any(|s| s == step), "{steps:#?}");
    }
    let steps = plan(&database, returned.first().unwrap());
    let step = "INDEX deliveries_retry (account_id=? AND target_id=?";
    assert!(steps.iter().any(|s| s.contains(step)), "{steps:#?}");
}
