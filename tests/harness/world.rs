//! The usual stage: a server, a domain and the endpoints alice and bob; and the verbs that tests speak in.

use super::graphql::{list, text};
use super::{Api, Database, Server, Value, eventually, json};

/// The domain of the usual stage.
pub(crate) const DOMAIN: &str = "example.test";

/// What is asked of an endpoint.
pub(crate) const ENDPOINT: &str = "id externalId technology resource name displayName description \
     enabled state sipUri version createdAt updatedAt credentials { username realm hasPassword } domain { id name } \
     contacts { id uri transport userAgent status roundTripMs registeredAt expiresAt } recordType type digestAlgorithms channelIds callerId \
     numbers sendAs allowOutside ciphers codecs encryption effectiveCiphers effectiveCodecs effectiveEncryption effectiveSendAs capacity cpsLimit authRequired attributes properties simulation \
     addresses { id direction ip port dstPort priority transport srtp locationSid sipUsername hasSipPassword } \
     transformations { id rule { kind pattern replace value negate } } outSipUsername hasOutSipPassword";

/// What is asked of a message.
pub(crate) const MESSAGE: &str = "id exchangeId endpointId chatId direction origin from to body contentType status read seq \
     createdAt statusAt expiresAt failure { code sipStatus reason } \
     deliveries { attempt contactUri transport callId sipStatus reason outcome }";

/// What is asked of a chat.
pub(crate) const CHAT: &str = "id endpointId ownNumber peer unreadCount messageCount createdAt updatedAt lastMessage { id body direction }";

/// An endpoint with what a phone needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its id.
    pub(crate) id: String,
    /// The user part of its address.
    pub(crate) user: String,
    /// Its domain, which is the realm.
    pub(crate) domain: String,
    /// Its password.
    pub(crate) password: String,
}

impl Account {
    /// Its address-of-record.
    pub(crate) fn uri(&self) -> String {
        format!("sip:{}@{}", self.user, self.domain)
    }

    /// Its address in chats.
    pub(crate) fn address(&self) -> String {
        format!("{}@{}", self.user, self.domain)
    }
}

/// The usual stage.
pub(crate) struct World {
    /// The server.
    pub(crate) server: Server,
    /// A client with every scope.
    pub(crate) api: Api,
    /// The id of [`DOMAIN`].
    pub(crate) domain: String,
    /// An endpoint.
    pub(crate) alice: Account,
    /// Another.
    pub(crate) bob: Account,
}

impl World {
    /// Starts a server with a domain that records what its devices say, and two endpoints.
    pub(crate) async fn start(database: &Database) -> Self {
        Self::on(Server::start(database).await).await
    }

    /// Makes the usual stage on a server.
    pub(crate) async fn on(server: Server) -> Self {
        let api = Api::of(&server);
        let domain = api.domain_create(DOMAIN, true).await;
        let alice = api.endpoint_create(&domain, "alice").await;
        let bob = api.endpoint_create(&domain, "bob").await;
        Self {
            server,
            api,
            domain,
            alice,
            bob,
        }
    }
}

impl Api {
    /// Makes a domain and gives its id.
    pub(crate) async fn domain_create(&self, name: &str, record: bool) -> String {
        let input = json!({ "name": name, "recordInternalMessages": record });
        let payload = self.mutate("createDomain", "domain { id }", input).await;
        assert_eq!(payload["userErrors"], json!([]), "{name}");
        text(&payload["domain"]["id"])
    }

    /// Makes an endpoint with a password of its own.
    pub(crate) async fn endpoint_create(&self, domain: &str, name: &str) -> Account {
        let password = format!("secret-of-{name}");
        let input =
            json!({ "domainId": domain, "name": name, "credentials": { "password": password } });
        let payload = self
            .mutate(
                "createEndpoint",
                "endpoint { id credentials { username realm } }",
                input,
            )
            .await;
        assert_eq!(payload["userErrors"], json!([]), "{name}");
        let endpoint = &payload["endpoint"];
        Account {
            id: text(&endpoint["id"]),
            user: text(&endpoint["credentials"]["username"]),
            domain: text(&endpoint["credentials"]["realm"]),
            password,
        }
    }

    /// Makes a trunk called `gw` with these addresses, and with these fields beside them, and gives its id.
    pub(crate) async fn trunk_create(
        &self,
        domain: &str,
        addresses: Value,
        extra: Value,
    ) -> String {
        let mut input = json!({ "domainId": domain, "name": "gw", "type": "THIRD_PARTY", "addresses": addresses });
        for (field, value) in extra.as_object().unwrap() {
            input[field] = value.clone();
        }
        let payload = self
            .mutate("createEndpoint", "endpoint { id }", input)
            .await;
        assert_eq!(payload["userErrors"], json!([]));
        text(&payload["endpoint"]["id"])
    }

