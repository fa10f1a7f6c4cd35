//! The rules of graphql-transport-ws on real sockets.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sipgraph_graphql_transport::{Config, SocketLimits};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::CloseFrame};

use crate::harness::{DEADLINE, Seen, Server, Socket, config};

impl Socket {
    /// Returns the next message as it stands on the wire.
    pub(crate) async fn next_text(&mut self) -> String {
        match timeout(DEADLINE, self.0.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("{other:?} instead of text"),
        }
    }
}

fn next(id: &str, data: Value) -> Value {
    json!({"type": "next", "id": id, "payload": {"data": data}})
}

fn complete(id: &str) -> Value {
    json!({"type": "complete", "id": id})
}

#[tokio::test]
async fn only_graphql_transport_ws_is_spoken() {
    let server = Server::start().await;
    for protocol in ["graphql-ws", "subscriptions-transport-ws"] {
        let headers = [("Sec-WebSocket-Protocol", protocol)];
        match server.socket_with(&headers).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400),
            _ => panic!("{protocol} must be refused"),
        }
    }
    let headers = [("Sec-WebSocket-Protocol", "graphql-ws, graphql-transport-ws")];
    server.socket_with(&headers).await.map(drop).unwrap();
    let upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = server.send("GET /graphql", &upgrade, "").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn the_origin_is_checked() {
    let server = Server::start().await;
    let own = format!("http://{}", server.address);
    for origin in [own.as_str(), "http://app.example:3000"] {
        server
            .socket_with(&[("Origin", origin)])
            .await
            .map(drop)
            .unwrap();
    }
    for origin in ["http://evil.example", "null"] {
        match server.socket_with(&[("Origin", origin)]).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 403),
            _ => panic!("{origin} must be refused"),
        }
    }
}

#[tokio::test]
async fn a_socket_must_be_initialised_once_and_in_time() {
    let server = Server::start().await;
    let mut late = server.socket().await;
    assert_eq!(late.closed(4408).await, "Connection initialisation timeout");
    let mut twice = server.session().await;
    twice.send(json!({"type": "connection_init"})).await;
    assert_eq!(twice.closed(4429).await, "Too many initialisation requests");
    let mut at_once = server.socket().await;
    at_once.send(json!({"type": "connection_init"})).await;
    at_once.send(json!({"type": "connection_init"})).await;
    at_once.expect(json!({"type": "connection_ack"})).await;
    at_once.closed(4429).await;
    let mut early = server.socket().await;
    early.subscribe("1", "{hello}").await;
    assert_eq!(early.closed(4401).await, "Unauthorized");
    for (name, code) in [("mallory", 4403), ("nobody can tell", 1013)] {
        let mut refused = server.socket().await;
        refused
            .send(json!({"type": "connection_init", "payload": {"name": name}}))
            .await;
        refused.closed(code).await;
    }
    let mut named = server.socket().await;
    named
        .send(json!({"type": "connection_init", "payload": {"name": "alice"}}))
        .await;
    named.expect(json!({"type": "connection_ack"})).await;
    named.subscribe("1", "{whoami}").await;
    named.expect(next("1", json!({"whoami": "alice"}))).await;
    let mut idle = server.session().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    idle.silent().await;
}

#[tokio::test]
async fn pings_are_answered_in_any_state() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "ping"})).await;
    socket.expect(json!({"type": "pong"})).await;
    socket
        .send(json!({"type": "ping", "payload": {"a": [1]}}))
        .await;
    socket
        .expect(json!({"type": "pong", "payload": {"a": [1]}}))
        .await;
    socket.init().await;
    socket.send(json!({"type": "ping", "payload": null})).await;
    socket.expect(json!({"type": "pong"})).await;
    socket.send(json!({"type": "pong"})).await;
    socket.send(json!({"type": "pong", "payload": {}})).await;
    socket.silent().await;
}

