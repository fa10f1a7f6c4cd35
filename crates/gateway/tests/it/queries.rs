//! Reading: look-ups, lists, pages and nodes.

use serde_json::{Value, json};

use crate::harness::{Gateway, codes, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_its_token_and_the_instance() {
    let gateway = Gateway::start().await;
    let query =
        "{viewer{tokenName endpointIds expiresAt account{name numbers} readableEventTypes scopes}
        technologies{name aliases available endpointCount}}";
    let data = gateway.data(query, json!({})).await;
    assert_eq!(data["viewer"]["tokenName"], "test");
    assert_eq!(
        data["viewer"]["account"],
        json!({"name": "ours", "numbers": []})
    );
    assert_eq!(data["viewer"]["endpointIds"], Value::Null);
    assert_eq!(
        data["viewer"]["readableEventTypes"]
            .as_array()
            .unwrap()
            .len(),
        15
    );
    assert_eq!(data["technologies"][0]["name"], "SIP");
    assert_eq!(data["technologies"][0]["endpointCount"], 0);
    assert_eq!(data["technologies"][1]["available"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_found_by_each_of_its_names() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let query = "query($by:EndpointLookup!){endpoint(by:$by){id name sipUri state enabled version technology resource
        externalId credentials{username realm hasPassword} domain{name} account{name} contacts{uri} unreadCount simulation}}";
    let expected = json!({
        "id": alice, "name": "alice", "sipUri": "sip:alice@example.com", "state": "UNKNOWN", "enabled": true,
        "version": 1, "technology": "SIP", "resource": "alice", "externalId": 1,
        "credentials": {"username": "alice", "realm": "example.com", "hasPassword": true},
        "domain": {"name": "example.com"}, "account": {"name": "ours"}, "contacts": [], "unreadCount": 0,
        "simulation": null
    });
    for by in [
        json!({"id": alice}),
        json!({"sipUri": "sip:alice@Example.com"}),
        json!({"sipUri": "pjsip:alice"}),
        json!({"resource": {"technology": "PJSIP", "resource": "alice"}}),
        json!({"resource": {"technology": "sip", "resource": "%61lice", "domain": "example.com"}}),
    ] {
        let data = gateway.data(query, json!({ "by": by })).await;
        assert_eq!(data["endpoint"], expected, "{by}");
    }
    for (by, code) in [
        (json!({"id": "nonsense"}), "NOT_FOUND"),
        (json!({"id": domain}), "NOT_FOUND"),
        (json!({"sipUri": "sip:bob@example.com"}), "NOT_FOUND"),
        (json!({"sipUri": "alice"}), "BAD_USER_INPUT"),
        (
            json!({"resource": {"technology": "IAX2", "resource": "alice"}}),
            "NOT_FOUND",
        ),
    ] {
        let response = gateway
            .run_as(&gateway.token, query, json!({ "by": by }))
            .await;
        assert_eq!(response["data"], json!({"endpoint": null}), "{by}");
        assert_eq!(codes(&response), [code], "{by}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_walked_in_pages_from_both_ends() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    for n in 0..7 {
        gateway.endpoint(&domain, &format!("e{n}")).await;
    }
    let query = "query($first:Int,$after:Cursor,$last:Int,$before:Cursor,$o:EndpointOrder){
        endpoints(first:$first,after:$after,last:$last,before:$before,orderBy:$o){
        totalCount nodes{name} edges{cursor} pageInfo{hasNextPage hasPreviousPage startCursor endCursor}}}";
    for (order, expected) in [
        (json!(null), ["e6 e5 e4", "e3 e2 e1", "e0"]),
        (json!({"direction": "ASC"}), ["e0 e1 e2", "e3 e4 e5", "e6"]),
    ] {
        let mut after = Value::Null;
        for (i, names) in expected.iter().enumerate() {
            let variables = json!({"first": 3, "after": after, "o": order});
            let page = gateway.data(query, variables).await["endpoints"].take();
            assert_eq!(page_names(&page), *names);
            assert_eq!(page["totalCount"], 7);
            assert_eq!(page["pageInfo"]["hasNextPage"], i < 2, "{page}");
            assert_eq!(page["pageInfo"]["startCursor"], page["edges"][0]["cursor"]);
            after = page["pageInfo"]["endCursor"].clone();
        }
        let page = gateway.data(query, json!({"last": 2, "o": order})).await["endpoints"].take();
        assert_eq!(
            page_names(&page),
            expected
                .join(" ")
                .split(' ')
                .skip(5)
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    for variables in [
        json!({"first": 0}),
        json!({"first": -1}),
        json!({"first": 1001}),
        json!({"first": 1, "last": 1}),
        json!({"after": "forged"}),
    ] {
        let response = gateway
            .run_as(&gateway.token, query, variables.clone())
            .await;
        assert_eq!(response["data"], json!({"endpoints": null}), "{variables}");
        assert_eq!(codes(&response), ["BAD_USER_INPUT"], "{variables}");
    }
    let filter = "query($f:EndpointFilter){endpoints(filter:$f){totalCount}}";
    for (filter_value, count) in [
        (json!({}), 7),
        (json!({"ids": []}), 0),
        (json!({"domainId": domain}), 7),
        (json!({"domainId": "nonsense"}), 0),
        (json!({"state": "ONLINE"}), 0),
        (json!({"enabled": true}), 7),
    ] {
        let data = gateway.data(filter, json!({ "f": filter_value })).await;
        assert_eq!(data["endpoints"]["totalCount"], count, "{filter_value}");
    }
}

fn page_names(page: &Value) -> String {
    let nodes = page["nodes"].as_array().unwrap();
    let names: Vec<_> = nodes.iter().map(|node| text(&node["name"])).collect();
    names.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn any_object_is_found_by_its_id() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    let message = gateway.message(&alice, &bob, "hi").await;
    let data = gateway
        .data("{chats{nodes{id}} viewer{id account{id}}}", json!({}))
        .await;
    let chat = text(&data["chats"]["nodes"][0]["id"]);
    let account = text(&data["viewer"]["account"]["id"]);
    let token = text(&data["viewer"]["id"]);
    let ids = json!([domain, alice, message, chat, account, token]);
    let query = "query($ids:[ID!]!){nodes(ids:$ids){__typename id}}";
    let data = gateway.data(query, json!({ "ids": ids })).await;
    let types = [
        "Domain", "Endpoint", "Message", "Chat", "Account", "ApiToken",
    ];
    for (i, name) in types.iter().enumerate() {
        assert_eq!(data["nodes"][i], json!({"__typename": name, "id": ids[i]}));
    }
    let single = "query($id:ID!){node(id:$id){id ...on Endpoint{name}}}";
    let data = gateway.data(single, json!({ "id": alice })).await;
    assert_eq!(data["node"], json!({"id": alice, "name": "alice"}));
    let response = gateway
        .run_as(
            &gateway.token,
            query,
            json!({"ids": [alice, "nonsense", bob]}),
        )
        .await;
    assert_eq!(response["data"]["nodes"][1], Value::Null);
    assert_eq!(response["data"]["nodes"][2]["id"], json!(bob));
    assert_eq!(codes(&response), ["NOT_FOUND"]);
    assert_eq!(response["errors"][0]["path"], json!(["nodes", 1]));
    let response = gateway
        .run_as(&gateway.stranger, query, json!({ "ids": ids }))
        .await;
    assert_eq!(
        response["data"]["nodes"],
        json!([null, null, null, null, null, null])
    );
    assert_eq!(codes(&response), ["NOT_FOUND"; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_checked_before_it_is_used() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    gateway.endpoint(&domain, "alice").await;
    let query = "query($n:String!,$d:ID){checkName(name:$n,domainId:$d){valid canonical errors{code field detail{offset rfc}}}}";
    let check = async |name: &str, domain: Option<&str>| {
        gateway.data(query, json!({"n": name, "d": domain})).await["checkName"].take()
    };
    let good = check("bob", Some(&domain)).await;
    assert_eq!(
        good,
        json!({"valid": true, "canonical": "bob", "errors": []})
    );
    let taken = check("alice", Some(&domain)).await;
    assert_eq!(taken["errors"][0]["code"], "CONFLICT");
    assert_eq!(check("alice", None).await["valid"], true);
    let bad = check("b b", None).await;
    assert_eq!(
        (&bad["valid"], &bad["canonical"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(bad["errors"][0]["detail"]["offset"], 1);
    assert!(text(&bad["errors"][0]["detail"]["rfc"]).contains("3261"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_as_history() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    gateway.message(&alice, &bob, "hi").await;
    let query = "query($f:EventFilter,$first:Int,$after:Cursor){events(filter:$f,first:$first,after:$after){
        edges{cursor node{__typename id type at}} nodes{type} pageInfo{hasNextPage endCursor}}}";
    let all = gateway.data(query, json!({})).await["events"].take();
    let types: Vec<_> = all["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| text(&n["type"]))
        .collect();
    assert_eq!(types[..2], ["ENDPOINT_CREATED", "ENDPOINT_CREATED"]);
    assert!(types.contains(&"MESSAGE_OUT".to_owned()) && types.contains(&"MESSAGE_IN".to_owned()));
    let first = gateway.data(query, json!({"first": 1})).await["events"].take();
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let after = json!({"after": first["pageInfo"]["endCursor"]});
    let rest = gateway.data(query, after).await["events"].take();
    assert_eq!(rest["edges"][0], all["edges"][1]);
    let only = json!({"f": {"types": ["MESSAGE_IN"], "endpointIds": [bob]}});
    let only = gateway.data(query, only).await["events"].take();
    assert_eq!(only["edges"].as_array().unwrap().len(), 1);
    assert_eq!(only["edges"][0]["node"]["__typename"], "MessageIn");
}

/// Most fields are written as JSON with their row; a directive leaves them to the library. Both have to tell the same.
#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_written_at_once_are_those_of_the_library() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let create = "mutation($i:CreateEndpointInput!){createEndpoint(input:$i){endpoint{id} userErrors{message}}}";
    for name in ["alice", "bob"] {
        let input = json!({
            "domainId": domain, "name": name, "displayName": "\"A\" \u{2028}\\é\n", "description": "", "callerId": "A",
            "sendAs": "random", "encryption": "OPTIONAL", "simulation": "BUSY", "capacity": 7
        });
        let answer = gateway.data(create, json!({ "i": input })).await;
        assert_eq!(
            answer["createEndpoint"]["userErrors"],
            json!([]),
            "{answer}"
        );
    }
    let send = "mutation{sendMessage(input:{from:{uri:\"sip:alice@example.com\"},to:{uri:\"sip:bob@example.com\"},
        body:\"a \\\"b\\\"\",idempotencyKey:\"k\"}){userErrors{message}}}";
    gateway.data(send, json!({})).await;
    let make = "mutation{createApplication(input:{name:\"a\",callbackUrl:\"https://example.com/\"}){userErrors{message}}
        createApiToken(input:{name:\"t\",scopes:[\"chats.read\"],expiresInSeconds:60}){userErrors{message}}}";
    gateway.data(make, json!({})).await;
    for (root, kind) in [
        ("endpoints", "Endpoint"),
        ("messages", "Message"),
        ("chats", "Chat"),
        ("domains", "Domain"),
        ("applications", "Application"),
        ("apiTokens", "ApiToken"),
    ] {
        let query = "query($kind:String!){__type(name:$kind){fields{name args{name} type{kind ofType{kind ofType{kind ofType{kind}}}}}}}";
        let data = gateway.data(query, json!({ "kind": kind })).await;
        let fields = data["__type"]["fields"].as_array().unwrap();
        let leaf = |field: &&Value| {
            let text = field.to_string();
            field["args"] == json!([]) && !text.contains("OBJECT")
        };
        let names = fields.iter().filter(leaf).map(|field| text(&field["name"]));
        let names: Vec<_> = names.filter(|name| name != "voipToken").collect();
        assert!(names.len() > 4, "{names:?}");
        let names = names.join(" ");
        let query = format!(
            "{{list:{root}{{edges{{cursor node{{{names}}}}}}} first:{root}(first:1){{nodes{{{names}}}}}}}"
        );
        let written = gateway.data(&query, json!({})).await;
        let by_library = query
            .replace("node{", "node{__typename @skip(if:true) ")
            .replace("edges{", "edges{__typename @skip(if:true) ")
            .replace("nodes{", "nodes{__typename @skip(if:true) ");
        let by_library = gateway.data(&by_library, json!({})).await;
        assert_eq!(written, by_library);
        assert!(written["first"]["nodes"][0]["id"].is_string(), "{written}");
    }
}
