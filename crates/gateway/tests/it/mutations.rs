//! Writing: payloads, user errors and repeated calls.

use serde_json::{Value, json};

use crate::harness::{Gateway, codes, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_written_read_and_marked() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    let send = "mutation($i:SendMessageInput!){sendMessage(input:$i){replayed userErrors{code field message}
        message{id status direction origin from to body contentType read seq failure{code} expiresAt
        endpoint{name} chat{peer ownNumber unreadCount messageCount} deliveries{attempt}}}}";
    let input = json!({"from": {"uri": "sip:alice@example.com"}, "to": {"endpointId": bob}, "body": "hi", "idempotencyKey": "1"});
    let sent = gateway.data(send, json!({ "i": input })).await["sendMessage"].take();
    assert_eq!(sent["userErrors"], json!([]));
    assert_eq!(sent["replayed"], false);
    let message = &sent["message"];
    for (field, expected) in [
        ("status", json!("ACCEPTED")),
        ("direction", json!("OUT")),
        ("origin", json!("API")),
        ("from", json!("sip:alice@example.com")),
        ("to", json!("sip:bob@example.com")),
        ("body", json!("hi")),
        ("contentType", json!("text/plain")),
        ("read", json!(true)),
        ("seq", json!(1)),
        ("failure", Value::Null),
        ("endpoint", json!({"name": "alice"})),
        ("deliveries", json!([])),
        (
            "chat",
            json!({"peer": "bob@example.com", "ownNumber": "alice@example.com", "unreadCount": 0, "messageCount": 1}),
        ),
    ] {
        assert_eq!(message[field], expected, "{field}");
    }
    let again = gateway.data(send, json!({ "i": input })).await["sendMessage"].take();
    assert_eq!(again["replayed"], true);
    assert_eq!(again["message"]["id"], message["id"]);
    let other = json!({"from": {"endpointId": alice}, "to": {"endpointId": bob}, "body": "ho", "idempotencyKey": "1"});
    let reused = gateway.data(send, json!({ "i": other })).await["sendMessage"].take();
    assert_eq!(reused["message"], Value::Null);
    assert_eq!(reused["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");

    let chats = "query($f:ChatFilter){chats(filter:$f){totalCount nodes{id peer unreadCount lastMessage{id body direction read}
        messages{totalCount nodes{body}}}}}";
    let filter = json!({"f": {"endpointId": bob}});
    let chat = gateway.data(chats, filter.clone()).await["chats"]["nodes"][0].take();
    assert_eq!(chat["peer"], "alice@example.com");
    assert_eq!(chat["unreadCount"], 1);
    assert_eq!(chat["lastMessage"]["direction"], "IN");
    assert_eq!(
        chat["messages"],
        json!({"totalCount": 1, "nodes": [{"body": "hi"}]})
    );
    let mark = "mutation($id:ID!){markMessage(input:{id:$id}){message{read chat{unreadCount}} userErrors{code}}}";
    let id = chat["lastMessage"]["id"].clone();
    let marked = gateway.data(mark, json!({ "id": id })).await["markMessage"].take();
    assert_eq!(
        marked["message"],
        json!({"read": true, "chat": {"unreadCount": 0}})
    );
    let reply = json!({"to": {"chatId": chat["id"]}, "body": "ho"});
    let reply = gateway.data(send, json!({ "i": reply })).await["sendMessage"].take();
    assert_eq!(reply["message"]["endpoint"]["name"], "bob");
    assert_eq!(
        gateway.data(chats, filter).await["chats"]["nodes"][0]["messages"]["totalCount"],
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_can_mend_is_told_together() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let create =
        "mutation($i:CreateEndpointInput!){createEndpoint(input:$i){endpoint{id} generatedPassword
        userErrors{code message field detail{rule offset byteOffset character rfc limit actual}}}}";
    let input = json!({"domainId": domain, "name": "a b", "credentials": {"password": "abc"}});
    let payload = gateway.data(create, json!({ "i": input })).await["createEndpoint"].take();
    assert_eq!(payload["endpoint"], Value::Null);
    let errors = payload["userErrors"].as_array().unwrap();
    let fields: Vec<_> = errors.iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields[0], json!(["name"]));
    assert_eq!(fields[1], json!(["credentials", "password"]));
    assert_eq!(errors[0]["detail"]["offset"], 1);
    assert!(
        !payload.to_string().contains("abc"),
        "no password in an answer"
    );
    let both = json!({"domainId": domain, "name": "ab", "credentials": {"password": "abcdefgh", "generate": true}});
    let payload = gateway.data(create, json!({ "i": both })).await["createEndpoint"].take();
    assert_eq!(payload["userErrors"][0]["field"], json!(["credentials"]));
    let unknown = json!({"domainId": "nonsense", "name": "ab", "credentials": {"generate": true}});
    let payload = gateway.data(create, json!({ "i": unknown })).await["createEndpoint"].take();
    assert_eq!(payload["userErrors"][0]["code"], "NOT_FOUND");
    let send =
        "mutation($i:SendMessageInput!){sendMessage(input:$i){message{id} userErrors{code field}}}";
    let input = json!({"from": {"uri": "nobody"}, "to": {"uri": "foo:x"}, "body": "x"});
    let payload = gateway.data(send, json!({ "i": input })).await["sendMessage"].take();
    assert_eq!(
        payload["userErrors"],
        json!([{"code": "VALIDATION", "field": ["from", "uri"]}, {"code": "NOT_FOUND", "field": ["to", "uri"]}])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_password_and_a_secret_are_told_once() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let create = "mutation($i:CreateEndpointInput!){createEndpoint(input:$i){endpoint{id} generatedPassword replayed}}";
    let input = json!({"domainId": domain, "name": "alice", "credentials": {"generate": true}, "idempotencyKey": "k"});
    let first = gateway.data(create, json!({ "i": input })).await["createEndpoint"].take();
    assert!(text(&first["generatedPassword"]).len() >= 12);
    let again = gateway.data(create, json!({ "i": input })).await["createEndpoint"].take();
    assert_eq!(again["generatedPassword"], Value::Null);
    assert_eq!(
        (&again["replayed"], &again["endpoint"]),
        (&json!(true), &first["endpoint"])
    );
    let mint = "mutation($i:CreateApiTokenInput!){createApiToken(input:$i){apiToken{id name scopes endpointIds expiresAt} secret replayed
        userErrors{code field}}}";
    let input = json!({"name": "phone", "scopes": ["messages.read"], "endpointIds": [first["endpoint"]["id"]], "expiresInSeconds": 60,
        "idempotencyKey": "k"});
    let minted = gateway.data(mint, json!({ "i": input })).await["createApiToken"].take();
    assert_eq!(minted["apiToken"]["scopes"], json!(["messages.read"]));
    let secret = text(&minted["secret"]);
    let viewer = gateway
        .run_as(&secret, "{viewer{tokenName endpointIds}}", json!({}))
        .await;
    assert_eq!(viewer["data"]["viewer"]["tokenName"], "phone");
    assert_eq!(
        viewer["data"]["viewer"]["endpointIds"],
        json!([first["endpoint"]["id"]])
    );
    let again = gateway.data(mint, json!({ "i": input })).await["createApiToken"].take();
    assert_eq!(
        (&again["secret"], &again["replayed"]),
        (&Value::Null, &json!(true))
    );
    let tokens = gateway
        .data("{apiTokens{nodes{name revokedAt} totalCount}}", json!({}))
        .await;
    assert_eq!(tokens["apiTokens"]["totalCount"], 2);
    let revoke =
        "mutation($id:ID!){revokeApiToken(input:{id:$id}){apiToken{revokedAt} userErrors{code}}}";
    let id = minted["apiToken"]["id"].clone();
    let revoked = gateway.data(revoke, json!({ "id": id })).await["revokeApiToken"].take();
    assert!(revoked["apiToken"]["revokedAt"].is_string());
    let refused = gateway
        .run_as(&secret, "{viewer{tokenName}}", json!({}))
        .await;
    assert_eq!(codes(&refused), ["UNAUTHENTICATED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let delete_domain =
        "mutation($id:ID!){deleteDomain(input:{id:$id}){deletedDomainId userErrors{code field}}}";
    let in_use = gateway.data(delete_domain, json!({ "id": domain })).await["deleteDomain"].take();
    assert_eq!(
        in_use["userErrors"],
        json!([{"code": "CONFLICT", "field": ["id"]}])
    );
    let delete = "mutation($id:ID!,$k:String){deleteEndpoint(input:{id:$id,idempotencyKey:$k}){deletedEndpointId replayed userErrors{code}}}";
    let variables = json!({"id": alice, "k": "once"});
    let gone = gateway.data(delete, variables.clone()).await["deleteEndpoint"].take();
    assert_eq!(gone["deletedEndpointId"], json!(alice));
    let again = gateway.data(delete, variables).await["deleteEndpoint"].take();
    assert_eq!(
        (&again["deletedEndpointId"], &again["replayed"]),
        (&json!(alice), &json!(true))
    );
    let unknown = gateway.data(delete, json!({ "id": alice })).await["deleteEndpoint"].take();
    assert_eq!(unknown["userErrors"][0]["code"], "NOT_FOUND");
    let gone = gateway.data(delete_domain, json!({ "id": domain })).await["deleteDomain"].take();
    assert_eq!(gone["deletedDomainId"], json!(domain));
    let left = gateway
        .data("{endpoints{totalCount} domains{totalCount}}", json!({}))
        .await;
    assert_eq!(
        left,
        json!({"endpoints": {"totalCount": 0}, "domains": {"totalCount": 0}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn root_fields_of_one_mutation_stand_alone() {
    let gateway = Gateway::start().await;
    let query = r#"mutation{
        a:createDomain(input:{name:"a.example"}){domain{name}}
        b:createDomain(input:{name:"not a name"}){domain{name} userErrors{field}}
        c:createDomain(input:{name:"c.example"}){domain{name}}}"#;
    let data = gateway.data(query, json!({})).await;
    assert_eq!(data["a"]["domain"]["name"], "a.example");
    assert_eq!(
        data["b"],
        json!({"domain": null, "userErrors": [{"field": ["name"]}]})
    );
    assert_eq!(data["c"]["domain"]["name"], "c.example");
    let twice = r#"mutation{createDomain(input:{name:"d.example"}){replayed} createDomain(input:{name:"d.example"}){userErrors{code}}}"#;
    let data = gateway.data(twice, json!({})).await;
    assert_eq!(
        data["createDomain"],
        json!({"replayed": false, "userErrors": []})
    );
}
