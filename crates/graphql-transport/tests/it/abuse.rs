//! Documents that are made to cost more than they are worth, through the whole stack.

use std::{fmt::Write, sync::atomic::Ordering, time::Instant};

use serde_json::json;

use crate::harness::Server;

/// 22 fragments that each spread the next twice: 815 bytes, 18 seconds without the gate.
fn bomb(levels: usize) -> String {
    let mut text = String::from("{...F0}");
    for n in 0..levels {
        let _ = write!(
            text,
            "fragment F{n} on Query{{...F{} ...F{}}}",
            n + 1,
            n + 1
        );
    }
    let _ = write!(text, "fragment F{levels} on Query{{hello}}");
    text
}

/// 2^41 spreads of a fragment that is not there: no field is selected at all.
fn hollow_bomb() -> String {
    bomb(40).replace("{hello}", "{...Nope ...Nope}")
}

/// A chain of 400 fragments around one field, taken 500 times: few fields, many spreads.
fn long_chain() -> String {
    let mut text = format!("{{{}}}", "...F0 ".repeat(500));
    for n in 0..400 {
        let _ = write!(text, "fragment F{n} on Query{{...F{}}}", n + 1);
    }
    text + "fragment F400 on Query{hello}"
}

#[tokio::test]
async fn expensive_documents_are_refused_at_once() {
    let server = Server::start().await;
    let nested = |open: &str, n: usize| format!("{{hello(name:{}", open.repeat(n));
    let table = [
        (bomb(22), "QUERY_TOO_COMPLEX"),
        (bomb(300), "QUERY_TOO_COMPLEX"),
        (hollow_bomb(), "GRAPHQL_VALIDATION_FAILED"),
        (long_chain(), "QUERY_TOO_COMPLEX"),
        (
            (0..10_000).fold("{".into(), |mut s: String, n| {
                let _ = write!(s, "a{n}:hello ");
                s
            }) + "}",
            "QUERY_TOO_COMPLEX",
        ),
        (
            format!("{{hello {}}}", "@skip(if:false)".repeat(400)),
            "QUERY_TOO_COMPLEX",
        ),
        (nested("[", 100_000), "QUERY_TOO_COMPLEX"),
        (nested("{a:", 100_000), "QUERY_TOO_COMPLEX"),
        ("{a".repeat(50_000), "QUERY_TOO_COMPLEX"),
        (
            "{...A} fragment A on Query{...A}".into(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "{__schema{types{fields{type{fields{type{fields{name}}}}}}}}".into(),
            "QUERY_TOO_COMPLEX",
        ),
    ];
    for (query, code) in table {
        let begin = Instant::now();
        let answer = server.query(&query).await;
        let begin_of_query: String = query.chars().take(60).collect();
        assert_eq!(
            (answer.status, answer.code()),
            (400, code),
            "{begin_of_query}"
        );
        assert!(
            answer.text.len() < 1000,
            "{begin_of_query}: {} bytes",
            answer.text.len()
        );
        assert!(
            begin.elapsed().as_secs() < 3,
            "{begin_of_query}: {:?}",
            begin.elapsed()
        );
    }
    server.query("{hello}").await.data();
}

#[tokio::test]
async fn errors_stay_small() {
    let server = Server::start().await;
    let unknown = (0..900).fold(String::from("{"), |mut s, n| {
        let _ = write!(s, "u{n} ");
        s
    }) + "}";
    let answer = server.query(&unknown).await;
    answer.refused(400, "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 50);
    let long = format!("{{{}}}", "x".repeat(100_000));
    assert!(server.query(&long).await.text.len() < 2000);
    let syntax = format!("{{hello(name:\"{}\") !", "x".repeat(100_000));
    assert!(server.query(&syntax).await.text.len() < 2000);
}

#[tokio::test]
async fn a_repeated_mutation_runs_once() {
    let server = Server::start().await;
    let query = "mutation{add(by:1){calls} add(by:1){by}}";
    let answer = server.query(query).await;
    assert_eq!(answer.data(), &json!({"add": {"calls": 1, "by": 1}}));
    let query = "mutation{add(by:1){calls} ...F ...on Mutation{add(by:1){by}}} fragment F on Mutation{add(by:1){b:by}}";
    let answer = server.query(query).await;
    assert_eq!(
        answer.data(),
        &json!({"add": {"calls": 2, "b": 1, "by": 1}})
    );
    let query = "mutation{add(by:1){calls} add(by:1) @include(if:true){by}}";
    server
        .query(query)
        .await
        .refused(400, "GRAPHQL_VALIDATION_FAILED");
    let query = "mutation{add(by:1){calls} add(by:2){by}}";
    server
        .query(query)
        .await
        .refused(400, "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(server.world.calls.load(Ordering::SeqCst), 2);
    let query = "mutation{a:add(by:1){calls} b:add(by:1){calls}}";
    let answer = server.query(query).await;
    assert_eq!(
        answer.data(),
        &json!({"a": {"calls": 3}, "b": {"calls": 4}})
    );
}

#[tokio::test]
async fn the_graphiql_introspection_passes() {
    let server = Server::start().await;
    let of_type = (0..9).fold("kind name".to_owned(), |inner, _| {
        format!("kind name ofType{{{inner}}}")
    });
    let query = format!(
        "query IntrospectionQuery{{__schema{{queryType{{name}} mutationType{{name}} subscriptionType{{name}}
         types{{...FullType}} directives{{name description isRepeatable locations args{{...InputValue}}}}}}}}
         fragment FullType on __Type{{kind name description specifiedByURL isOneOf
         fields(includeDeprecated:true){{name description args(includeDeprecated:true){{...InputValue}} type{{...TypeRef}} isDeprecated deprecationReason}}
         inputFields(includeDeprecated:true){{...InputValue}} interfaces{{...TypeRef}}
         enumValues(includeDeprecated:true){{name description isDeprecated deprecationReason}} possibleTypes{{...TypeRef}}}}
         fragment InputValue on __InputValue{{name description type{{...TypeRef}} defaultValue isDeprecated deprecationReason}}
         fragment TypeRef on __Type{{{of_type}}}"
    );
    server.query(&query).await.data();
}
