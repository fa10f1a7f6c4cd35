//! Rules that change telephone numbers, tried out.

use crate::harness::graphql::{code, code_of, field_of, list};
use crate::harness::server::ACCOUNT;
use crate::harness::{Api, Server, Value, World, both_backends, json};

const PREVIEW: &str =
    "query($input: PreviewTransformationsInput!) { previewTransformations(input: $input) {
    result rejected steps userErrors { code message field detail { offset character limit } } } }";

fn rule(rule: Value) -> Value {
    json!({ "rule": rule })
}

async fn preview(api: &Api, number: &str, rules: &[Value]) -> Value {
    let input = json!({ "number": number, "transformations": rules });
    api.data(PREVIEW, json!({ "input": input })).await["previewTransformations"].take()
}

/// The examples of docs/transformations.md.
const DOCUMENTATION: &str = include_str!("../docs/transformations.md");

both_backends! {
    /// Rewrite, set, condition and reject in order, each step told.
    async fn h164_rules_apply_in_order_and_each_step_is_told(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let strip = rule(json!({ "rewrite": { "pattern": "[().-]", "replace": "" } }));
        let premium = rule(json!({ "reject": { "pattern": "^0900" } }));
        let national = rule(json!({ "condition": { "pattern": "^0" } }));
        let e164 = rule(json!({ "rewrite": { "pattern": "^0(\\d+)$", "replace": "+49$1" } }));
        let rules = [strip, premium, national, e164];
        let seen = preview(&api, "(030)123-45", &rules).await;
        assert_eq!(seen, json!({
            "result": "+493012345",
            "rejected": false,
            "steps": [
                "0 rewrite: (030)123-45 becomes 03012345",
                "1 reject: 03012345 goes on",
                "2 condition: 03012345 goes on",
                "3 rewrite: 03012345 becomes +493012345",
            ],
            "userErrors": [],
        }));
        let seen = preview(&api, "+4412345", &rules).await;
        assert_eq!(seen["result"], "+4412345");
        assert_eq!(list(&seen["steps"])[2], "2 condition: does not hold, +4412345 skips the rules behind it");
        let seen = preview(&api, "0900-1", &rules).await;
        assert_eq!((&seen["result"], &seen["rejected"]), (&Value::Null, &json!(true)));
        assert_eq!(list(&seen["steps"]).len(), 2);
        let one = [rule(json!({ "condition": { "pattern": "^\\+49", "negate": true } })), rule(json!({ "set": { "value": "+1" } }))];
        assert_eq!(preview(&api, "+4930", &one).await["result"], "+4930");
        assert_eq!(preview(&api, "+33", &one).await["result"], "+1");
        assert_eq!(preview(&api, "+33", &[]).await["result"], "+33");
    }

    /// A wrong rule is refused at its index with its reason; all of them together, and the number too.
    async fn h164_wrong_rules_are_refused_at_their_index(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let rules = [
            rule(json!({ "set": { "value": "+1" } })),
            rule(json!({ "rewrite": { "pattern": "é(", "replace": "" } })),
            rule(json!({ "condition": { "pattern": "(?=a)" } })),
            rule(json!({ "reject": { "pattern": "(a{999}){999}" } })),
            rule(json!({ "rewrite": { "pattern": "a", "replace": "$2" } })),
        ];
        let seen = preview(&api, "1 2", &rules).await;
        assert_eq!((&seen["result"], &seen["rejected"], &seen["steps"]), (&Value::Null, &json!(false), &json!([])));
        let errors = list(&seen["userErrors"]);
        let fields: Vec<String> = errors.iter().map(field_of).collect();
        assert_eq!(fields, [
            "transformations.1.rule.rewrite.pattern",
            "transformations.2.rule.condition.pattern",
            "transformations.3.rule.reject.pattern",
            "transformations.4.rule.rewrite.replace",
            "number",
        ]);
        assert!(errors.iter().all(|error| code_of(error) == "VALIDATION"), "{errors:?}");
        assert!(errors[0]["message"].as_str().unwrap().contains("unclosed group"), "{errors:?}");
        // In UTF-16 code units, although the letter before it takes two bytes.
        assert_eq!(errors[0]["detail"]["offset"], 1);
        assert!(errors[1]["message"].as_str().unwrap().contains("look-around"), "{errors:?}");
    }

    /// A lookup would ask a foreign service.
    async fn h164_lookup_is_refused(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let rules = [rule(json!({ "set": { "value": "+1" } })), rule(json!({ "lookup": "cnam" }))];
        let errors = list(&preview(&api, "1", &rules).await["userErrors"]);
        assert_eq!((code_of(&errors[0]), field_of(&errors[0])), ("VALIDATION".into(), "transformations.1.rule.lookup".into()));
        assert_eq!(errors.len(), 1);
    }

    /// A lookup is refused together with all else that is wrong, wherever rules are given.
    async fn g141_a_lookup_is_refused_with_the_rest(database: Database) {
        let world = World::start(&database).await;
        let rules = [rule(json!({ "lookup": "cnam" })), rule(json!({ "set": { "value": "" } })), rule(json!({ "lookup": "x" }))];
        let refusals = |errors: &[Value]| errors.iter().map(field_of).collect::<Vec<_>>();
        let errors = list(&preview(&world.api, "a b", &rules).await["userErrors"]);
        assert_eq!(refusals(&errors), ["transformations.0.rule.lookup", "transformations.1.rule.set.value", "transformations.2.rule.lookup", "number"]);
        let input = json!({ "domainId": world.domain, "name": "a b", "credentials": { "password": "x" }, "transformations": rules });
        let errors = world.api.refused("createEndpoint", input).await;
        let mut seen = refusals(&errors);
        seen.sort();
        assert_eq!(seen, ["credentials.password", "name", "transformations.0.rule.lookup", "transformations.1.rule.set.value", "transformations.2.rule.lookup"]);
        let input = json!({ "id": world.bob.id, "patch": { "name": "x", "transformations": rules } });
        let errors = world.api.refused("updateEndpoint", input).await;
        let mut seen = refusals(&errors);
        seen.sort();
        assert_eq!(seen, ["patch.name", "patch.transformations.0.rule.lookup", "patch.transformations.1.rule.set.value", "patch.transformations.2.rule.lookup"]);
        assert_eq!(world.api.endpoints_count().await, 2);
    }

    /// What takes exponential time elsewhere ends at once; what would be large is refused.
    async fn h164_everything_is_bounded(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let number = "a".repeat(127) + "b";
        let greedy = rule(json!({ "rewrite": { "pattern": "(a+)+$", "replace": "" } }));
        assert_eq!(preview(&api, &number, &vec![greedy; 32]).await["result"], json!(number));
        let twice = rule(json!({ "rewrite": { "pattern": "a", "replace": "aa" } }));
        assert_eq!(preview(&api, &number, &[twice]).await["rejected"], true);
        let many = vec![rule(json!({ "set": { "value": "1" } })); 33];
        let errors = list(&preview(&api, "1", &many).await["userErrors"]);
        assert_eq!((field_of(&errors[0]), &errors[0]["detail"]["limit"]), ("transformations".into(), &json!(32)));
    }

    /// Exactly one rule in each place, and the right to read endpoints.
    async fn h164_the_shape_and_the_scope_are_checked(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        for wrong in [json!({}), json!({ "set": { "value": "1" }, "reject": { "pattern": "1" } }), json!({ "set": null })] {
            let input = json!({ "number": "1", "transformations": [rule(wrong)] });
            let response = api.gql(PREVIEW, json!({ "input": input })).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
        }
        let reader = server.token_create(ACCOUNT, "messages.read", &[]).await;
        let input = json!({ "number": "1", "transformations": [] });
        let response = api.as_token(Some(&reader)).gql(PREVIEW, json!({ "input": input })).await;
        assert_eq!(code(&response), Some("FORBIDDEN"), "{response}");
    }

    /// The example in the documentation gives what the documentation says.
    async fn h164_the_documented_example_is_true(database: Database) {
        let server = Server::start(&database).await;
        let block = |language: &str| {
            let rest = DOCUMENTATION.split_once(&format!("```{language}\n")).unwrap().1;
            rest.split_once("```").unwrap().0.to_owned()
        };
        let expected: Value = serde_json::from_str(&block("json")).unwrap();
        let seen = Api::of(&server).data(&block("graphql"), json!({})).await;
        assert_eq!(seen["previewTransformations"], expected);
    }
}
