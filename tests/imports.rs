//! Importing endpoints from files and exporting them, as the operator does.

use crate::harness::graphql::{list, text};
use crate::harness::server::ACCOUNT;
use crate::harness::sip::Algorithm;
use crate::harness::world::{DOMAIN, ENDPOINT};
use crate::harness::{
    Account, Api, Database, LONG, Phone, Server, Sipp, Value, World, both_backends, eventually,
    json,
};
use md5::{Digest as _, Md5};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

/// So many rows the product promises to import with ease.
const ROWS: usize = 5000;

/// Three thousand rows more than a page, so that a break falls into the middle.
const BROKEN_ROWS: usize = 3000;

async fn endpoint(server: &Server, arguments: &[&str]) -> Output {
    let arguments = [&["endpoint"], arguments].concat();
    server.cli_output_within(LONG, &arguments).await
}

/// Imports a file of the server's folder.
async fn import(server: &Server, file: &str, more: &[&str]) -> Output {
    let arguments = [&["import", "--account", ACCOUNT][..], more, &[file]].concat();
    endpoint(server, &arguments).await
}

/// Imports a file, which must go well, and gives what was said last.
async fn imported(server: &Server, file: &str, more: &[&str]) -> String {
    let output = import(server, file, more).await;
    assert!(output.status.success(), "{file} {more:?}: {output:?}");
    stdout(&output)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn put(server: &Server, file: &str, content: &str) {
    std::fs::write(server.folder().join(file), content).unwrap();
}

/// Rows of phones with passwords of their own.
fn phones(count: usize) -> String {
    let mut rows = "domain,name,password,displayName,description,codecs\n".to_owned();
    for i in 0..count {
        writeln!(
            rows,
            "{DOMAIN},desk{i},secret-{i},Desk {i},\"Room {i}, window\",OPUS PCMA"
        )
        .unwrap();
    }
    rows
}

fn phone(user: &str, password: &str) -> Account {
    Account {
        id: String::new(),
        user: user.to_owned(),
        domain: DOMAIN.to_owned(),
        password: password.to_owned(),
    }
}

/// How many events of each kind tell of endpoints.
async fn told(api: &Api) -> (usize, usize) {
    let made = api.log(&["ENDPOINT_CREATED"]).await.len();
    (made, api.log(&["ENDPOINT_UPDATED"]).await.len())
}

/// All endpoints as they are read, by name, without what an instance gives them.
async fn endpoints(api: &Api) -> Vec<Value> {
    let query = format!(
        "{{ endpoints(first: 1000, orderBy: {{ field: NAME, direction: ASC }}) {{ nodes {{ {ENDPOINT} application {{ name }} }} }} }}"
    );
    let data = api.data(&query, json!({})).await;
    let mut nodes = list(&data["endpoints"]["nodes"]);
    for node in &mut nodes {
        for own in [
            "id",
            "externalId",
            "version",
            "createdAt",
            "updatedAt",
            "domain",
            "contacts",
            "state",
        ] {
            node[own].take();
        }
        for nested in ["addresses", "transformations"] {
            for item in node[nested].as_array_mut().unwrap() {
                item["id"].take();
            }
        }
    }
    nodes
}

both_backends! {
    /// The dry run tells each bad row, its column, place and rule, and stores nothing; what is well is stored once.
    async fn h171_five_thousand_rows(database: Database) {
        let world = World::start(&database).await;
        let good = phones(ROWS);
        let bad: Vec<String> = good.lines().zip(1..).map(|(row, line)| match line {
            12 => row.replace("desk10,", "de sk,"),
            102 => row.replace("secret-100,", "12345,"),
            1002 => row.replace("OPUS PCMA", "OPUS G723"),
            2002 => row.replace("desk2000,", "desk7,"),
            3002 => row.replace(DOMAIN, "nowhere.test"),
            4002 => format!("{row},more"),
            5001 => row.replace("desk4999,", "caf\u{e9}@,").replace("secret-4999,", "p\u{20ac}ssword,"),
            _ => row.to_owned(),
        }).collect();
        // As spreadsheets end their lines.
        put(&world.server, "bad.csv", &(bad.join("\r\n") + "\r\n"));
        for more in [&[][..], &["--apply"]] {
            let output = import(&world.server, "bad.csv", more).await;
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let (told, ended) = (stdout(&output), stderr(&output));
            for (start, parts) in [
                ("bad.csv:12: name: ", &["U+0020", "byte 2", "RFC 3261"][..]),
                ("bad.csv:102: password: ", &["at byte 5"]),
                ("bad.csv:1002: codecs.1: ", &["OPUS, G722"]),
                ("bad.csv:2002: name: ", &["earlier row"]),
                ("bad.csv:3002: domain: ", &["no such domain"]),
                ("bad.csv:4002: ", &["7 cells", "6"]),
                ("bad.csv:5001: name: ", &["U+00E9", "byte 3"]),
                ("bad.csv:5001: name: `@` ", &["byte 5"]),
                ("bad.csv:5001: password: ", &["at byte 1"]),
            ] {
                let line = told.lines().find(|line| line.starts_with(start));
                let line = line.unwrap_or_else(|| panic!("no {start:?} in {told}"));
                for part in parts {
                    assert!(line.contains(part), "{part:?} in {line:?}");
                }
            }
            assert_eq!(told.lines().count(), 10, "{told}");
            assert!(!told.contains("12345") && !told.contains('\u{20ac}'), "{told}");
            assert!(told.contains("Would make 4993 endpoints") && told.contains("Nothing was stored"), "{told}");
            assert!(ended.contains("7 rows are bad"), "{ended}");
        }
        // No more than was asked for is told, and the rest is counted.
        let output = import(&world.server, "bad.csv", &["--problems", "2"]).await;
        assert_eq!((stdout(&output).lines().count(), stdout(&output).contains("7 more problems")), (4, true), "{output:?}");
        assert_eq!((world.api.endpoints_count().await, told(&world.api).await), (2, (2, 0)));

        put(&world.server, "good.csv", &good);
        let said = imported(&world.server, "good.csv", &[]).await;
        assert!(said.contains("Would make 5000 endpoints, change 0 and leave 0"), "{said}");
        assert_eq!(world.api.endpoints_count().await, 2);
        let said = imported(&world.server, "good.csv", &["--apply"]).await;
        assert!(said.contains("Made 5000 endpoints, changed 0 and left 0"), "{said}");
        assert_eq!((world.api.endpoints_count().await, told(&world.api).await), (5002, (5002, 0)));
        let said = imported(&world.server, "good.csv", &["--apply"]).await;
        assert!(said.contains("Made 0 endpoints, changed 0 and left 5000"), "{said}");
        assert_eq!((world.api.endpoints_count().await, told(&world.api).await), (5002, (5002, 0)));
        // The last of them is what its row says.
        Phone::udp(&world.server, &phone("desk4999", "secret-4999")).await.come_online().await;
        let query = "{ endpoint(by: { sipUri: \"sip:desk4999@example.test\" }) { displayName description codecs version } }";
        let seen = &world.api.data(query, json!({})).await["endpoint"];
        assert_eq!(*seen, json!({ "displayName": "Desk 4999", "description": "Room 4999, window", "codecs": ["OPUS", "PCMA"], "version": 1 }));
    }

    /// What differs is changed, and no more; bad rows are left out only when that is asked for.
    async fn h171_rows_change_what_is_there(database: Database) {
        let world = World::start(&database).await;
        put(&world.server, "a.jsonl", concat!(
            r#"{"domain":"EXAMPLE.test","name":"alice","displayName":"Alice","capacity":2}"#, "\n",
            r#"{"domain":"example.test","name":"%62ob","description":null}"#, "\n\n",
            r#"{"domain":"example.test","name":"carol"}"#, "\n",
            r#"{"domain":"example.test","name":"dave","password":"secret-of-dave","enabled":"yes"}"#, "\n",
            r#"{"domain":"example.test","name":"eve","type":"VOICEMAIL","properties":{"greeting":"hello","colour":1}}"#, "\n",
            "{\"domain\":\n"));
        let output = import(&world.server, "a.jsonl", &["--apply"]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let starts: Vec<String> = stdout(&output).lines().map(|line| line.splitn(4, ": ").take(2).collect::<Vec<_>>().join(": ")).collect();
        assert_eq!(starts[..5], ["a.jsonl:2: name", "a.jsonl:4: password", "a.jsonl:5: enabled", "a.jsonl:6: properties.colour", "a.jsonl:7: This is no JSON, at byte 10"].map(str::to_owned), "{output:?}");
        assert_eq!(world.api.endpoint(&world.alice.id).await["version"], 1);
        let said = imported(&world.server, "a.jsonl", &["--apply", "--skip-bad"]).await;
        assert!(said.contains("Made 0 endpoints, changed 1 and left 0") && said.contains("Left out 5 bad rows"), "{said}");
        let alice = world.api.endpoint(&world.alice.id).await;
        assert_eq!((&alice["displayName"], &alice["capacity"], &alice["version"]), (&json!("Alice"), &json!(2), &json!(2)));
        // Her password is as it was; another one takes its place, once, also in a server that has just let her in.
        Phone::udp(&world.server, &world.alice).await.come_online().await;
        put(&world.server, "b.csv", "name,password\nalice,new-secret-1\n");
        for changed in [1, 0] {
            let said = imported(&world.server, "b.csv", &["--apply", "--domain", DOMAIN]).await;
            assert!(said.contains(&format!("Made 0 endpoints, changed {changed} and left {}", 1 - changed)), "{said}");
        }
        eventually("the new password", || async {
            let account = phone("alice", "new-secret-1");
            let answer = Phone::udp(&world.server, &account).await.register(60).await;
            (answer.status() == 200).then_some(())
        }).await;
        let answer = Phone::udp(&world.server, &world.alice).await.register(60).await;
        assert_ne!(answer.status(), 200, "the old password");
    }

    /// A row that the first look refuses is not stored, whatever becomes of what it was refused for.
    async fn h171_what_was_refused_is_left_out(database: Database) {
        let world = World::start(&database).await;
        put(&world.server, "a.jsonl", concat!(
            r#"{"domain":"example.test","name":"alice","enabled":"yes"}"#, "\n",
            r#"{"domain":"example.test","name":"alice","displayName":"Second"}"#, "\n",
            r#"{"domain":"example.test","name":"carol","password":"secret-of-carol"}"#, "\n"));
        let output = import(&world.server, "a.jsonl", &[]).await;
        let told = stdout(&output);
        assert!(told.contains("a.jsonl:2: name: An earlier row") && told.contains("Would make 1 endpoints, change 0"), "{told}");
        assert!(stderr(&output).contains("2 rows are bad"), "{output:?}");
        let said = imported(&world.server, "a.jsonl", &["--apply", "--skip-bad"]).await;
        assert!(said.contains("Made 1 endpoints, changed 0 and left 0") && said.contains("Left out 2 bad rows"), "{said}");
        assert_eq!(world.api.endpoint(&world.alice.id).await["version"], 1);
    }

    /// A number goes from the row that takes it off an endpoint to one behind it, in one run.
    async fn h171_a_number_moves_by_a_file(database: Database) {
        let world = World::start(&database).await;
        let (server, api) = (&world.server, &world.api);
        let (one, two) = ("+12125550100", "+12125550101");
        server.cli(&["number", "assign", "--account", ACCOUNT, one, two]).await;
        let numbers = async |user: &str| {
            let query = format!("{{ endpoint(by: {{ sipUri: \"sip:{user}@{DOMAIN}\" }}) {{ numbers }} }}");
            api.data(&query, json!({})).await["endpoint"]["numbers"].clone()
        };
        let domain = ["--domain", DOMAIN, "--apply"];
        // Far behind it too, in another commit.
        let between: String = (0..260).map(|i| format!("desk{i},secret-{i},,\n")).collect();
        for (rows, said, held) in [
            (format!("name,numbers\nalice,{one} {two}\n"), "changed 1", [json!([one, two]), json!([])]),
            (format!("name,numbers\nalice,{two}\nbob,{one}\n"), "changed 2", [json!([two]), json!([one])]),
            (format!("name,password,numbers,description\nbob,,,\n{between}alice,,{one} {two},\n"), "Made 260 endpoints, changed 2", [json!([one, two]), json!([])]),
        ] {
            put(server, "a.csv", &rows);
            let looked = imported(server, "a.csv", &domain[..2]).await;
            assert!(looked.contains("Nothing was stored"), "{looked}");
            let stored = imported(server, "a.csv", &domain).await;
            assert!(stored.contains(said), "{stored}");
            assert_eq!([numbers("alice").await, numbers("bob").await], held);
            let again = imported(server, "a.csv", &domain).await;
            assert!(again.contains("Made 0 endpoints, changed 0"), "{again}");
        }
        // Before that row the number is the other's still.
        put(server, "a.csv", &format!("name,numbers\nbob,{one}\nalice,{two}\n"));
        let output = import(server, "a.csv", &domain).await;
        assert!(stdout(&output).contains("a.csv:2: numbers.0: Another endpoint has the number"), "{output:?}");
        assert_eq!([numbers("alice").await, numbers("bob").await], [json!([one, two]), json!([])]);
    }

    /// An import that is killed in the middle goes on where it was.
    async fn h171_a_broken_import_goes_on(database: Database) {
        let world = World::start(&database).await;
        put(&world.server, "a.csv", &phones(BROKEN_ROWS));
        let mut child = world.server.command(&["endpoint", "import", "--account", ACCOUNT, "--apply", "a.csv"]).spawn().unwrap();
        eventually("the first rows", || async { (world.api.endpoints_count().await > 2).then_some(()) }).await;
        child.kill().await.unwrap();
        let there = usize::try_from(world.api.endpoints_count().await).unwrap() - 2;
        assert!((1..BROKEN_ROWS).contains(&there), "{there} were stored before the break");
        let said = imported(&world.server, "a.csv", &["--apply"]).await;
        assert!(said.contains(&format!("Made {} endpoints, changed 0 and left {there}", BROKEN_ROWS - there)), "{said}");
        assert_eq!(told(&world.api).await, (BROKEN_ROWS + 2, 0));
        Phone::udp(&world.server, &phone(&format!("desk{}", BROKEN_ROWS - 1), &format!("secret-{}", BROKEN_ROWS - 1))).await.come_online().await;
    }

    /// Kamailio's users sign in with the passwords that their phones have.
    async fn h171_subscribers_of_kamailio(database: Database) {
        let world = World::start(&database).await;
        put(&world.server, "subscriber.tsv", include_str!("fixtures/kamailio-subscriber.tsv"));
        let said = imported(&world.server, "subscriber.tsv", &["--apply", "--from", "kamailio-subscriber"]).await;
        assert!(said.contains("Made 4 endpoints"), "{said}");
        let said = imported(&world.server, "subscriber.tsv", &["--apply", "--from", "kamailio-subscriber"]).await;
        assert!(said.contains("Made 0 endpoints, changed 0 and left 4"), "{said}");
        // A real client, with the digest alone; then ours, with the wrong and the right password.
        Sipp::register(&world.server, &phone("6001", "Kitchen-2019"), crate::harness::sipp::free_port()).await;
        for (user, password, status) in [("6001", "kitchen-2019", 401), ("6002", "Reception-7", 200), ("6003", "1234", 200), ("6004", "Stock-room-4", 200)] {
            let answer = Phone::udp(&world.server, &phone(user, password)).await.register(60).await;
            assert_eq!(answer.status(), status, "{user} {password}");
        }
        // With a password more digests can be made than with MD5 alone.
        for (user, kept) in [("6001", json!(["MD5"])), ("6002", json!(["SHA_256", "MD5"]))] {
            let query = format!("{{ endpoint(by: {{ sipUri: \"sip:{user}@{DOMAIN}\" }}) {{ digestAlgorithms }} }}");
            assert_eq!(world.api.data(&query, json!({})).await["endpoint"]["digestAlgorithms"], kept, "{user}");
        }
        let digest = Md5::digest(format!("6009:{DOMAIN}:secret-1").as_bytes());
        let digest = digest.iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"));
        // Digests that can't be right: of another realm than the password beside them, too short, or none at all.
        put(&world.server, "bad.csv", &format!("username,domain,password,ha1\n6009,{DOMAIN},secret-2,{digest}\n6010,{DOMAIN},,{}\n6011,{DOMAIN},,\n", &digest[1..]));
        let output = import(&world.server, "bad.csv", &["--apply", "--from", "kamailio-subscriber"]).await;
        let told = stdout(&output);
        for start in ["bad.csv:2: ha1: ", "bad.csv:3: ha1: ", "bad.csv:4: password: "] {
            assert!(told.lines().any(|line| line.starts_with(start)), "{start:?} in {told}");
        }
        assert!(!told.contains(&digest[1..]), "{told}");
    }

    /// Asterisk's phones sign in with their passwords or digests, and its trunks are trunks.
    async fn h171_endpoints_of_asterisk(database: Database) {
        let world = World::start(&database).await;
        put(&world.server, "pjsip.conf", include_str!("fixtures/pjsip.conf"));
        let from = ["--apply", "--from", "asterisk-pjsip", "--domain", DOMAIN];
        for said in ["Made 3 endpoints, changed 0 and left 0", "Made 0 endpoints, changed 0 and left 3"] {
            let told = imported(&world.server, "pjsip.conf", &from).await;
            assert!(told.contains(said), "{told}");
        }
        for (user, password) in [("6001", "Kitchen-2019"), ("6002", "Reception-7")] {
            Phone::udp(&world.server, &phone(user, password)).await.come_online().await;
        }
        let query = "{ endpoint(by: { sipUri: \"sip:6001@example.test\" }) { displayName callerId codecs type } }";
        let seen = &world.api.data(query, json!({})).await["endpoint"];
        assert_eq!(*seen, json!({ "displayName": "Alice Kitchen", "callerId": "Alice Kitchen", "codecs": ["PCMU", "PCMA", "G722"], "type": "SIP_USER" }));
        let query = "{ endpoint(by: { sipUri: \"sip:carrier@example.test\" }) { type outSipUsername hasOutSipPassword addresses { ip port transport priority } } }";
        let seen = &world.api.data(query, json!({})).await["endpoint"];
        assert_eq!(*seen, json!({ "type": "THIRD_PARTY", "outSipUsername": "acme-trunk", "hasOutSipPassword": true, "addresses": [
            { "ip": "sip.carrier.example", "port": 5080, "transport": "UDP", "priority": 0 },
            { "ip": "192.0.2.7", "port": 5060, "transport": "TCP", "priority": 1 },
        ] }));
        // Another realm, another user name, a section that is not there, a file that is not read: each with its line.
        put(&world.server, "bad.conf", "[a]\ntype=endpoint\nauth=a\n[a]\ntype=auth\nauth_type=md5\nrealm=asterisk\nusername=b\nmd5_cred=0123456789abcdef0123456789abcdef\n[c]\ntype=endpoint\nauth=nothing\n#include more.conf\n");
        let output = import(&world.server, "bad.conf", &from).await;
        let told = stdout(&output);
        for start in ["bad.conf:8: username: ", "bad.conf:9: md5_cred: ", "bad.conf:12: auth: ", "bad.conf:13: "] {
            assert!(told.lines().any(|line| line.starts_with(start)), "{start:?} in {told}");
        }
        assert_eq!(world.api.endpoints_count().await, 5);
    }

    /// What one instance exports another imports, and is the same there, with the phones' passwords.
    async fn h171_an_export_is_imported_elsewhere(database: Database) {
        let world = World::start(&database).await;
        let (server, api) = (&world.server, &world.api);
        let application = json!({ "name": "Support" });
        api.mutate("createApplication", "application { id }", application.clone()).await;
        server.cli(&["number", "assign", "--account", ACCOUNT, "+12125550100", "+12125550101"]).await;
        let trunk = json!({ "domain": DOMAIN, "name": "trunk", "type": "THIRD_PARTY", "application": "Support", "cpsLimit": 5,
            "addresses": [{ "ip": "192.0.2.1", "sipUsername": "u", "sipPassword": "first secret" }, { "ip": "192.0.2.1", "port": 5070, "direction": "INBOUND", "transport": "TLS", "srtp": true, "dstPort": 5061, "priority": 3, "locationSid": "L1" }],
            "transformations": [{ "condition": { "pattern": "^\\+1", "negate": true } }, { "rewrite": { "pattern": "^00", "replace": "+" } }, { "reject": { "pattern": "^\\+1900" } }, { "set": { "value": "+15" } }],
            "attributes": { "site": "B", "n": [1, 2.50, { "x": null }] }, "outSipUsername": "me", "outSipPassword": "second, \"secret\"", "authRequired": false });
        let phone_row = json!({ "domain": DOMAIN, "name": "caf%C3%A9", "password": "passw\u{f6}rd", "displayName": "Caf\u{e9}, \"corner\"\nline", "description": "two  spaces", "enabled": false,
            "numbers": ["+12125550101", "+12125550100"], "callerId": "Caf\u{e9}", "sendAs": "+12125550100", "allowOutside": true, "ciphers": ["AES_256_CM_HMAC_SHA1_80"], "codecs": ["OPUS", "H264"],
            "encryption": "OPTIONAL", "capacity": 7 });
        let mailbox = json!({ "domain": DOMAIN, "name": "box", "type": "VOICEMAIL", "properties": { "greeting": "hello" } });
        let robot = json!({ "domain": DOMAIN, "name": "robot", "simulation": "ECHO" });
        put(server, "a.jsonl", &[trunk, phone_row, mailbox, robot].map(|row| format!("{row}\n")).concat());
        let said = imported(server, "a.jsonl", &["--apply"]).await;
        assert!(said.contains("Made 4 endpoints"), "{said}");
        let said = imported(server, "a.jsonl", &["--apply"]).await;
        assert!(said.contains("Made 0 endpoints, changed 0 and left 4"), "{said}");
        server.cli(&["system-gateway", "create", "--account", ACCOUNT, "--domain", DOMAIN]).await;

        for format in ["csv", "jsonl"] {
            let file = format!("all.{format}");
            let output = endpoint(server, &["export", "--account", ACCOUNT, "--secrets", &file]).await;
            assert!(output.status.success(), "{output:?}");
            let path = server.folder().join(&file);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let content = std::fs::read_to_string(&path).unwrap();
            // It is there already, and stays as it is.
            let output = endpoint(server, &["export", "--account", ACCOUNT, &file]).await;
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            // Without the flag there is no secret in it.
            let output = endpoint(server, &["export", "--account", ACCOUNT, "--format", format, "-"]).await;
            for secret in ["ha1", "first secret", "second, "] {
                assert!(!stdout(&output).contains(secret) && content.contains(if format == "csv" && secret == "second, " { "second, \"\"secret" } else { secret }), "{secret}");
            }
            assert!(!content.contains("gateway"), "{content}");
            // Where it comes from it changes nothing.
            let said = imported(server, &file, &["--apply"]).await;
            assert!(said.contains("Made 0 endpoints, changed 0 and left 6"), "{said}");

            let elsewhere = Database::create(database.backend()).await;
            let other = Server::start(&elsewhere).await;
            let there = Api::of(&other);
            there.domain_create(DOMAIN, false).await;
            there.mutate("createApplication", "application { id }", application.clone()).await;
            other.cli(&["number", "assign", "--account", ACCOUNT, "+12125550100", "+12125550101"]).await;
            std::fs::copy(&path, other.folder().join(&file)).unwrap();
            let said = imported(&other, &file, &["--apply"]).await;
            assert!(said.contains("Made 6 endpoints"), "{said}");
            let mut here = endpoints(api).await;
            here.retain(|e| e["type"] != "SYSTEM_GATEWAY");
            assert_eq!(endpoints(&there).await, here);
            let output = endpoint(&other, &["export", "--account", ACCOUNT, "--secrets", "--format", format]).await;
            assert_eq!(stdout(&output), content);
            for (account, algorithm) in [(&world.alice, Algorithm::Md5), (&world.bob, Algorithm::Md5)] {
                let mut phone = Phone::udp(&other, account).await;
                phone.algorithm = algorithm;
                phone.come_online().await;
            }
            let id = text(&there.data("{ endpoint(by: { sipUri: \"sip:caf%C3%A9@example.test\" }) { id } }", json!({})).await["endpoint"]["id"]);
            there.mutate("updateEndpoint", "", json!({ "id": id, "patch": { "enabled": true } })).await;
            Phone::udp(&other, &phone("caf%C3%A9", "passw\u{f6}rd")).await.come_online().await;
        }
    }

    /// What is wrong with the file as a whole is told before anything else.
    async fn h171_a_file_that_is_none_is_refused(database: Database) {
        let world = World::start(&database).await;
        put(&world.server, "users.csv", "name,colour\nx,blue\n");
        put(&world.server, "nodomain.csv", "name\nx\n");
        put(&world.server, "users.txt", "");
        std::fs::write(world.server.folder().join("latin.csv"), b"name,domain\ncaf\xe9,example.test\n").unwrap();
        for (file, more, status, named) in [
            ("users.csv", &[][..], 1, "colour"),
            ("nodomain.csv", &[], 1, "--domain"),
            ("users.txt", &[], 64, "--format"),
            ("users.txt", &["--from", "asterisk-pjsip"], 1, "--domain"),
            ("latin.csv", &[], 1, "line 2"),
            ("absent.csv", &[], 1, "absent.csv"),
            ("users.csv", &["--skip-bad"], 64, "--apply"),
        ] {
            let output = import(&world.server, file, more).await;
            assert_eq!(output.status.code(), Some(status), "{file}: {output:?}");
            assert!(stderr(&output).contains(named), "{file}: {output:?}");
        }
        assert_eq!(world.api.endpoints_count().await, 2);
    }
}
