//! Replacing the instance key, as the operator does while phones and pages go on.

use crate::harness::graphql::{code, list, text};
use crate::harness::server::ACCOUNT;
use crate::harness::world::DOMAIN;
use crate::harness::{
    Account, Api, Database, Feed, LONG, Phone, Server, Value, World, both_backends, eventually,
    json,
};
use sipgraph_testkit::block_on;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tokio::process::Child;

/// So many phones that a rotation has six steps, and takes long enough to be met in the middle.
const PHONES: usize = 3000;

/// Runs a command that must go well, and gives what it said.
async fn said(server: &Server, arguments: &[&str]) -> String {
    let output = server.cli_output_within(LONG, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must be refused with this exit code, and gives why.
async fn refused(server: &Server, arguments: &[&str], code: i32) -> String {
    let output = server.cli_output_within(LONG, arguments).await;
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {output:?}"
    );
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Rotates as on a machine alone, whatever the database.
const ROTATE: [&str; 3] = ["secret", "rotate", "--one-node"];
const FORGET: [&str; 2] = ["secret", "forget-old"];

fn key_file(server: &Server) -> PathBuf {
    server.folder().join("secret.key")
}

/// The keys of the file as text, the newest first.
fn keys(server: &Server) -> Vec<String> {
    let text = std::fs::read_to_string(key_file(server)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What `check` says of the key file.
async fn key_line(server: &Server) -> String {
    let said = said(server, &["check"]).await;
    let line = said.lines().find(|line| line.starts_with("key file: "));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// How many secrets `check` says are left to the old key, while a rotation is not over.
async fn left(server: &Server) -> Option<usize> {
    let line = key_line(server).await;
    let (before, _) = line.split_once(" secrets are still sealed")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Makes many phones at once.
async fn import(server: &Server) {
    let mut rows = "domain,name,password\n".to_owned();
    for i in 0..PHONES {
        writeln!(rows, "{DOMAIN},desk{i},secret-{i}").unwrap();
    }
    std::fs::write(server.folder().join("phones.csv"), rows).unwrap();
    let arguments = [
        "endpoint",
        "import",
        "--account",
        ACCOUNT,
        "--apply",
        "phones.csv",
    ];
    let said = said(server, &arguments).await;
    assert!(said.contains(&format!("Made {PHONES} endpoints")), "{said}");
}

fn desk(number: usize) -> Account {
    Account {
        id: String::new(),
        user: format!("desk{number}"),
        domain: DOMAIN.to_owned(),
        password: format!("secret-{number}"),
    }
}

/// Registers a phone that nobody has seen, and gives the answer's status.
async fn register(server: &Server, account: &Account) -> u16 {
    Phone::udp(server, account)
        .await
        .register(600)
        .await
        .status()
}

async fn registers(server: &Server, account: &Account) {
    assert_eq!(register(server, account).await, 200, "{}", account.user);
}

/// The page of messages after a cursor: the answer, and where it ends.
async fn page(api: &Api, after: &Value) -> (Value, Value) {
    let query = "query($after: Cursor) { messages(first: 1, after: $after) { nodes { body } pageInfo { endCursor } } }";
    let answer = api.gql(query, json!({ "after": after })).await;
    let end = answer["data"]["messages"]["pageInfo"]["endCursor"].clone();
    (answer, end)
}

async fn voip_token(api: &Api, endpoint: &Account) -> String {
    let query = "query($id: ID!) { endpoint(by: { id: $id }) { voipToken } }";
    let data = api.data(query, json!({ "id": endpoint.id })).await;
    text(&data["endpoint"]["voipToken"])
}

/// Runs what a client repeats with its idempotency keys; gives the ids, and whether they were there before.
async fn repeated(api: &Api, domain: &str) -> (String, Value) {
    let input = json!({
        "domainId": domain, "name": "carol", "credentials": { "password": "secret-of-carol" }, "idempotencyKey": "carol",
    });
    let payload = api
        .mutate("createEndpoint", "endpoint { id } replayed", input)
        .await;
    assert_eq!(payload["userErrors"], json!([]), "{payload}");
    (
        text(&payload["endpoint"]["id"]),
        payload["replayed"].clone(),
    )
}

/// Waits until a rotation is seen in the middle.
async fn middle(server: &Server) -> usize {
    eventually("a rotation in the middle", || async {
        left(server).await.filter(|left| (1..PHONES).contains(left))
    })
    .await
}

fn spawned(server: &Server) -> Child {
    server.command(&ROTATE).spawn().unwrap()
}

both_backends! {
    /// Phones, pages, event feeds and repeated calls go on before, during and after; and when the old key is gone.
    async fn all_goes_on_while_the_key_is_replaced(database: Database) {
        let mut world = World::start(&database).await;
        import(&world.server).await;
        let World { server, api, alice, bob, domain } = &world;
        let input = json!({ "endpointId": bob.id, "expiresInSeconds": 3600 });
        let token = api.mutate("createEndpointToken", "secret", input).await;
        let by_token = Account { password: text(&token["secret"]), ..bob.clone() };
        let voip = voip_token(api, alice).await;
        let (carol, replayed) = repeated(api, domain).await;
        assert_eq!(replayed, false);
        for body in ["one", "two", "three"] {
            api.send(alice, bob, body).await;
        }
        let (_, page_cursor) = page(api, &Value::Null).await;
        let events = api.event_cursor().await;
        let mut phone = Phone::udp(server, alice).await;
        phone.come_online().await;
        let request = phone.register_request().with("Contact", format!("<{}>;expires=600", phone.contact()));
        let challenge = phone.challenge(&request).await;
        let old = keys(server);
        assert_eq!(old.len(), 1);

        // During: phones that nobody has seen yet, and a password that changes.
        let mut rotating = spawned(server);
        middle(server).await;
        let mut with_token = Phone::udp(server, &by_token).await;
        let mut seen = 0;
        let input = json!({ "id": desk_id(api, 7).await, "patch": { "credentials": { "password": "another-7" } } });
        let changed = api.mutate("updateEndpoint", "endpoint { id }", input).await;
        assert_eq!(changed["userErrors"], json!([]), "{changed}");
        while rotating.try_wait().unwrap().is_none() {
            registers(server, &desk(seen * 53 % (PHONES - 20) + 10)).await;
            with_token.come_online().await;
            assert_eq!(repeated(api, domain).await, (carol.clone(), json!(true)));
            seen += 1;
        }
        assert!(seen > 0, "phones registered meanwhile");
        let ended = rotating.wait_with_output().await.unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let told = String::from_utf8(ended.stdout).unwrap();
        assert!(told.starts_with("Sealed ") && told.contains("secret forget-old"), "{told}");
        let new = keys(server);
        assert_eq!((new.len(), &new[1]), (2, &old[0]), "the new key stands before the old one");
        assert_eq!(std::fs::metadata(key_file(server)).unwrap().permissions().mode() & 0o777, 0o600);
        let line = key_line(server).await;
        assert!(line.contains("nothing is sealed with") && line.contains("secret forget-old"), "{line}");

        // After: what was given out before still counts, and what is given out now does too.
        let signed = phone.sign(request, &challenge);
        assert_eq!(phone.ask(&signed).await.status(), 200, "a challenge from before");
        registers(server, alice).await;
        registers(server, &Account { password: "another-7".to_owned(), ..desk(7) }).await;
        assert_eq!(register(server, &desk(7)).await, 401);
        with_token.come_online().await;
        assert_eq!(voip_token(api, alice).await, voip);
        assert_eq!(repeated(api, domain).await, (carol.clone(), json!(true)));
        let (answer, next) = page(api, &page_cursor).await;
        assert_eq!(answer["data"]["messages"]["nodes"][0]["body"], list_of_bodies(api).await[1], "{answer}");
        let mut feed = Feed::open(server, &events).await;
        feed.next("ENDPOINT_UPDATED").await;

        // Not forgotten too early, then by force: what the old key gave out is refused, all else goes on.
        let why = refused(server, &FORGET, 1).await;
        assert!(why.contains("7 days") && why.contains("--now"), "{why}");
        let why = refused(server, &ROTATE, 1).await;
        assert!(why.contains("secret forget-old"), "{why}");
        assert_eq!(keys(server), new);
        let told = said(server, &["secret", "forget-old", "--now"]).await;
        assert!(told.starts_with("Forgot the key "), "{told}");
        assert_eq!(keys(server), new[..1]);
        eventually("the server that forgets", || async {
            let (answer, _) = page(api, &page_cursor).await;
            (code(&answer) == Some("BAD_USER_INPUT")).then_some(())
        }).await;
        let (answer, _) = page(api, &next).await;
        assert_eq!(code(&answer), None, "{answer}");
        let told = said(server, &["secret", "forget-old", "--now"]).await;
        assert!(told.starts_with("There is no old key"), "{told}");
        let line = key_line(server).await;
        assert!(line.contains("holds the key") && !line.contains(';'), "{line}");
        world.server.kill_and_restart().await;
        let World { server, api, alice, domain, .. } = &world;
        registers(server, alice).await;
        registers(server, &desk(11)).await;
        with_token.come_online().await;
        assert_eq!(voip_token(api, alice).await, voip);
        let (answer, _) = page(api, &next).await;
        assert_eq!(code(&answer), None, "{answer}");
        feed.resume().await.unwrap();
        api.send(&world.bob, alice, "the end").await;
        feed.next("MESSAGE_OUT").await;
        // The call of before had the old key; its name is taken, and one of now is known again.
        let payload = api.mutate("createDomain", "domain { id } replayed", json!({ "name": "b.test", "idempotencyKey": "b" })).await;
        let again = api.mutate("createDomain", "domain { id } replayed", json!({ "name": "b.test", "idempotencyKey": "b" })).await;
        assert_eq!((&again["replayed"], &again["domain"]), (&json!(true), &payload["domain"]), "{domain}");
    }

    /// Killed in the middle it goes on with the same key; another at the same time is refused.
    async fn a_broken_rotation_goes_on(database: Database) {
        let mut world = World::start(&database).await;
        import(&world.server).await;
        let old = keys(&world.server);
        let mut rotating = spawned(&world.server);
        middle(&world.server).await;
        let why = refused(&world.server, &ROTATE, 1).await;
        assert!(why.contains("at this moment"), "{why}");
        rotating.kill().await.unwrap();
        let there = left(&world.server).await.expect("it was killed in the middle");
        assert!((1..PHONES).contains(&there), "{there} are left");
        let new = keys(&world.server);
        assert_eq!((new.len(), &new[1]), (2, &old[0]));

        // The server starts with both keys, and with none of them alone.
        world.server.kill().await;
        for key in [&new[0], &old[0]] {
            std::fs::write(key_file(&world.server), key).unwrap();
            let why = refused(&world.server, &["serve"], 64).await;
            assert!(why.contains("secret_key_file") && why.contains("sealed with the key"), "{why}");
        }
        std::fs::write(key_file(&world.server), new.join("\n")).unwrap();
        world.server.run().await;
        for number in [0, PHONES / 2, PHONES - 1] {
            registers(&world.server, &desk(number)).await;
        }
        let why = refused(&world.server, &["secret", "forget-old", "--now"], 1).await;
        assert!(why.contains("did not end"), "{why}");
        let told = said(&world.server, &["secret", "rotate"]).await;
        assert!(told.starts_with(&format!("Sealed {there} secrets anew")), "{there}: {told}");
        assert_eq!(keys(&world.server), new, "no third key was made");
        said(&world.server, &["secret", "forget-old", "--now"]).await;
        world.server.kill_and_restart().await;
        for number in [1, PHONES / 2, PHONES - 1] {
            registers(&world.server, &desk(number)).await;
        }
        // The next one makes another key.
        let told = said(&world.server, &ROTATE).await;
        assert!(told.starts_with("Sealed "), "{told}");
        assert_eq!(keys(&world.server)[1], new[0]);
    }

    /// A key file that is missing or wrong is told by its key, and nothing changes.
    async fn a_wrong_key_file_changes_nothing(database: Database) {
        let mut server = Server::prepared(database.url(), &[]);
        let file = key_file(&server);
        for arguments in [&ROTATE[..], &FORGET] {
            let why = refused(&server, arguments, 64).await;
            assert!(why.contains("no data yet"), "{why}");
        }
        assert!(!file.exists(), "nothing was made");
        server.cli(&["migrate"]).await;
        let right = std::fs::read_to_string(&file).unwrap();
        let other = "ab".repeat(32);
        for wrong in [Some(other.clone()), Some(format!("{other}\n{}\n", "cd".repeat(32))), Some("x".to_owned()), None] {
            std::fs::remove_file(&file).unwrap();
            if let Some(wrong) = &wrong {
                std::fs::write(&file, wrong).unwrap();
            }
            for arguments in [&ROTATE[..], &FORGET, &["check"]] {
                let why = refused(&server, arguments, 64).await;
                assert!(why.contains("secret_key_file: "), "{wrong:?}: {why}");
            }
            assert_eq!(std::fs::read_to_string(&file).ok(), wrong);
            std::fs::write(&file, wrong.unwrap_or_default()).unwrap();
        }
        // A key at the wrong place is not taken for a new one.
        std::fs::write(&file, format!("{right}{other}\n")).unwrap();
        let line = key_line(&server).await;
        assert!(line.contains("nothing needs") && line.contains("secret forget-old"), "{line}");
        let why = refused(&server, &ROTATE, 1).await;
        assert!(why.contains("in front"), "{why}");
        said(&server, &FORGET).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), right);
        // At the right one it is.
        std::fs::write(&file, format!("{other}\n{right}")).unwrap();
        let line = key_line(&server).await;
        assert!(line.contains("`sipgraph secret rotate` puts"), "{line}");
        let told = said(&server, &["secret", "rotate"]).await;
        assert!(told.starts_with("Sealed 0 secrets anew"), "{told}");
        assert_eq!(keys(&server), [other.as_str(), right.trim()]);
        server.run().await;
    }
}

/// The id of an imported phone.
async fn desk_id(api: &Api, number: usize) -> Value {
    let query = format!("{{ endpoint(by: {{ sipUri: \"sip:desk{number}@{DOMAIN}\" }}) {{ id }} }}");
    api.data(&query, json!({})).await["endpoint"]["id"].clone()
}

/// The bodies of all messages, newest first, as one page has them.
async fn list_of_bodies(api: &Api) -> Vec<Value> {
    let data = api
        .data("{ messages(first: 100) { nodes { body } } }", json!({}))
        .await;
    let nodes = list(&data["messages"]["nodes"]);
    nodes.iter().map(|node| node["body"].clone()).collect()
}

/// Two nodes: the new key is brought to both before anything is sealed with it. The one that was forgotten says so, and goes on
/// when it is brought.
#[test]
fn nodes_get_the_new_key_first() {
    block_on(async {
        let database = Database::postgres().await;
        let world = World::start(&database).await;
        let mut node = Server::prepared(database.url(), &[]);
        std::fs::copy(key_file(&world.server), key_file(&node)).unwrap();
        node.run().await;
        registers(&node, &world.alice).await;
        let (_, page_cursor) = {
            world.api.send(&world.alice, &world.bob, "one").await;
            page(&world.api, &Value::Null).await
        };

        let told = said(&world.server, &["secret", "rotate"]).await;
        assert!(
            told.starts_with("Put the new key ") && told.contains("Copy this file"),
            "{told}"
        );
        assert_eq!(keys(&world.server).len(), 2);
        let line = key_line(&world.server).await;
        assert!(line.contains("`sipgraph secret rotate` puts"), "{line}");
        // Nothing has changed for a node without it, whatever the others give out.
        registers(&node, &world.bob).await;
        let other = Api::with(&node, &world.server.token);
        assert_eq!(code(&page(&other, &page_cursor).await.0), None);

        let told = said(&world.server, &["secret", "rotate"]).await;
        assert!(told.starts_with("Sealed "), "{told}");
        let input = json!({ "domainId": world.domain, "name": "dora", "credentials": { "password": "secret-of-dora" } });
        let answer = other
            .gql(
                "mutation($input: CreateEndpointInput!) { createEndpoint(input: $input) { endpoint { id } } }",
                json!({ "input": input }),
            )
            .await;
        assert_eq!(code(&answer), Some("INTERNAL_SERVER_ERROR"), "{answer}");
        // The phone is not told that its password is wrong, nor is its source counted among the guessers.
        assert!(register(&node, &world.bob).await >= 500);
        eventually("the node that lacks the key", || async {
            let log = node.log();
            (log.contains("lacks the key") && log.contains("copy it there")).then_some(())
        })
        .await;

        std::fs::copy(key_file(&world.server), key_file(&node)).unwrap();
        registers(&node, &world.bob).await;
        let dora = other.endpoint_create(&world.domain, "dora").await;
        registers(&world.server, &dora).await;
        assert_eq!(code(&page(&other, &page_cursor).await.0), None);
    });
}
