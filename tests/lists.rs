//! Lists of endpoints: every filter, literal substrings, both orders, from both ends.

use crate::harness::graphql::{code, list, text};
use crate::harness::ws::Socket;
use crate::harness::{Api, Database, Seen, Server, Value, World, both_backends, json};

const QUERY: &str = "query($filter: EndpointFilter, $order: EndpointOrder, $first: Int, $after: Cursor, $last: Int, $before: Cursor) {
    endpoints(filter: $filter, orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
        totalCount nodes { name } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

/// A server with one domain and endpoints of these names, the first made first.
async fn stage(database: &Database, names: &[&str]) -> (Server, Api, String) {
    let server = Server::start(database).await;
    let api = Api::of(&server);
    let domain = api.domain_create("example.test", false).await;
    for name in names {
        api.endpoint_create(&domain, name).await;
    }
    (server, api, domain)
}

/// The names of a whole list, and its count.
async fn names(api: &Api, filter: Value) -> Vec<String> {
    let mut data = api
        .data(QUERY, json!({ "filter": filter, "first": 1000 }))
        .await;
    let page = data["endpoints"].take();
    let names: Vec<String> = list(&page["nodes"])
        .iter()
        .map(|n| text(&n["name"]))
        .collect();
    assert_eq!(page["totalCount"], names.len(), "{filter}");
    names
}

both_backends! {
    /// All and only those that have the text, at the start, in the middle or at the end.
    async fn d077_a_part_of_a_name_finds_it(database: Database) {
        let (_server, api, _) = stage(&database, &["alpha.desk", "desk", "desk.beta", "x.desk.y", "dsek", "DESKTOP"]).await;
        assert_eq!(names(&api, json!({ "nameContains": "desk" })).await, ["DESKTOP", "x.desk.y", "desk.beta", "desk", "alpha.desk"]);
        assert_eq!(names(&api, json!({ "nameContains": "sek" })).await, ["dsek"]);
        assert_eq!(names(&api, json!({ "nameContains": "ds" })).await, ["dsek"]);
        assert_eq!(names(&api, json!({ "nameContains": "desk", "enabled": false })).await, [""; 0]);
    }

    /// Characters that databases give a meaning mean themselves.
    async fn d079_the_text_is_literal(database: Database) {
        let (_server, api, _) = stage(&database, &["a_b", "axb", "100%25", "it's", "a*b", "(x)", "abc_def", "abcxdef"]).await;
        for (filter, found) in [
            ("a_b", &["a_b"][..]),
            ("c_d", &["abc_def"]),
            ("abc_", &["abc_def"]),
            ("%", &["100%25"]),
            ("%25", &["100%25"]),
            ("'", &["it's"]),
            ("it's", &["it's"]),
            ("a*b", &["a*b"]),
            ("(", &["(x)"]),
            ("\\", &[]),
            ("\"", &[]),
            ("' OR 1=1 --", &[]),
            ("name : abc", &[]),
            ("abc*", &[]),
        ] {
            assert_eq!(names(&api, json!({ "nameContains": filter })).await, found, "{filter}");
        }
        let response = api.gql(QUERY, json!({ "filter": { "nameContains": "a\u{0}b" } })).await;
        assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{response}");
    }

    /// Letters of ASCII match in either case; others are not in a name and match nothing.
    async fn d080_case_is_that_of_ascii(database: Database) {
        let (_server, api, _) = stage(&database, &["Kelvin", "kelvin2", "caf%C3%A9"]).await;
        for (filter, count) in [("kelvin", 2), ("KELVIN", 2), ("kELv", 2), ("k", 2), ("\u{212a}elvin", 0), ("\u{212a}", 0), ("%c3%a9", 1), ("é", 0), ("CAF", 1)] {
            assert_eq!(names(&api, json!({ "nameContains": filter })).await.len(), count, "{filter}");
        }
    }

    /// Parts of caller ids are found as those of names are; without a caller id an endpoint has no part of one.
    async fn d078_a_part_of_a_caller_id_finds_it(database: Database) {
        let (_server, api, domain) = stage(&database, &["none", "none2"]).await;
        let ids = ["Front Desk", "desk 100%", "it's_me", "Frönt", "Back Desk"];
        for (i, caller) in ids.iter().enumerate() {
            let input = json!({ "domainId": domain, "name": format!("e{i}.desk"), "credentials": { "password": "secret" }, "callerId": caller });
            let payload = api.mutate("createEndpoint", "endpoint { id }", input).await;
            assert_eq!(payload["userErrors"], json!([]));
        }
        for (filter, found) in [
            ("desk", &["e4.desk", "e1.desk", "e0.desk"][..]),
            ("DESK", &["e4.desk", "e1.desk", "e0.desk"]),
            ("front", &["e0.desk"]),
            ("k 1", &["e1.desk"]),
            ("%", &["e1.desk"]),
            ("_", &["e2.desk"]),
            ("s_m", &["e2.desk"]),
            ("sxm", &[]),
            ("rön", &["e3.desk"]),
            ("rÖn", &[]),
            ("'", &["e2.desk"]),
            ("none", &[]),
            ("e0.desk", &[]),
        ] {
            assert_eq!(names(&api, json!({ "callerIdContains": filter })).await, found, "{filter}");
        }
        for (both, found) in [
            (json!({ "callerIdContains": "desk", "nameContains": "e1" }), &["e1.desk"][..]),
            (json!({ "callerIdContains": "desk", "nameContains": "1.DESK" }), &["e1.desk"]),
            (json!({ "callerIdContains": "de", "nameContains": "4.d" }), &["e4.desk"]),
            (json!({ "callerIdContains": "front", "nameContains": "e1.desk" }), &[]),
            (json!({ "callerIdContains": "", "nameContains": "none2" }), &["none2"]),
        ] {
            assert_eq!(names(&api, both.clone()).await, found, "{both}");
        }
        // A caller id that changes is found as it is now.
        let id = api.data("{ endpoint(by: { sipUri: \"sip:e0.desk@example.test\" }) { id } }", json!({})).await["endpoint"]["id"].clone();
        for (now, old, new) in [(json!("Reception"), 0, 1), (Value::Null, 0, 0), (json!("Front desk"), 1, 0)] {
            api.mutate("updateEndpoint", "", json!({ "id": id, "patch": { "callerId": now } })).await;
            assert_eq!(names(&api, json!({ "callerIdContains": "front" })).await.len(), old, "{now}");
            assert_eq!(names(&api, json!({ "callerIdContains": "recep" })).await.len(), new, "{now}");
        }
        api.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": id })).await;
        assert_eq!(names(&api, json!({ "callerIdContains": "front" })).await, [""; 0]);
        let response = api.gql(QUERY, json!({ "filter": { "callerIdContains": "a\u{0}b" } })).await;
        assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{response}");
    }

    /// Endpoints of a type, of an application and with a caller id, in pages from either end while others are made.
    async fn d084_filtered_lists_neither_repeat_nor_drop(database: Database) {
        let (_server, api, domain) = stage(&database, &[]).await;
        let application = api.mutate("createApplication", "application { id }", json!({ "name": "one" })).await["application"]["id"].clone();
        let make = async |i: usize| {
            let trunk = i.is_multiple_of(2);
            let input = json!({ "domainId": domain, "name": format!("e{i:03}"), "type": if trunk { "THIRD_PARTY" } else { "SIP_USER" },
                "credentials": if trunk { Value::Null } else { json!({ "password": "secret" }) },
                "applicationId": if i.is_multiple_of(3) { application.clone() } else { Value::Null },
                "callerId": if i.is_multiple_of(5) { json!("five") } else { Value::Null } });
            let payload = api.mutate("createEndpoint", "endpoint { id }", input).await;
            assert_eq!(payload["userErrors"], json!([]));
        };
        for i in 0..60 {
            make(i).await;
        }
        let mut next = 60;
        // Which endpoints each filter finds: those whose numbers leave a remainder.
        for (filter, divisor, remainder) in [
            (json!({ "type": "THIRD_PARTY" }), 2, 0),
            (json!({ "type": "SIP_USER" }), 2, 1),
            (json!({ "type": "VOICEMAIL" }), 1, 1),
            (json!({ "applicationId": application }), 3, 0),
            (json!({ "applicationId": "nonsense" }), 1, 1),
            (json!({ "callerIdContains": "IVE" }), 5, 0),
            (json!({ "type": "THIRD_PARTY", "applicationId": application, "callerIdContains": "five" }), 30, 0),
        ] {
            let matches = |i: &usize| i % divisor == remainder;
            let last = next;
            let expected: Vec<String> = (0..last).rev().filter(matches).map(|i| format!("e{i:03}")).collect();
            let (mut seen, mut after) = (Vec::new(), Value::Null);
            loop {
                let variables = json!({ "filter": filter, "first": 7, "after": after });
                let page = api.data(QUERY, variables).await["endpoints"].clone();
                seen.extend(list(&page["nodes"]).iter().map(|n| text(&n["name"])));
                // Newer than every page.
                make(next).await;
                next += 1;
                if page["pageInfo"]["hasNextPage"] == false {
                    break;
                }
                after = page["pageInfo"]["endCursor"].clone();
            }
            assert_eq!(seen, expected, "{filter}");
            let (mut back, mut before) = (Vec::new(), Value::Null);
            loop {
                let variables = json!({ "filter": filter, "last": 9, "before": before });
                let page = api.data(QUERY, variables).await["endpoints"].clone();
                back.splice(0..0, list(&page["nodes"]).iter().map(|n| text(&n["name"])));
                if page["pageInfo"]["hasPreviousPage"] == false {
                    break;
                }
                before = page["pageInfo"]["startCursor"].clone();
            }
            let all: Vec<String> = (0..next).rev().filter(matches).map(|i| format!("e{i:03}")).collect();
            assert_eq!(back, all, "{filter}");
        }
    }

    /// An empty text does not filter; one that nothing has gives an empty list.
    async fn d081_an_empty_text_is_no_filter(database: Database) {
        let (_server, api, domain) = stage(&database, &["alice", "bob"]).await;
        for filter in [json!({ "nameContains": "" }), json!({ "nameContains": null }), json!({ "technology": null, "createdAt": null })] {
            assert_eq!(names(&api, filter).await, ["bob", "alice"]);
        }
        for filter in [json!({ "nameContains": "carol" }), json!({ "nameContains": "zq" }), json!({ "nameContains": "alice", "domainId": "nonsense" }), json!({ "nameContains": "bob", "ids": [] })] {
            assert_eq!(names(&api, filter).await, [""; 0]);
        }
        assert_eq!(names(&api, json!({ "nameContains": "ALI", "domainId": domain })).await, ["alice"]);
    }

    /// A searched list has pages as any other, while endpoints are made.
    async fn d084_a_searched_list_neither_repeats_nor_drops(database: Database) {
        let all: Vec<String> = (0..90).map(|i| format!("{}{i:02}", if i % 3 == 0 { "other" } else { "phone" })).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let (_server, api, domain) = stage(&database, &all).await;
        let expected: Vec<String> = all.iter().rev().filter(|name| name.contains("phone")).map(|&name| name.to_owned()).collect();
        for order in [Value::Null, json!({ "field": "NAME" })] {
            let (mut seen, mut after, mut made) = (Vec::new(), Value::Null, 0);
            loop {
                let variables = json!({ "filter": { "nameContains": "HON" }, "order": order, "first": 25, "after": after });
                let page = api.data(QUERY, variables).await["endpoints"].clone();
                seen.extend(list(&page["nodes"]).iter().map(|n| text(&n["name"])));
                assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(after != Value::Null));
                // Newer than every other, and the last by name: before every page.
                made += 1;
                api.endpoint_create(&domain, &format!("zz-phone{}{made}", order["field"].as_str().unwrap_or("x"))).await;
                if page["pageInfo"]["hasNextPage"] == false {
                    break;
                }
                after = page["pageInfo"]["endCursor"].clone();
            }
            seen.retain(|name| !name.starts_with("zz"));
            assert_eq!(seen, expected, "{order}");
            let variables = json!({ "filter": { "nameContains": "HON" }, "order": order, "last": 25, "before": after });
            let page = api.data(QUERY, variables).await["endpoints"].clone();
            assert_eq!(list(&page["nodes"]).len(), 25);
            // A cursor belongs to its filter and order.
            let variables = json!({ "filter": { "nameContains": "HONE" }, "order": order, "first": 25, "after": after });
            assert_eq!(code(&api.gql(QUERY, variables).await), Some("BAD_USER_INPUT"));
            let other = if order.is_null() { json!({ "field": "NAME" }) } else { Value::Null };
            let variables = json!({ "filter": { "nameContains": "HON" }, "order": other, "first": 25, "after": after });
            assert_eq!(code(&api.gql(QUERY, variables).await), Some("BAD_USER_INPUT"));
        }
    }

    /// Names are ordered byte by byte, in either direction.
    async fn d076_the_order_can_be_that_of_names(database: Database) {
        let (_server, api, _) = stage(&database, &["b", "C", "a", "%C3%A9", "10", "9", "a-"]).await;
        for (direction, first) in [("ASC", "%C3%A9"), ("DESC", "b")] {
            let variables = json!({ "order": { "field": "NAME", "direction": direction } });
            let data = api.data(QUERY, variables).await;
            let mut seen: Vec<String> = list(&data["endpoints"]["nodes"]).iter().map(|n| text(&n["name"])).collect();
            assert_eq!(seen[0], first);
            if direction == "DESC" {
                seen.reverse();
            }
            assert_eq!(seen, ["%C3%A9", "10", "9", "C", "a", "a-", "b"]);
        }
    }

    /// A technology is known by its names in any case; an unknown one is not found.
    async fn e099_a_list_of_one_technology(database: Database) {
        let (_server, api, _) = stage(&database, &["alice", "bob"]).await;
        for technology in ["SIP", "sip", "PJSIP", "pjsip"] {
            assert_eq!(names(&api, json!({ "technology": technology })).await, ["bob", "alice"], "{technology}");
        }
        assert_eq!(names(&api, json!({ "technology": "XMPP" })).await, [""; 0]);
        for technology in ["IAX2", "foo", ""] {
            let response = api.gql(QUERY, json!({ "filter": { "technology": technology } })).await;
            assert_eq!(code(&response), Some("NOT_FOUND"), "{technology}: {response}");
            assert_eq!(response["data"]["endpoints"], Value::Null);
        }
    }

    /// The start of a time is in it, its end is not.
    async fn d078_filters_combine_with_and(database: Database) {
        let (_server, api, domain) = stage(&database, &["alice", "bob"]).await;
        let data = api.data("{ endpoints { nodes { createdAt } } }", json!({})).await;
        let times: Vec<String> = list(&data["endpoints"]["nodes"]).iter().map(|n| text(&n["createdAt"])).collect();
        let (bob, alice) = (&times[0], &times[1]);
        for (range, found) in [
            (json!({ "from": alice }), &["bob", "alice"][..]),
            (json!({ "from": bob }), &["bob"]),
            (json!({ "from": alice, "to": bob }), &["alice"]),
            (json!({ "to": alice }), &[]),
        ] {
            assert_eq!(names(&api, json!({ "createdAt": range, "domainId": domain, "enabled": true, "state": "UNKNOWN" })).await, found, "{range}");
        }
        assert_eq!(names(&api, json!({ "createdAt": { "from": alice, "to": bob }, "nameContains": "ALI" })).await, ["alice"]);
        assert_eq!(names(&api, json!({ "createdAt": { "from": bob }, "nameContains": "ali" })).await, [""; 0]);
    }

    /// A presence feed takes the same filter, also for endpoints that come later.
    async fn h158_presence_takes_the_same_filter(database: Database) {
        let world = World::start(&database).await;
        let query = "subscription($filter: EndpointFilter) { endpointStates(filter: $filter) { kind endpointId endpoint { name } } }";
        let mut socket = Socket::open(&world.server, &world.server.token).await;
        socket.subscribe("x", query, json!({ "filter": { "nameContains": "LIC", "technology": "sip" } })).await;
        let mut next = async || match socket.see().await {
            Seen::Message(message) => message["payload"]["data"]["endpointStates"].clone(),
            other => panic!("{other:?}"),
        };
        let seen = next().await;
        assert_eq!((&seen["kind"], &seen["endpoint"]["name"]), (&json!("INITIAL"), &json!("alice")));
        assert_eq!(next().await["kind"], "INITIAL_DONE");
        world.api.endpoint_create(&world.domain, "carol").await;
        world.api.endpoint_create(&world.domain, "felicia").await;
        let seen = next().await;
        assert_eq!((&seen["kind"], &seen["endpoint"]["name"]), (&json!("CHANGED"), &json!("felicia")));
        world.api.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": world.bob.id })).await;
        world.api.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": world.alice.id })).await;
        let seen = next().await;
        assert_eq!((&seen["kind"], &seen["endpointId"]), (&json!("REMOVED"), &json!(world.alice.id)));
    }
}
