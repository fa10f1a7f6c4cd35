//! How many statements a list costs, and how many rows it may have.

use std::{collections::HashSet, time::Instant};

use serde_json::{Value, json};
use sipgraph_core::{
    App,
    access::Caller,
    app::messages::NewMessage,
    application::HttpMethod,
    decide::{
        applications::NewApplication,
        domains::NewDomain,
        endpoints::{EndpointSettings, NewCredentials, NewEndpoint},
    },
    endpoint::EndpointType,
    json::JsonObject,
    ports::store::EndpointKey,
};

use crate::harness::{DEADLINE, Gateway, codes};

/// Makes an endpoint with a chat with each of `peers` others.
async fn chats(app: &App, caller: &Caller, peers: usize) {
    let domain = NewDomain {
        name: "example.com".into(),
        aliases: Vec::new(),
        description: None,
        digest_algorithms: None,
        record_internal_messages: true,
    };
    let domain = app
        .domain_create(caller, &domain, false, None)
        .await
        .unwrap()
        .value;
    let application = NewApplication {
        name: "hotline".into(),
        callback_url: None,
        callback_method: HttpMethod::Post,
    };
    let application = app
        .application_create(caller, &application, false, None)
        .await
        .unwrap()
        .value;
    let mut ids = Vec::new();
    for n in 0..=peers {
        let new = NewEndpoint {
            domain: domain.id,
            name: format!("e{n}"),
            kind: EndpointType::SipUser,
            settings: EndpointSettings {
                credentials: NewCredentials::generated().into(),
                application: application.id.into(),
                ..EndpointSettings::default()
            },
        };
        let created = app.endpoint_create(caller, &new, false, None).await;
        let created = created.unwrap().value;
        ids.push(created.endpoint.id);
    }
    for peer in &ids[1..] {
        let new = NewMessage {
            from: Some(Ok(EndpointKey::Id(ids[0]))),
            to: Ok(EndpointKey::Id(*peer).into()),
            body: Some("hi".into()),
            content_type: "text/plain".into(),
            variables: JsonObject::new(),
            expires_in_s: None,
        };
        app.message_send(caller, &new, false, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_chats_costs_three_statements_however_long() {
    let gateway = Gateway::start().await;
    let caller = gateway.app.token_check(&gateway.token).await.unwrap();
    chats(&gateway.app, &caller, 130).await;
    let query = "query($n:Int!){chats(first:$n){nodes{peer ownNumber unreadCount
        lastMessage{body status direction endpoint{name displayName}}}}}";
    for n in [50, 260] {
        gateway.store.take();
        let data = gateway.data(query, json!({ "n": n })).await;
        let mut calls = gateway.store.take();
        // The loops of the program read too, and each request checks its token.
        calls.retain(|name| !["token_by_hash", "log_heads", "tokens_revoked_since"].contains(name));
        let nodes = data["chats"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), n);
        assert!(
            nodes
                .iter()
                .all(|chat| chat["lastMessage"]["endpoint"]["name"].is_string())
        );
        assert_eq!(calls, ["chats", "endpoints_by_ids", "messages_by_ids"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_lists_never_cost_a_statement_per_row() {
    let gateway = Gateway::start().await;
    let caller = gateway.app.token_check(&gateway.token).await.unwrap();
    chats(&gateway.app, &caller, 20).await;
    let query = "{endpoints(first:20){totalCount nodes{name state contacts{uri} unreadCount domain{name} account{name}
        voipToken application{name} addresses{ip} attributes properties transformations{id} ciphers codecs encryption effectiveCiphers effectiveCodecs effectiveEncryption effectiveSendAs}}}";
    gateway.store.take();
    gateway.data(query, json!({})).await;
    let mut calls = gateway.store.take();
    calls.retain(|name| !["token_by_hash", "log_heads", "tokens_revoked_since"].contains(name));
    calls.sort_unstable();
    assert_eq!(
        calls,
        [
            "account",
            "applications_by_ids",
            "bindings_by_endpoints",
            "domains_of_endpoints",
            "endpoints",
            "endpoints_count",
            "sip_profile",
            "unread_by_endpoints",
            "voip_tokens"
        ]
    );
}