    /// Reads an endpoint.
    pub(crate) async fn endpoint(&self, id: &str) -> Value {
        let query = format!("query($id: ID!) {{ endpoint(by: {{ id: $id }}) {{ {ENDPOINT} }} }}");
        self.data(&query, json!({ "id": id })).await["endpoint"].take()
    }

    /// How many endpoints there are.
    pub(crate) async fn endpoints_count(&self) -> i64 {
        let data = self.data("{ endpoints { totalCount } }", json!({})).await;
        data["endpoints"]["totalCount"].as_i64().unwrap()
    }

    /// Waits until an endpoint has a state.
    pub(crate) async fn state_is(&self, endpoint: &Account, state: &str) {
        let what = format!("{} being {state}", endpoint.user);
        eventually(&what, || async {
            let seen = self.endpoint(&endpoint.id).await;
            (seen["state"] == state).then_some(())
        })
        .await;
    }

    /// Sends a message between endpoints and gives the sender's copy.
    pub(crate) async fn send(&self, from: &Account, to: &Account, body: &str) -> Value {
        let input = json!({ "from": { "endpointId": from.id }, "to": { "endpointId": to.id }, "body": body });
        self.send_input(input).await
    }

    /// Sends a message and gives the sender's copy.
    pub(crate) async fn send_input(&self, input: Value) -> Value {
        let select = format!("replayed message {{ {MESSAGE} }}");
        let mut payload = self.mutate("sendMessage", &select, input.clone()).await;
        assert_eq!(payload["userErrors"], json!([]), "{input}");
        payload["message"].take()
    }

    /// Reads a message.
    pub(crate) async fn message(&self, id: &str) -> Value {
        let query = format!("query($id: ID!) {{ message(id: $id) {{ {MESSAGE} }} }}");
        self.data(&query, json!({ "id": id })).await["message"].take()
    }

    /// Waits until a message has a status and gives it then.
    pub(crate) async fn message_is(&self, id: &str, status: &str) -> Value {
        let what = format!("the message being {status}");
        eventually(&what, || async {
            let message = self.message(id).await;
            (message["status"] == status).then_some(message)
        })
        .await
    }

    /// Lists messages, newest first, at most a thousand.
    pub(crate) async fn messages(&self, filter: Value) -> Vec<Value> {
        let query = format!(
            "query($filter: MessageFilter) {{ messages(first: 1000, filter: $filter) {{ nodes {{ {MESSAGE} }} }} }}"
        );
        let data = self.data(&query, json!({ "filter": filter })).await;
        list(&data["messages"]["nodes"])
    }

    /// Lists the ids and bodies of all messages, newest first, page by page.
    pub(crate) async fn messages_all(&self, filter: Value) -> Vec<(String, String)> {
        let query = "query($filter: MessageFilter, $after: Cursor) { messages(first: 1000, after: $after, filter: $filter) {
            nodes { id body } pageInfo { hasNextPage endCursor } } }";
        let (mut all, mut after) = (Vec::new(), Value::Null);
        loop {
            let data = self
                .data(query, json!({ "filter": filter, "after": after }))
                .await;
            let page = &data["messages"];
            all.extend(
                list(&page["nodes"])
                    .iter()
                    .map(|m| (text(&m["id"]), text(&m["body"]))),
            );
            if page["pageInfo"]["hasNextPage"] != json!(true) {
                return all;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
    }

    /// The bodies of messages, newest first.
    pub(crate) async fn bodies(&self, filter: Value) -> Vec<String> {
        let messages = self.messages(filter).await;
        messages.iter().map(|m| text(&m["body"])).collect()
    }

    /// Lists chats, last active first, at most a thousand.
    pub(crate) async fn chats(&self, filter: Value) -> Vec<Value> {
        let query = format!(
            "query($filter: ChatFilter) {{ chats(first: 1000, filter: $filter) {{ nodes {{ {CHAT} }} }} }}"
        );
        let data = self.data(&query, json!({ "filter": filter })).await;
        list(&data["chats"]["nodes"])
    }

    /// Lists the log from the oldest event that is kept.
    pub(crate) async fn log(&self, types: &[&str]) -> Vec<Value> {
        let query = "query($after: Cursor, $filter: EventFilter) { events(first: 1000, after: $after, filter: $filter) {
            edges { cursor node { id type at } } pageInfo { hasNextPage endCursor } } }";
        let filter = match types {
            [] => Value::Null,
            types => json!({ "types": types }),
        };
        let mut all = Vec::new();
        let mut after = Value::Null;
        loop {
            let variables = json!({ "after": after, "filter": filter });
            let data = self.data(query, variables).await;
            let page = &data["events"];
            all.extend(list(&page["edges"]).iter().map(|edge| edge["node"].clone()));
            if page["pageInfo"]["hasNextPage"] != json!(true) {
                return all;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
    }
}
