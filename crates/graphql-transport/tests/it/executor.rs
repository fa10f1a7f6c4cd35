//! Three behaviours of the executor that other versions of it lack; an upgrade must keep them.

use serde_json::json;

use crate::harness::Server;

#[tokio::test]
async fn fields_come_in_the_order_of_the_query() {
    let server = Server::start().await;
    for (query, body) in [
        ("{late quick}", r#"{"data":{"late":1,"quick":2}}"#),
        ("{quick late}", r#"{"data":{"quick":2,"late":1}}"#),
    ] {
        assert_eq!(server.query(query).await.text, body);
    }
    let mut socket = server.session().await;
    for (query, order) in [
        ("{late quick}", ["late", "quick"]),
        ("{quick late}", ["quick", "late"]),
    ] {
        socket.subscribe("1", query).await;
        let text = socket.next_text().await;
        let places = order.map(|key| text.find(key).unwrap());
        assert!(places[0] < places[1], "{text}");
        socket.expect(json!({"type": "complete", "id": "1"})).await;
    }
}

#[tokio::test]
async fn an_error_of_a_non_null_field_nulls_its_nullable_parent() {
    let server = Server::start().await;
    let answer = server.query("{hello parent{fine required}}").await;
    assert_eq!(
        answer.body["data"],
        json!({"hello": "hello world", "parent": null})
    );
    assert_eq!(
        answer.body["errors"][0]["path"],
        json!(["parent", "required"])
    );
}

#[tokio::test]
async fn an_absent_variable_stays_absent() {
    let server = Server::start().await;
    let query = "query($label:String){patch(patch:{label:$label})}";
    let table = [
        (json!({}), "absent"),
        (json!({"label": null}), "null"),
        (json!({"label": "x"}), "x"),
    ];
    for (variables, expected) in table {
        let answer = server
            .post(&json!({"query": query, "variables": variables}))
            .await;
        assert_eq!(answer.data()["patch"], expected);
    }
    let query = "query($patch:Patch!){patch(patch:$patch)}";
    let body = json!({"query": query, "variables": {"patch": {}}});
    assert_eq!(server.post(&body).await.data()["patch"], "absent");
}
