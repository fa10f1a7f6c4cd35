//! Random creates, patches, replacements and deletes by several clients, against a model in memory that is written from the
//! rules and not from the code: after every step the API and the model agree on every endpoint.

use crate::harness::graphql::{code_of, field_of, list, text};
use crate::harness::world::ENDPOINT;
use crate::harness::{Api, Value, World, both_backends, json};
use std::collections::{BTreeMap, BTreeSet};

/// A field's name in the API, and the value that it has unless told otherwise.
type Default = (&'static str, fn() -> Value);

/// Steps of a run; enough that every rule meets every other a few times, and short enough for each change.
const STEPS: usize = 120;
/// Runs, each from another seed.
const SEEDS: [u64; 2] = [0x5eed_0001, 0x5eed_0002];
/// The fields that a hosted type lets change.
const HOSTED: [&str; 4] = ["displayName", "description", "enabled", "capacity"];
/// The fields that are changed at random here, with their defaults.
const DEFAULTS: [Default; 10] = [
    ("displayName", || Value::Null),
    ("description", || Value::Null),
    ("enabled", || json!(true)),
    ("callerId", || Value::Null),
    ("allowOutside", || json!(false)),
    ("codecs", || Value::Null),
    ("encryption", || json!("DEFAULT")),
    ("capacity", || json!(0)),
    ("attributes", || json!({})),
    ("addresses", || json!([])),
];
/// The other fields that a replacement of a phone or trunk must have, with their defaults.
const REST: [Default; 10] = [
    ("applicationId", || Value::Null),
    ("numbers", || Value::Null),
    ("sendAs", || Value::Null),
    ("ciphers", || Value::Null),
    ("digestAlgorithms", || Value::Null),
    ("authRequired", || Value::Null),
    ("properties", || Value::Null),
    ("transformations", || Value::Null),
    ("outSipUsername", || Value::Null),
    ("simulation", || Value::Null),
];

/// A generator of numbers that gives the same ones for the same seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn of(&mut self, values: &[Value]) -> Value {
        values[self.below(values.len())].clone()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What the API must refuse: field and code.
type Refusals = BTreeSet<(String, String)>;

fn refusal(field: impl Into<String>, code: &str) -> (String, String) {
    (field.into(), code.to_owned())
}

/// The endpoints as they must be, by id.
#[derive(Default)]
struct Model {
    endpoints: BTreeMap<String, Value>,
    made: i64,
}

impl Model {
    fn has_name(&self, name: &str) -> bool {
        self.endpoints
            .values()
            .any(|endpoint| endpoint["name"] == name)
    }

    /// What becomes of an endpoint's fields, and what is wrong; addresses that are new have no id yet.
    fn applied(before: &Value, given: &Value, is_whole: bool, below: &str) -> (Value, Refusals) {
        let mut after = before.clone();
        let mut wrong = Refusals::new();
        let fields = DEFAULTS
            .iter()
            .filter(|(field, _)| given.get(*field).is_some());
        for (field, default) in fields {
            let value = &given[*field];
            after[*field] = match (*field, value) {
                (_, Value::Null) => default(),
                ("codecs", list) => {
                    let mut once: Vec<Value> = Vec::new();
                    for codec in list.as_array().unwrap() {
                        if !once.contains(codec) {
                            once.push(codec.clone());
                        }
                    }
                    if once.is_empty() {
                        Value::Null
                    } else {
                        json!(once)
                    }
                }
                ("attributes", map) if !is_whole => {
                    let mut merged = before["attributes"].clone();
                    for (key, value) in map.as_object().unwrap() {
                        match value {
                            Value::Null => drop(merged.as_object_mut().unwrap().remove(key)),
                            value => merged[key] = value.clone(),
                        }
                    }
                    merged
                }
                ("addresses", items) => {
                    let items = items.as_array().unwrap();
                    Self::addresses(&before["addresses"], items, is_whole, below, &mut wrong)
                }
                (_, value) => value.clone(),
            };
        }
        if after["capacity"].as_i64().unwrap() < 0 {
            wrong.insert(refusal(format!("{below}capacity"), "VALIDATION"));
        }
        (after, wrong)
    }

    fn addresses(
        old: &Value,
        items: &[Value],
        is_whole: bool,
        below: &str,
        wrong: &mut Refusals,
    ) -> Value {
        let old = list(old);
        let mut after = if is_whole { Vec::new() } else { old.clone() };
        for (i, item) in items.iter().enumerate() {
            let known = old
                .iter()
                .find(|address| Some(&address["id"]) == item.get("id"));
            if item.get("id").is_some() && known.is_none() {
                wrong.insert(refusal(format!("{below}addresses.{i}.id"), "NOT_FOUND"));
                continue;
            }
            let mut address = json!({ "id": null, "direction": "ANY", "ip": "", "port": 5060, "dstPort": 5060, "priority": 0, "transport": "UDP",
                "srtp": false, "locationSid": null, "sipUsername": null, "hasSipPassword": false });
            if let Some(known) = known {
                if is_whole {
                    address["id"] = known["id"].clone();
                    address["hasSipPassword"] = known["hasSipPassword"].clone();
                } else {
                    address = known.clone();
                }
            }
            for field in ["ip", "port", "transport"] {
                if let Some(value) = item.get(field) {
                    address[field] = value.clone();
                }
            }
            if let Some(password) = item.get("sipPassword") {
                address["hasSipPassword"] = json!(!password.is_null());
            }
            if address["ip"] == "" {
                wrong.insert(refusal(format!("{below}addresses.{i}.ip"), "VALIDATION"));
            }
            if address["port"] == 0 {
                wrong.insert(refusal(format!("{below}addresses.{i}.port"), "VALIDATION"));
            }
            match after
                .iter_mut()
                .find(|a| known.is_some() && a["id"] == address["id"])
            {
                Some(place) => *place = address,
                None => after.push(address),
            }
        }
        json!(after)
    }

    /// Which fields differ, and are not for this type to change. A password of an address that is set again differs too.
    fn forbidden(before: &Value, after: &Value, given: &Value, below: &str) -> Refusals {
        let is_free = ["SIP_USER", "THIRD_PARTY"].contains(&before["type"].as_str().unwrap());
        let sets = |field: &str| {
            field == "addresses"
                && given["addresses"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|a| a["sipPassword"].is_string())
        };
        DEFAULTS
            .iter()
            .map(|(field, _)| *field)
            .filter(|field| before[*field] != after[*field] || sets(field))
            .filter(|field| !is_free && !HOSTED.contains(field))
            .map(|field| refusal(format!("{below}{field}"), "FIELD_NOT_UPDATABLE_FOR_TYPE"))
            .collect()
    }
}

/// A client with what it has seen of each endpoint.
struct Client {
    api: Api,
    seen: BTreeMap<String, i64>,
}

/// Random values for one field; `null` is its default.
fn value(dice: &mut Dice, field: &str, addresses: &[Value]) -> Value {
    match field {
        "enabled" | "allowOutside" => dice.of(&[json!(true), json!(false), json!(null)]),
        "codecs" => dice.of(&[
            json!(null),
            json!([]),
            json!(["OPUS"]),
            json!(["PCMA", "OPUS", "PCMA"]),
        ]),
        "encryption" => dice.of(&[
            json!("OPTIONAL"),
            json!("REQUIRED"),
            json!("DEFAULT"),
            json!(null),
        ]),
        "capacity" => dice.of(&[json!(0), json!(1), json!(2), json!(null), json!(-1)]),
        "attributes" => dice.of(&[
            json!(null),
            json!({}),
            json!({ "a": 1 }),
            json!({ "b": { "c": [true] } }),
            json!({ "a": "x", "b": 2.5 }),
        ]),
        "addresses" => {
            let mut items = Vec::new();
            for _ in 0..dice.below(3) {
                let mut item = dice.of(&[
                    json!({ "ip": "192.0.2.1" }),
                    json!({ "ip": "gw.example.com", "port": 5070 }),
                    json!({ "ip": "2001:db8::1", "transport": "TLS" }),
                ]);
                match dice.below(6) {
                    0 | 1 if !addresses.is_empty() => {
                        let id = &addresses[dice.below(addresses.len())]["id"];
                        if items
                            .iter()
                            .all(|other: &Value| other.get("id") != Some(id))
                        {
                            item["id"] = id.clone();
                        }
                    }
                    2 => item["sipPassword"] = json!("secret"),
                    3 if dice.one_in(3) => item["port"] = json!(0),
                    4 if dice.one_in(3) && items.is_empty() => item["id"] = json!("nonsense"),
                    _ => {}
                }
                items.push(item);
            }
            json!(items)
        }
        _ => dice.of(&[json!(null), json!("one"), json!("two ✆")]),
    }
}

/// Some fields at random.
fn some_fields(dice: &mut Dice, addresses: &[Value]) -> Value {
    let mut given = json!({});
    for _ in 0..dice.below(4) {
        let field = DEFAULTS[dice.below(DEFAULTS.len())].0;
        given[field] = value(dice, field, addresses);
    }
    given
}

fn refusals(payload: &Value) -> Refusals {
    list(&payload["userErrors"])
        .iter()
        .map(|e| (field_of(e), code_of(e)))
        .collect()
}

/// Compares a payload with what the model says; takes the ids that the API gave to new addresses.
fn agree(
    step: usize,
    payload: &Value,
    expected: &mut Value,
    wrong: &Refusals,
    known: &mut BTreeSet<String>,
) -> bool {
    assert_eq!(&refusals(payload), wrong, "step {step}: {payload}");
    if !wrong.is_empty() {
        assert_eq!(payload["endpoint"], Value::Null, "step {step}");
        return false;
    }
    let given = list(&payload["endpoint"]["addresses"]);
    let addresses = expected["addresses"].as_array_mut().unwrap();
    assert_eq!(given.len(), addresses.len(), "step {step}: {payload}");
    for (address, given) in addresses.iter_mut().zip(&given) {
        if address["id"].is_null() {
            assert!(
                known.insert(text(&given["id"])),
                "step {step}: an id is used twice"
            );
            address["id"] = given["id"].clone();
        }
    }
    true
}

/// One run from one seed.
async fn run(world: &World, seed: u64) {
    let select = format!("endpoint {{ {ENDPOINT} }} changedFields");
    let domain = world
        .api
        .domain_create(&format!("d{seed:x}.test"), false)
        .await;
    let mut dice = Dice(seed);
    let mut model = Model::default();
    let mut known = BTreeSet::new();
    let mut gone = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let token = world
            .server
            .token_create("acme", "endpoints.manage", &[])
            .await;
        clients.push(Client {
            api: world.api.as_token(Some(&token)),
            seen: BTreeMap::new(),
        });
    }
    for step in 0..STEPS {
        let client = dice.below(clients.len());
        let client = &mut clients[client];
        let ids: Vec<String> = model.endpoints.keys().cloned().collect();
        let act = if ids.is_empty() { 0 } else { dice.below(10) };
        if act < 2 {
            let name = format!("n{}", dice.below(6));
            let kind = ["SIP_USER", "THIRD_PARTY", "CONFERENCE", "VOICEMAIL"][dice.below(4)];
            let mut given = some_fields(&mut dice, &[]);
            // What has a default in the schema cannot be null there.
            given
                .as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
            let blank: serde_json::Map<String, Value> = DEFAULTS
                .iter()
                .map(|(field, default)| ((*field).to_owned(), default()))
                .collect();
            let mut blank = json!(blank);
            blank["type"] = json!(kind);
            let (mut expected, mut wrong) = Model::applied(&blank, &given, true, "");
            if model.has_name(&name) {
                wrong.insert(refusal("name", "CONFLICT"));
            }
            given["domainId"] = json!(domain);
            given["name"] = json!(name);
            given["type"] = json!(kind);
            given["credentials"] = json!({ "password": "secret" });
            let select = format!("endpoint {{ {ENDPOINT} }}");
            let payload = client.api.mutate("createEndpoint", &select, given).await;
            if agree(step, &payload, &mut expected, &wrong, &mut known) {
                let id = text(&payload["endpoint"]["id"]);
                model.made += 1;
                expected["name"] = json!(name);
                expected["version"] = json!(1);
                client.seen.insert(id.clone(), 1);
                model.endpoints.insert(id, expected);
            }
        } else if act < 9 {
            let id = match gone.last() {
                Some(id) if dice.one_in(12) => String::clone(id),
                _ => ids[dice.below(ids.len())].clone(),
            };
            let Some(before) = model.endpoints.get(&id).cloned() else {
                client
                    .api
                    .refused_at(
                        "updateEndpoint",
                        json!({ "id": id, "patch": { "displayName": "x" } }),
                        "NOT_FOUND",
                        "id",
                    )
                    .await;
                continue;
            };
            let version = client.seen.get(&id).copied().filter(|_| dice.one_in(2));
            let mut given = some_fields(&mut dice, &list(&before["addresses"]));
            let is_put = act > 6;
            let is_whole = is_put || dice.one_in(2);
            let below = if is_put { "endpoint." } else { "patch." };
            let mut missing = None;
            if is_put {
                let is_free =
                    ["SIP_USER", "THIRD_PARTY"].contains(&before["type"].as_str().unwrap());
                for (field, _) in DEFAULTS {
                    if given.get(field).is_none() && (is_free || HOSTED.contains(&field)) {
                        let mut value = before[field].clone();
                        for address in value.as_array_mut().into_iter().flatten() {
                            if let Some(address) = address.as_object_mut() {
                                address.remove("hasSipPassword");
                            }
                        }
                        given[field] = value;
                    }
                }
                if before["type"] == "VOICEMAIL" {
                    given["properties"] = Value::Null;
                }
                if is_free {
                    for (field, default) in REST {
                        given[field] = default();
                    }
                }
                if dice.one_in(4) {
                    missing = Some(HOSTED[dice.below(4)]);
                    given.as_object_mut().unwrap().remove(missing.unwrap());
                }
            }
            let (mut expected, mut wrong) = Model::applied(&before, &given, is_whole, below);
            wrong.extend(Model::forbidden(&before, &expected, &given, below));
            wrong.extend(missing.map(|field| refusal(format!("endpoint.{field}"), "VALIDATION")));
            if version.is_some_and(|version| before["version"] != version) {
                wrong.insert(refusal("version", "CONFLICT"));
                // The refusal says which version it is now.
                client
                    .seen
                    .insert(id.clone(), before["version"].as_i64().unwrap());
            }
            let payload = if is_put {
                let input = json!({ "id": id, "endpoint": given, "version": version });
                client.api.mutate("replaceEndpoint", &select, input).await
            } else {
                let mode = if is_whole { "REPLACE" } else { "MERGE" };
                let input =
                    json!({ "id": id, "patch": given, "nestedObjects": mode, "version": version });
                client.api.mutate("updateEndpoint", &select, input).await
            };
            if agree(step, &payload, &mut expected, &wrong, &mut known) {
                let sets = given["addresses"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|a| a["sipPassword"].is_string());
                let changed = DEFAULTS
                    .iter()
                    .any(|(field, _)| before[*field] != expected[*field])
                    || sets;
                assert_eq!(
                    payload["changedFields"] != json!([]),
                    changed,
                    "step {step}: {given} {payload}"
                );
                let version = before["version"].as_i64().unwrap() + i64::from(changed);
                expected["version"] = json!(version);
                client.seen.insert(id.clone(), version);
                model.endpoints.insert(id, expected);
            }
        } else {
            let id = ids[dice.below(ids.len())].clone();
            let payload = client
                .api
                .mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": id }))
                .await;
            assert_eq!(payload["deletedEndpointId"], json!(id), "step {step}");
            model.endpoints.remove(&id);
            gone.push(id);
        }
        same(step, &world.api, &domain, &model).await;
    }
    assert!(
        model.made > 5 && !gone.is_empty(),
        "the run of {seed:x} makes and deletes"
    );
}

/// Reads all endpoints of a domain and compares them with the model.
async fn same(step: usize, api: &Api, domain: &str, model: &Model) {
    let query = format!(
        "query($domain: ID!) {{ endpoints(first: 100, filter: {{ domainId: $domain }}) {{ nodes {{ {ENDPOINT} }} }} }}"
    );
    let data = api.data(&query, json!({ "domain": domain })).await;
    let nodes = list(&data["endpoints"]["nodes"]);
    assert_eq!(nodes.len(), model.endpoints.len(), "step {step}");
    for endpoint in nodes {
        let expected = &model.endpoints[&text(&endpoint["id"])];
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(
                &endpoint[field], value,
                "step {step}: {field} of {}",
                endpoint["name"]
            );
        }
    }
}

both_backends! {
    /// The API and the model agree after every step.
    async fn endpoints_behave_as_their_model(database: Database) {
        let world = World::start(&database).await;
        for seed in SEEDS {
            run(&world, seed).await;
        }
    }
}