#[tokio::test]
async fn messages_outside_the_protocol_close_with_4400() {
    let server = Server::start().await;
    let subscribe =
        |payload: &str| format!(r#"{{"type":"subscribe","id":"1","payload":{payload}}}"#);
    let table = [
        "".to_owned(),
        "not json".into(),
        "[]".into(),
        "null".into(),
        r#""ping""#.into(),
        "{}".into(),
        r#"{"type":1}"#.into(),
        r#"{"type":"Ping"}"#.into(),
        r#"{"type":"start","id":"1","payload":{"query":"{hello}"}}"#.into(),
        r#"{"type":"stop","id":"1"}"#.into(),
        r#"{"type":"connection_terminate"}"#.into(),
        r#"{"type":"connection_ack"}"#.into(),
        r#"{"type":"next","id":"1","payload":{}}"#.into(),
        r#"{"type":"error","id":"1","payload":[]}"#.into(),
        r#"{"type":"ping","payload":"x"}"#.into(),
        r#"{"type":"pong","payload":[]}"#.into(),
        r#"{"type":"complete"}"#.into(),
        r#"{"type":"complete","id":1}"#.into(),
        r#"{"type":"subscribe","payload":{"query":"{hello}"}}"#.into(),
        r#"{"type":"subscribe","id":"","payload":{"query":"{hello}"}}"#.into(),
        r#"{"type":"subscribe","id":1,"payload":{"query":"{hello}"}}"#.into(),
        r#"{"type":"subscribe","id":"1"}"#.into(),
        subscribe("null"),
        subscribe("[]"),
        subscribe("{}"),
        subscribe(r#"{"query":1}"#),
        subscribe(r#"{"query":"{hello}","variables":"x"}"#),
        subscribe(r#"{"query":"{hello}","operationName":1}"#),
        subscribe(r#"{"query":"{hello}","extensions":[]}"#),
    ];
    for text in table {
        let mut socket = server.session().await;
        socket.text(&text).await;
        match socket.see().await {
            Seen::Close(4400, reason) => assert!(reason.starts_with("Invalid message"), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let mut init = server.socket().await;
    init.send(json!({"type": "connection_init", "payload": "x"}))
        .await;
    init.closed(4400).await;
    let mut binary = server.session().await;
    binary
        .0
        .send(Message::binary(b"{}".to_vec()))
        .await
        .unwrap();
    binary.closed(4400).await;
    let mut long = server.session().await;
    long.text(&" ".repeat(100_000)).await;
    long.closed(1009).await;
}

#[tokio::test]
async fn operations_of_each_kind_are_answered() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    socket.subscribe("q", "{hello}").await;
    socket
        .expect(next("q", json!({"hello": "hello world"})))
        .await;
    socket.expect(complete("q")).await;
    socket.subscribe("m", "mutation{add(by:2){by}}").await;
    socket.expect(next("m", json!({"add": {"by": 2}}))).await;
    socket.expect(complete("m")).await;
    socket
        .subscribe("s", "subscription{countdown(from:2)}")
        .await;
    for n in [2, 1, 0] {
        socket.expect(next("s", json!({"countdown": n}))).await;
    }
    socket.expect(complete("s")).await;
    socket
        .subscribe(
            "f",
            "subscription{...F} fragment F on Subscription{countdown(from:0)}",
        )
        .await;
    socket.expect(next("f", json!({"countdown": 0}))).await;
    socket.expect(complete("f")).await;
    socket
        .send(json!({"type": "subscribe", "id": "v", "payload": {
            "query": "query A{hello} query B($n:String){hello(name:$n)}",
            "operationName": "B", "variables": {"n": "b"}, "extensions": {"x": 1}}}))
        .await;
    socket.expect(next("v", json!({"hello": "hello b"}))).await;
    socket.expect(complete("v")).await;
    socket.silent().await;
}

#[tokio::test]
async fn a_request_error_is_one_error_message() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    let table = [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{nothing}", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription{nothing}", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription{a:countdown(from:1) b:countdown(from:1)}",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "query A{hello} query B{hello}",
            "OPERATION_RESOLUTION_FAILURE",
        ),
        (
            "{...A ...A} fragment A on Query{...A}",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("subscription{closed}", "BAD_USER_INPUT"),
    ];
    for (query, code) in table {
        socket.subscribe("1", query).await;
        let message = socket.message().await;
        assert_eq!(message["type"], "error", "{message}");
        assert_eq!(message["id"], "1");
        assert_eq!(
            message["payload"][0]["extensions"]["code"], code,
            "{message}"
        );
        socket.silent().await;
    }
}

#[tokio::test]
async fn a_resolver_error_is_a_result() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    socket.subscribe("1", "{coded}").await;
    let message = socket.message().await;
    assert_eq!(message["type"], "next");
    assert_eq!(message["payload"]["data"], json!({"coded": null}));
    assert_eq!(
        message["payload"]["errors"][0]["extensions"]["code"],
        "NOT_FOUND"
    );
    socket.expect(complete("1")).await;
    socket.subscribe("2", "subscription{breaks}").await;
    socket.expect(next("2", json!({"breaks": 1}))).await;
    let message = socket.message().await;
    assert_eq!(message["type"], "error");
    assert_eq!(
        message["payload"][0]["extensions"]["code"],
        "INTERNAL_SERVER_ERROR"
    );
    socket.silent().await;
}

#[tokio::test]
async fn an_id_is_used_by_one_operation_at_a_time() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    for _ in 0..2 {
        socket.subscribe("1", "{hello}").await;
        socket.message().await;
        socket.expect(complete("1")).await;
        socket.subscribe("1", "{").await;
        socket.message().await;
    }
    socket.subscribe("1", "subscription{deaf}").await;
    socket.expect(next("1", json!({"deaf": 1}))).await;
    socket.send(complete("1")).await;
    socket.subscribe("1", "subscription{deaf}").await;
    socket.expect(next("1", json!({"deaf": 1}))).await;
    socket.subscribe("1", "{hello}").await;
    assert_eq!(socket.closed(4409).await, "Subscriber for 1 already exists");
}

#[tokio::test]
async fn nothing_follows_a_complete_of_the_client() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    socket.send(complete("unknown")).await;
    socket.silent().await;
    socket
        .subscribe("1", "subscription{flood(bytes:1000)}")
        .await;
    socket.message().await;
    socket.send(complete("1")).await;
    socket.send(json!({"type": "ping"})).await;
    while socket.message().await["type"] != "pong" {}
    socket.silent().await;
    socket.silent().await;
}

#[tokio::test]
async fn streams_share_a_socket_fairly() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    socket
        .subscribe("busy", "subscription{flood(bytes:10)}")
        .await;
    socket.message().await;
    socket
        .subscribe("quiet", "subscription{countdown(from:3)}")
        .await;
    let mut seen = 0;
    while socket.message().await != complete("quiet") {
        seen += 1;
        assert!(seen < 10_000, "the busy stream starves the other");
    }
}

#[tokio::test]
async fn operations_of_a_socket_are_bounded() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    for id in ["1", "2", "3", "4", "5"] {
        socket.subscribe(id, "subscription{deaf}").await;
        socket.expect(next(id, json!({"deaf": 1}))).await;
    }
    socket.subscribe("6", "{hello}").await;
    let message = socket.message().await;
    assert_eq!(
        (&message["type"], &message["id"]),
        (&json!("error"), &json!("6"))
    );
    assert_eq!(message["payload"][0]["extensions"]["code"], "LIMIT_REACHED");
    socket.send(complete("3")).await;
    socket.subscribe("6", "{hello}").await;
    socket
        .expect(next("6", json!({"hello": "hello world"})))
        .await;
}

#[tokio::test]
async fn sockets_are_bounded() {
    let limits = SocketLimits {
        sockets_max: 1,
        ..config().sockets
    };
    let server = Server::with(Config {
        sockets: limits,
        ..config()
    })
    .await;
    let mut first = server.session().await;
    match server.socket_with(&[]).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 503),
        _ => panic!("a second socket must be refused"),
    }
    first.0.close(None).await.unwrap();
    while first.see().await != Seen::Cut {}
    let begin = Instant::now();
    while server.socket_with(&[]).await.is_err() {
        assert!(begin.elapsed() < DEADLINE, "the slot is free again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_close_of_the_client_is_answered() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    socket.subscribe("1", "subscription{deaf}").await;
    socket.message().await;
    let frame = CloseFrame {
        code: 1000.into(),
        reason: "bye".into(),
    };
    socket.0.close(Some(frame)).await.unwrap();
    socket.closed(1000).await;
    server.world.drain.begin();
    timeout(DEADLINE, server.world.drain.finished())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_session_that_ends_closes_with_4401() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    socket.subscribe("1", "subscription{deaf}").await;
    socket.message().await;
    server.world.revoke.notify_one();
    assert_eq!(socket.closed(4401).await, "Token revoked");
}

#[tokio::test]
async fn the_server_pings_and_closes_a_dead_socket() {
    let limits = SocketLimits {
        keep_alive: Duration::from_millis(200),
        ..config().sockets
    };
    let server = Server::with(Config {
        sockets: limits,
        ..config()
    })
    .await;
    let mut alive = server.session().await;
    let mut pings = 0;
    while pings < 3 {
        match timeout(DEADLINE, alive.0.next()).await.unwrap() {
            Some(Ok(Message::Ping(_))) => pings += 1,
            other => panic!("{other:?} instead of a ping"),
        }
    }
    // A client that does not read does not answer pings either.
    let mut dead = server.session().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let close = loop {
        match timeout(DEADLINE, dead.0.next()).await.unwrap() {
            Some(Ok(Message::Ping(_))) => {}
            other => break other,
        }
    };
    match close {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1011),
        other => panic!("{other:?} instead of a close"),
    }
}

