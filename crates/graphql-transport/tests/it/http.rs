//! GraphQL over HTTP, where the public audits do not look.

use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::harness::{DEADLINE, Server};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test]
async fn a_query_is_answered_by_post_and_get() {
    let server = Server::start().await;
    let post = server.query("{hello}").await;
    assert_eq!(post.data(), &json!({"hello": "hello world"}));
    assert!(
        post.head
            .contains("content-type: application/graphql-response+json; charset=utf-8")
    );
    assert!(post.head.contains("x-content-type-options: nosniff"));
    assert!(post.head.contains("cache-control: no-store"));
    let line = "GET /graphql?query=query(%24n:String)%7Bhello(name:%24n)%7D&variables=%7B%22n%22:%22a+b%22%7D&operationName=";
    let get = server.send(line, &[], "").await;
    assert_eq!(get.data(), &json!({"hello": "hello a b"}));
    assert!(
        get.head
            .contains("content-type: application/json; charset=utf-8")
    );
}

/// Request line, headers, body; status and code of the answer.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test]
async fn refusals_are_typed() {
    let server = Server::start().await;
    let text = ("Content-Type", "text/plain");
    let table: [Case<'_>; 16] = [
        ("PUT /graphql", &[JSON], "{}", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE /graphql", &[], "", 405, "METHOD_NOT_ALLOWED"),
        (
            "GET /graphql?query=mutation%7Badd(by:1)%7Bby%7D%7D",
            &[],
            "",
            405,
            "METHOD_NOT_ALLOWED",
        ),
        (
            "GET /graphql?query=subscription%7Bdeaf%7D",
            &[],
            "",
            406,
            "NOT_ACCEPTABLE",
        ),
        (
            "GET /graphql?query=%7Bhello%7D&variables=x",
            &[],
            "",
            400,
            "BAD_REQUEST",
        ),
        ("GET /graphql", &[], "", 400, "BAD_REQUEST"),
        (
            "POST /graphql",
            &[text],
            r#"{"query":"{hello}"}"#,
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "POST /graphql",
            &[],
            r#"{"query":"{hello}"}"#,
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "POST /graphql",
            &[("Content-Type", "multipart/form-data; boundary=x")],
            "--x--",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        ("POST /graphql", &[JSON], "{", 400, "BAD_REQUEST"),
        ("POST /graphql", &[JSON], "{}", 400, "BAD_REQUEST"),
        (
            "POST /graphql",
            &[JSON],
            r#"[{"query":"{hello}"}]"#,
            400,
            "BAD_REQUEST",
        ),
        (
            "POST /graphql",
            &[JSON],
            r#"{"query":"{hello}","variables":"x"}"#,
            400,
            "BAD_REQUEST",
        ),
        (
            "POST /graphql",
            &[JSON, ("Accept", "text/html")],
            r#"{"query":"{hello}"}"#,
            406,
            "NOT_ACCEPTABLE",
        ),
        (
            "POST /graphql",
            &[JSON, ("Accept", "text/event-stream")],
            r#"{"query":"{hello}"}"#,
            406,
            "NOT_ACCEPTABLE",
        ),
        (
            "POST /graphql",
            &[JSON, ("Authorization", "mallory")],
            r#"{"query":"{hello}"}"#,
            401,
            "UNAUTHENTICATED",
        ),
    ];
    for (line, headers, body, status, code) in table {
        server.send(line, headers, body).await.refused(status, code);
    }
    let put = server.send("PUT /graphql", &[], "").await;
    assert!(put.head.contains("allow: get, post"), "{}", put.head);
    let headers = [JSON, ("Authorization", "mallory")];
    let refused = server.send("POST /graphql", &headers, "{}").await;
    assert!(refused.head.contains("www-authenticate: bearer"));
    assert_eq!(server.world.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn request_errors_have_a_code_and_no_data() {
    let server = Server::start().await;
    let table = [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{nothing}", "GRAPHQL_VALIDATION_FAILED"),
        ("{int(value:\"a\")}", "GRAPHQL_VALIDATION_FAILED"),
        (
            "query A{hello} query B{hello}",
            "OPERATION_RESOLUTION_FAILURE",
        ),
        ("query($n:Int!){int(value:$n)}", "BAD_USER_INPUT"),
    ];
    for (query, code) in table {
        server.query(query).await.refused(400, code);
        let body = json!({ "query": query }).to_string();
        server
            .send("POST /graphql", &[JSON], &body)
            .await
            .refused(200, code);
    }
    let body = json!({"query": "query A{hello}", "operationName": "B"});
    server
        .post(&body)
        .await
        .refused(400, "OPERATION_RESOLUTION_FAILURE");
    let body = json!({"query": "query($n:Int!){int(value:$n)}", "variables": {"n": null}});
    server.post(&body).await.refused(400, "BAD_USER_INPUT");
    let body = json!({"query": "query($n:Int!){int(value:$n)}", "variables": {"n": 1e12}});
    let answer = server.post(&body).await;
    assert!(
        ["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].contains(&answer.code()),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_fault_is_told_without_internals() {
    let server = Server::start().await;
    let answer = server.query("{fault coded hello}").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body["data"],
        json!({"fault": null, "coded": null, "hello": "hello world"})
    );
    let errors = answer.body["errors"].as_array().unwrap();
    let codes: Vec<_> = errors
        .iter()
        .map(|e| e["extensions"]["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["INTERNAL_SERVER_ERROR", "NOT_FOUND"]);
    assert_eq!(errors[0]["path"], json!(["fault"]));
    assert!(!answer.body.to_string().contains("secret"));
    server
        .query("{panics}")
        .await
        .refused(500, "INTERNAL_SERVER_ERROR");
    server.query("{hello}").await.data();
}

#[tokio::test]
async fn the_caller_reaches_the_resolver() {
    let server = Server::start().await;
    let headers = [JSON, ("Authorization", "alice")];
    let answer = server
        .send("POST /graphql", &headers, r#"{"query":"{whoami}"}"#)
        .await;
    assert_eq!(answer.data(), &json!({"whoami": "alice"}));
}

#[tokio::test]
async fn bodies_are_bounded_in_length_and_time() {
    let server = Server::start().await;
    let long = format!(
        "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        2 << 20
    );
    server
        .raw(long.as_bytes())
        .await
        .refused(413, "PAYLOAD_TOO_LARGE");
    let mut chunked = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunked.extend(format!("{:x}\r\n", (1 << 20) + 1).bytes());
    chunked.extend(std::iter::repeat_n(b' ', (1 << 20) + 1));
    server.raw(&chunked).await.refused(413, "PAYLOAD_TOO_LARGE");
    let stalled = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    server.raw(stalled).await.refused(408, "REQUEST_TIMEOUT");
}

#[tokio::test]
async fn an_operation_ends_although_its_client_leaves() {
    let server = Server::start().await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /graphql?query=%7Bslow%7D HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(request).await.unwrap();
    timeout(DEADLINE, server.world.began.notified())
        .await
        .unwrap();
    drop(socket);
    server.world.drain.begin();
    server.world.go.notify_one();
    timeout(DEADLINE, server.world.drain.finished())
        .await
        .unwrap();
    assert_eq!(server.world.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn operations_are_bounded_and_a_drain_refuses_new_ones() {
    let config = sipgraph_graphql_transport::Config {
        operations_max: 1,
        ..crate::harness::config()
    };
    let server = Server::with(config).await;
    let running = server.query("{slow}");
    let busy = async {
        timeout(DEADLINE, server.world.began.notified())
            .await
            .unwrap();
        let refused = server.query("{hello}").await;
        refused.refused(503, "UNAVAILABLE");
        assert!(refused.head.contains("retry-after: 1"));
        server.world.drain.begin();
        server.query("{hello}").await.refused(503, "UNAVAILABLE");
        let waits = timeout(Duration::from_millis(50), server.world.drain.finished()).await;
        assert!(waits.is_err(), "an operation runs");
        server.world.go.notify_one();
    };
    let (answer, ()) = tokio::join!(running, busy);
    assert_eq!(answer.data(), &json!({"slow": 0}));
    timeout(DEADLINE, server.world.drain.finished())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_loopback_listener_answers_loopback_names() {
    let server = Server::start().await;
    let line = "GET /graphql?query=%7Bhello%7D";
    server
        .send(line, &[("Host", "localhost:1")], "")
        .await
        .data();
    for host in ["evil.example", "127.0.0.1.evil.example", ""] {
        server
            .send(line, &[("Host", host)], "")
            .await
            .refused(421, "MISDIRECTED_REQUEST");
    }
}

#[tokio::test]
async fn browsers_of_allowed_origins_may_read() {
    let server = Server::start().await;
    let ask = ("Access-Control-Request-Method", "POST");
    let good = ("Origin", "http://app.example:3000");
    let bad = ("Origin", "http://evil.example");
    let answer = server.send("OPTIONS /graphql", &[good, ask], "").await;
    assert_eq!(answer.status, 204);
    for part in [
        "access-control-allow-origin: http://app.example:3000",
        "access-control-allow-methods: get, post",
        "access-control-allow-headers: accept, authorization, content-type",
        "vary: origin",
    ] {
        assert!(answer.head.contains(part), "{}", answer.head);
    }
    assert!(!answer.head.contains("credentials"));
    server
        .send("OPTIONS /graphql", &[bad, ask], "")
        .await
        .refused(403, "ORIGIN_NOT_ALLOWED");
    let line = "GET /graphql?query=%7Bhello%7D";
    let answer = server.send(line, &[good], "").await;
    assert!(
        answer
            .head
            .contains("access-control-allow-origin: http://app.example:3000")
    );
    let answer = server.send(line, &[bad], "").await;
    assert!(!answer.head.contains("access-control"), "{}", answer.head);
    assert!(answer.head.contains("vary: origin"));
}
