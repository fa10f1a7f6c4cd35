//! Subscriptions: replay, live, resume, presence and the end.

use serde_json::{Value, json};

use crate::harness::{Gateway, Seen, text};

const EVENTS: &str = "subscription($after:Cursor,$f:EventFilter){events(after:$after,filter:$f){cursor node{__typename id type at
    ...on MessageIn{text srcNumber ownNumber endpointName message{body status} endpoint{name} chat{unreadCount}}
    ...on EndpointCreated{endpoint{name}}}}}";

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_its_cursor_miss_nothing() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    let snapshot = gateway
        .data("{chats{totalCount} eventCursor}", json!({}))
        .await;
    gateway.message(&alice, &bob, "one").await;
    let mut socket = gateway.socket(&gateway.token).await;
    let filter = json!({"types": ["MESSAGE_IN"]});
    socket
        .subscribe(
            EVENTS,
            json!({"after": snapshot["eventCursor"], "f": filter}),
        )
        .await;
    let first = socket.next().await["events"].take();
    assert_eq!(first["node"]["text"], "one");
    assert_eq!(
        first["node"]["message"],
        json!({"body": "one", "status": "RECEIVED"})
    );
    assert_eq!(first["node"]["endpoint"]["name"], "bob");
    assert_eq!(first["node"]["endpointName"], "bob@example.com");
    gateway.message(&alice, &bob, "two").await;
    let second = socket.next().await["events"].take();
    assert_eq!(second["node"]["text"], "two");
    drop(socket);
    gateway.message(&alice, &bob, "three").await;
    let mut resumed = gateway.socket(&gateway.token).await;
    resumed
        .subscribe(EVENTS, json!({"after": second["cursor"], "f": filter}))
        .await;
    let third = resumed.next().await["events"].take();
    assert_eq!(third["node"]["text"], "three");
    assert_eq!(third["node"]["chat"]["unreadCount"], 3);
    let mut oldest = gateway.socket(&gateway.token).await;
    oldest
        .subscribe(EVENTS, json!({"after": "", "f": {}}))
        .await;
    let created = oldest.next().await["events"].take();
    assert_eq!(created["node"]["__typename"], "EndpointCreated");
    assert_eq!(created["node"]["endpoint"]["name"], "alice");
    let history = "{events(first:1){edges{cursor node{id}}}}";
    let history = gateway.data(history, json!({})).await["events"]["edges"][0].take();
    assert_eq!(
        (&history["cursor"], &history["node"]["id"]),
        (&created["cursor"], &created["node"]["id"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cursor_is_refused_before_the_first_item() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.socket(&gateway.token).await;
    for after in ["forged", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        socket.subscribe(EVENTS, json!({ "after": after })).await;
        let message = socket.message().await;
        assert_eq!(message["type"], "error");
        assert_eq!(
            message["payload"][0]["extensions"]["code"],
            "BAD_USER_INPUT"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_begins_with_what_is() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let mut socket = gateway.socket(&gateway.token).await;
    let query =
        "subscription{endpointStates{kind endpointId state endpoint{name} contacts{uri} at}}";
    socket.subscribe(query, json!({})).await;
    let first = socket.next().await["endpointStates"].take();
    assert_eq!(first["kind"], "INITIAL");
    assert_eq!(
        (&first["endpointId"], &first["state"]),
        (&json!(alice), &json!("UNKNOWN"))
    );
    let done = socket.next().await["endpointStates"].take();
    assert_eq!(
        (&done["kind"], &done["endpoint"]),
        (&json!("INITIAL_DONE"), &Value::Null)
    );
    let bob = gateway.endpoint(&domain, "bob").await;
    let changed = socket.next().await["endpointStates"].take();
    assert_eq!(
        (&changed["kind"], &changed["endpoint"]["name"]),
        (&json!("CHANGED"), &json!("bob"))
    );
    let delete = "mutation($id:ID!){deleteEndpoint(input:{id:$id}){deletedEndpointId}}";
    gateway.data(delete, json!({ "id": bob })).await;
    let removed = socket.next().await["endpointStates"].take();
    assert_eq!(
        (&removed["kind"], &removed["endpointId"]),
        (&json!("REMOVED"), &json!(bob))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_streams_behind_a_last_cursor() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let mut socket = gateway.socket(&gateway.token).await;
    socket
        .subscribe(EVENTS, json!({"f": {"types": ["MESSAGE_IN"]}}))
        .await;
    // The answer to a ping comes after the subscription was begun, not after it was opened: wait for an event.
    let mut other = gateway.socket(&gateway.token).await;
    other.subscribe(EVENTS, json!({"after": ""})).await;
    gateway.endpoint(&domain, "alice").await;
    assert_eq!(
        other.next().await["events"]["node"]["__typename"],
        "EndpointCreated"
    );
    gateway.drain.begin();
    gateway.app.drain();
    let last = other.next().await["events"].take();
    assert_eq!(last["node"]["__typename"], "Checkpoint");
    assert_eq!(last["node"]["type"], "CHECKPOINT");
    assert!(!text(&last["cursor"]).is_empty());
    assert_eq!(other.closed().await, 1012);
    match socket.see().await {
        Seen::Message(message) => {
            assert_eq!(
                message["payload"]["data"]["events"]["node"]["__typename"],
                "Checkpoint"
            );
            assert_eq!(socket.closed().await, 1012);
        }
        Seen::Close(code) => assert_eq!(code, 1012),
        Seen::Cut => panic!("cut without a close"),
    }
    tokio::time::timeout(crate::harness::DEADLINE, gateway.drain.finished())
        .await
        .unwrap();
}