#[tokio::test]
async fn a_slow_reader_is_closed_with_1013() {
    let limits = SocketLimits {
        write_timeout: Duration::from_millis(300),
        close_timeout: Duration::from_secs(10),
        ..config().sockets
    };
    let server = Server::with(Config {
        sockets: limits,
        ..config()
    })
    .await;
    let mut socket = server.session().await;
    socket
        .subscribe("1", "subscription{flood(bytes:500000)}")
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    loop {
        match socket.see().await {
            Seen::Message(_) => {}
            Seen::Close(code, _) => {
                assert_eq!(code, 1013);
                break;
            }
            Seen::Cut => panic!("cut without a close"),
        }
    }
}

#[tokio::test]
async fn a_slow_reader_keeps_no_other_from_its_turn() {
    let limits = SocketLimits {
        queue_max: 1,
        write_timeout: DEADLINE * 2,
        ..config().sockets
    };
    let server = Server::with(Config {
        sockets: limits,
        operations_max: 1,
        ..config()
    })
    .await;
    let mut socket = server.session().await;
    socket.subscribe("1", "{slow}").await;
    server.world.began.notified().await;
    server.query("{hello}").await.refused(503, "UNAVAILABLE");
    // More than the buffers of a connection hold: once it begins to come, the socket is stuck.
    socket
        .subscribe("2", "subscription{flood(bytes:8000000)}")
        .await;
    let tokio_tungstenite::MaybeTlsStream::Plain(stream) = socket.0.get_ref() else {
        panic!("no TLS here");
    };
    timeout(DEADLINE, stream.readable()).await.unwrap().unwrap();
    server.world.go.notify_one();
    let begin = Instant::now();
    while server.query("{hello}").await.status == 503 {
        assert!(begin.elapsed() < DEADLINE, "the result keeps its place");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_drain_lets_live_streams_yield_once_more() {
    let server = Server::start().await;
    let mut live = server.session().await;
    live.subscribe("1", "subscription{live}").await;
    live.expect(next("1", json!({"live": 1}))).await;
    let mut deaf = server.session().await;
    deaf.subscribe("1", "subscription{deaf}").await;
    deaf.expect(next("1", json!({"deaf": 1}))).await;
    let mut busy = server.session().await;
    busy.subscribe("1", "{slow}").await;
    timeout(DEADLINE, server.world.began.notified())
        .await
        .unwrap();
    let mut idle = server.session().await;
    server.world.drain.begin();
    idle.closed(1012).await;
    live.expect(next("1", json!({"live": -1}))).await;
    live.closed(1012).await;
    server.world.go.notify_one();
    busy.expect(next("1", json!({"slow": 0}))).await;
    busy.expect(complete("1")).await;
    busy.closed(1012).await;
    deaf.closed(1012).await;
    assert!(server.socket_with(&[]).await.is_err());
    timeout(DEADLINE, server.world.drain.finished())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_mutation_ends_although_its_socket_closes() {
    let server = Server::start().await;
    let mut socket = server.session().await;
    socket.subscribe("1", "{slow}").await;
    timeout(DEADLINE, server.world.began.notified())
        .await
        .unwrap();
    drop(socket);
    server.world.go.notify_one();
    let begin = Instant::now();
    while server.world.calls.load(Ordering::SeqCst) == 0 {
        assert!(begin.elapsed() < DEADLINE, "the operation ends");
        tokio::task::yield_now().await;
    }
}
