//! GraphQL over HTTP, as a front end speaks it.

use futures_util::future::join_all;

use super::{STEP, Server, Value, json};

/// What is selected of a refusal.
pub(crate) const REFUSAL: &str = "code message field detail { rule offset byteOffset character rfc limit actual currentVersion writableFields }";

/// A GraphQL client with a token.
#[derive(Clone)]
pub(crate) struct Api {
    /// The HTTP client; follows no redirect.
    pub(crate) http: reqwest::Client,
    /// The address of the GraphQL route.
    pub(crate) url: String,
    /// The bearer token; none for a request without one.
    pub(crate) token: Option<String>,
}

impl Api {
    /// Returns a client with the server's own token.
    pub(crate) fn of(server: &Server) -> Self {
        Self::with(server, &server.token)
    }

    /// Returns a client with another token.
    pub(crate) fn with(server: &Server, token: &str) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(STEP)
            .build()
            .unwrap();
        Self {
            http,
            url: format!("{}/graphql", server.url),
            token: Some(token.to_owned()),
        }
    }

    /// Returns the same client with another token, or with none.
    pub(crate) fn as_token(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// Posts an operation and gives the response as sent, or what went wrong on the way.
    pub(crate) async fn try_gql(
        &self,
        query: &str,
        variables: Value,
    ) -> Result<Value, reqwest::Error> {
        self.post(json!({ "query": query, "variables": variables }))
            .await?
            .json()
            .await
    }

    /// Posts a body.
    pub(crate) async fn post(&self, body: Value) -> Result<reqwest::Response, reqwest::Error> {
        let mut request = self
            .http
            .post(&self.url)
            .header("Accept", "application/graphql-response+json")
            .json(&body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await
    }

    /// Posts an operation and gives the whole response.
    pub(crate) async fn gql(&self, query: &str, variables: Value) -> Value {
        self.try_gql(query, variables)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Posts an operation that must have no top-level error and gives its data.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut response = self.gql(query, variables.clone()).await;
        assert!(
            response.get("errors").is_none(),
            "{query} with {variables}: {response}"
        );
        response["data"].take()
    }

    /// Posts an operation that must fail and gives the code of its first error.
    pub(crate) async fn error(&self, query: &str, variables: Value) -> String {
        let response = self.gql(query, variables).await;
        code(&response)
            .unwrap_or_else(|| panic!("{query}: no error in {response}"))
            .to_owned()
    }

    /// Calls a mutation fifty times at once with one idempotency key, of which one call alone is done. Gives that one's payload
    /// and those of the others.
    pub(crate) async fn mutate_fifty(
        &self,
        mutation: &str,
        select: &str,
        input: &Value,
    ) -> (Value, Vec<Value>) {
        let payloads =
            join_all((0..50).map(|_| self.mutate(mutation, select, input.clone()))).await;
        assert!(
            payloads.iter().all(|p| p["userErrors"] == json!([])),
            "{mutation}: {payloads:?}"
        );
        let (mut done, replays): (Vec<Value>, Vec<Value>) =
            payloads.into_iter().partition(|p| p["replayed"] == false);
        assert_eq!(done.len(), 1, "{mutation}: {done:?}");
        assert!(
            replays.iter().all(|p| p["replayed"] == true),
            "{mutation}: {replays:?}"
        );
        (done.remove(0), replays)
    }

    /// Calls a mutation whose one argument is `input` and gives its payload; `select` is what is asked of it besides
    /// the refusals.
    pub(crate) async fn mutate(&self, field: &str, select: &str, input: Value) -> Value {
        let (query, variables) = mutation(field, select, input);
        self.data(&query, variables).await[field].take()
    }

    /// Calls a mutation that must be refused and gives its refusals.
    pub(crate) async fn refused(&self, field: &str, input: Value) -> Vec<Value> {
        let payload = self.mutate(field, "", input.clone()).await;
        let errors = payload["userErrors"].as_array().cloned().unwrap();
        assert!(!errors.is_empty(), "{field} with {input} was not refused");
        errors
    }

    /// Calls a mutation that must be refused for one reason at one field.
    pub(crate) async fn refused_at(&self, field: &str, input: Value, code: &str, at: &str) {
        let errors = self.refused(field, input.clone()).await;
        let seen: Vec<(String, String)> =
            errors.iter().map(|e| (code_of(e), field_of(e))).collect();
        assert_eq!(
            seen,
            [(code.to_owned(), at.to_owned())],
            "{field} with {input}: {errors:?}"
        );
        for error in &errors {
            let text = error["message"].as_str().unwrap();
            assert!(text.len() > 10, "a reason in words: {error}");
        }
    }

    /// The head of the event log.
    pub(crate) async fn event_cursor(&self) -> String {
        text(&self.data("{ eventCursor }", json!({})).await["eventCursor"])
    }
}

/// Writes a mutation with one `input` argument.
pub(crate) fn mutation(field: &str, select: &str, input: Value) -> (String, Value) {
    let kind: String = field[..1].to_ascii_uppercase() + &field[1..];
    let query = format!(
        "mutation($input: {kind}Input!) {{ {field}(input: $input) {{ {select} userErrors {{ {REFUSAL} }} }} }}"
    );
    (query, json!({ "input": input }))
}

/// The code of the first top-level error.
pub(crate) fn code(response: &Value) -> Option<&str> {
    response["errors"][0]["extensions"]["code"].as_str()
}

/// The code of a refusal.
pub(crate) fn code_of(error: &Value) -> String {
    text(&error["code"])
}

/// The field path of a refusal, joined by dots.
pub(crate) fn field_of(error: &Value) -> String {
    let path: Vec<String> = list(&error["field"]).iter().map(text).collect();
    path.join(".")
}

/// A string of a response.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no string"))
        .to_owned()
}

/// A list of a response.
#[track_caller]
pub(crate) fn list(value: &Value) -> Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"))
        .clone()
}