/// Sends `count` messages from one new endpoint to another and returns the ids of the two.
async fn messages(gateway: &Gateway, count: usize) -> (String, String) {
    let caller = gateway.app.token_check(&gateway.token).await.unwrap();
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    let key = |id: &str| sipgraph_core::address::endpoint_uri("uri", id).unwrap();
    for _ in 0..count {
        let new = NewMessage {
            from: Some(Ok(key("sip:alice@example.com"))),
            to: Ok(key("sip:bob@example.com").into()),
            body: Some("hi".into()),
            content_type: "text/plain".into(),
            variables: JsonObject::new(),
            expires_in_s: None,
        };
        gateway
            .app
            .message_send(&caller, &new, false, None)
            .await
            .unwrap();
    }
    (alice, bob)
}

fn nodes<'a>(list: &'a Value, name: &str) -> &'a [Value] {
    list[name]["nodes"].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_lists_have_rows_in_bounds() {
    let gateway = Gateway::start().await;
    let (_, bob) = messages(&gateway, 500).await;
    let query = "query($outer:Int,$inner:Int){messages(first:$outer){nodes{chat{messages(first:$inner){nodes{id}}}}}}";

    // A full page with ten rows below each row is in bounds, and so is a page below one row.
    for (outer, inner) in [(1000, 10), (1, 1000)] {
        let variables = json!({"outer": outer, "inner": inner});
        let data = gateway.data(query, variables).await;
        let rows = nodes(&data, "messages");
        assert_eq!(rows.len(), outer);
        let full = inner.min(500);
        assert!(
            rows.iter()
                .all(|row| nodes(&row["chat"], "messages").len() == full)
        );
    }

    // 1000 x 500 x 500 rows are refused where they pass the bound; what came before is there.
    let begin = Instant::now();
    let query = "{messages(first:1000){nodes{chat{messages(first:1000){nodes{chat{messages(last:1000){nodes{id}}}}}}}}}";
    gateway.store.take();
    let response = gateway.run_as(&gateway.token, query, json!({})).await;
    let reads = gateway.store.take();
    let found: HashSet<_> = codes(&response).into_iter().collect();
    assert_eq!(found, HashSet::from(["QUERY_TOO_COMPLEX"]));
    let advice = response["errors"][0]["message"].as_str().unwrap();
    assert!(advice.contains("`first`"), "{advice}");
    assert_eq!(nodes(&response["data"], "messages").len(), 1000);
    let reads = reads.iter().filter(|name| **name == "messages").count();
    assert!((2..=40).contains(&reads), "{reads} pages were read");
    assert!(begin.elapsed() < DEADLINE, "{:?}", begin.elapsed());

    // The root fields of a mutation share one bound: 5,500 rows each.
    let received = "query($b:ID!){messages(first:1,filter:{endpointId:$b}){nodes{id}}}";
    let data = gateway.data(received, json!({ "b": bob })).await;
    let id = &data["messages"]["nodes"][0]["id"];
    let mark = |n: usize| format!("m{n}:markMessage(input:{{id:$id}}){{...F}} ");
    let marks = |n: usize| {
        let fields: String = (0..n).map(mark).collect();
        format!(
            "mutation($id:ID!){{{fields}}} fragment F on MarkMessagePayload{{userErrors{{code}} message{{endpoint{{
            messages(first:500){{nodes{{chat{{messages(first:10){{nodes{{id}}}}}}}}}}}}}}}}"
        )
    };
    gateway.data(&marks(3), json!({ "id": id })).await;
    let response = gateway
        .run_as(&gateway.token, &marks(4), json!({ "id": id }))
        .await;
    let found: HashSet<_> = codes(&response).into_iter().collect();
    assert_eq!(found, HashSet::from(["QUERY_TOO_COMPLEX"]));
    assert_eq!(response["errors"][0]["path"][0], "m3");
}
