//! How many statements a list costs.

use serde_json::json;
use sipgraph_core::{
    App,
    access::Caller,
    app::messages::NewMessage,
    decide::{
        domains::NewDomain,
        endpoints::{NewEndpoint, NewPassword},
    },
    ports::store::EndpointKey,
};

use crate::harness::Gateway;

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
        .domain_create(caller, &domain, None)
        .await
        .unwrap()
        .value;
    let mut ids = Vec::new();
    for n in 0..=peers {
        let new = NewEndpoint {
            domain: domain.id,
            name: format!("e{n}"),
            password: NewPassword::Generate,
            display_name: None,
            description: None,
            enabled: true,
            simulation: None,
        };
        let created = app.endpoint_create(caller, &new, None).await.unwrap().value;
        ids.push(created.endpoint.id);
    }
    for peer in &ids[1..] {
        let new = NewMessage {
            from: Some(EndpointKey::Id(ids[0])),
            to: EndpointKey::Id(*peer),
            body: Some("hi".into()),
            content_type: "text/plain".into(),
            expires_in_s: None,
        };
        app.message_send(caller, &new, None).await.unwrap();
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
        assert_eq!(calls, ["chats", "messages_by_ids", "endpoints_by_ids"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_lists_never_cost_a_statement_per_row() {
    let gateway = Gateway::start().await;
    let caller = gateway.app.token_check(&gateway.token).await.unwrap();
    chats(&gateway.app, &caller, 20).await;
    let query = "{endpoints(first:20){totalCount nodes{name state contacts{uri} unreadCount domain{name} account{name}}}}";
    gateway.store.take();
    gateway.data(query, json!({})).await;
    let mut calls = gateway.store.take();
    calls.retain(|name| !["token_by_hash", "log_heads", "tokens_revoked_since"].contains(name));
    calls.sort_unstable();
    assert_eq!(
        calls,
        [
            "account",
            "bindings_by_endpoints",
            "domains_by_ids",
            "endpoints",
            "endpoints_count",
            "unread_by_endpoints"
        ]
    );
}
