//! A schema with one field for each behaviour that the transport must show.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_graphql::{
    Context, Data, Error, ErrorExtensions, InputObject, MaybeUndefined, Object, Schema,
    SimpleObject, Subscription, futures_util::Stream,
};
use axum::http::{HeaderMap, header};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde_json::{Map, Value};
use sipgraph_graphql_transport::{Authenticate, Close, Drain, Refusal, Session};
use tokio::sync::Notify;

/// The schema of the tests and of the example.
pub(crate) type EchoSchema = Schema<Query, Mutation, Subscriptions>;

/// What the resolvers share with a test.
#[derive(Clone, Default)]
pub(crate) struct World {
    /// Executions of `add`.
    pub(crate) calls: Arc<AtomicU32>,
    /// Lets `slow` go on.
    pub(crate) go: Arc<Notify>,
    /// Raised when `slow` begins.
    pub(crate) began: Arc<Notify>,
    /// Ends the sessions of sockets.
    pub(crate) revoke: Arc<Notify>,
    /// The drain of the server.
    pub(crate) drain: Drain,
}

/// Returns the schema over `world`.
pub(crate) fn schema(world: &World) -> EchoSchema {
    Schema::build(Query, Mutation, Subscriptions)
        .data(world.clone())
        .finish()
}

/// The name that a caller gave.
pub(crate) struct Name(String);

/// Queries.
pub(crate) struct Query;

#[Object]
impl Query {
    /// Says hello.
    async fn hello(&self, name: Option<String>) -> String {
        format!("hello {}", name.unwrap_or_else(|| "world".into()))
    }

    /// The caller.
    async fn whoami(&self, ctx: &Context<'_>) -> String {
        ctx.data_opt::<Name>()
            .map_or_else(|| "nobody".into(), |name| name.0.clone())
    }

    /// Returns its argument.
    async fn int(&self, value: i32) -> i32 {
        value
    }

    /// A nullable field that fails with a code.
    async fn coded(&self) -> Option<Result<String, Error>> {
        let error = Error::new("not here").extend_with(|_, e| e.set("code", "NOT_FOUND"));
        Some(Err(error))
    }

    /// A nullable field that fails with internals.
    async fn fault(&self) -> Option<Result<String, Error>> {
        Some(Err(Error::new("password of 10.0.0.1 is secret")))
    }

    /// A field that panics.
    async fn panics(&self) -> Option<String> {
        bug()
    }

    /// A nullable object with a non-null field that fails.
    async fn parent(&self) -> Option<Parent> {
        Some(Parent)
    }

    /// Ends after its sibling `quick`.
    async fn late(&self) -> i32 {
        tokio::task::yield_now().await;
        1
    }

    /// Ends at once.
    async fn quick(&self) -> i32 {
        2
    }

    /// Waits for the test, then counts.
    async fn slow(&self, ctx: &Context<'_>) -> u32 {
        let world = ctx.data_unchecked::<World>();
        world.began.notify_one();
        world.go.notified().await;
        world.calls.fetch_add(1, Ordering::SeqCst)
    }

    /// Says what a patch holds.
    async fn patch(&self, patch: Patch) -> String {
        match patch.label {
            MaybeUndefined::Undefined => "absent".into(),
            MaybeUndefined::Null => "null".into(),
            MaybeUndefined::Value(text) => text,
        }
    }
}

fn bug() -> Option<String> {
    panic!("a bug")
}

/// An object with a field that fails.
pub(crate) struct Parent;

#[Object]
impl Parent {
    /// Fails, and is not nullable.
    async fn required(&self) -> Result<String, Error> {
        Err(Error::new("no").extend_with(|_, e| e.set("code", "NOT_FOUND")))
    }

    /// Works.
    async fn fine(&self) -> i32 {
        1
    }
}

/// Fields to change.
#[derive(InputObject)]
pub(crate) struct Patch {
    /// Absent keeps, null clears.
    pub(crate) label: MaybeUndefined<String>,
}

/// Mutations.
pub(crate) struct Mutation;

#[Object]
impl Mutation {
    /// Counts a call.
    async fn add(&self, ctx: &Context<'_>, by: i32) -> Added {
        let calls = &ctx.data_unchecked::<World>().calls;
        Added {
            calls: calls.fetch_add(1, Ordering::SeqCst) + 1,
            by,
        }
    }
}

/// What `add` did.
#[derive(SimpleObject)]
pub(crate) struct Added {
    /// Calls so far.
    calls: u32,
    /// The argument.
    by: i32,
}

/// Subscriptions.
pub(crate) struct Subscriptions;

#[Subscription]
impl Subscriptions {
    /// Counts down to zero, then completes.
    async fn countdown(&self, from: i32) -> impl Stream<Item = i32> {
        stream::iter((0..=from).rev())
    }

    /// Yields 1, then -1 when the server drains, and ends.
    async fn live(&self, ctx: &Context<'_>) -> impl Stream<Item = i32> + use<> {
        let drain = ctx.data_unchecked::<World>().drain.clone();
        let last = async move {
            drain.begun().await;
            -1
        };
        stream::iter([1]).chain(stream::once(last))
    }

    /// Yields 1 and then nothing, and does not listen to the drain.
    async fn deaf(&self) -> impl Stream<Item = i32> {
        stream::iter([1]).chain(stream::pending())
    }

    /// Yields as fast as it is read, `bytes` at a time.
    async fn flood(&self, bytes: u32) -> impl Stream<Item = String> {
        let text = "x".repeat(bytes.try_into().unwrap_or_default());
        stream::repeat(text)
    }

    /// Cannot be opened.
    async fn closed(&self) -> Result<impl Stream<Item = i32>, Error> {
        let error = Error::new("wrong cursor").extend_with(|_, e| e.set("code", "BAD_USER_INPUT"));
        Err::<stream::Empty<i32>, _>(error)
    }

    /// Panics after its first item.
    async fn breaks(&self) -> impl Stream<Item = i32> {
        stream::iter([1, 2]).map(|n| {
            assert!(n < 2, "a bug");
            n
        })
    }
}

/// Takes any name but `mallory`; over a socket from `name` in the payload of `connection_init`.
pub(crate) struct ByName(pub(crate) World);

impl Authenticate for ByName {
    fn http<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Data, Refusal>> {
        let name = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .map(ToOwned::to_owned);
        async move { data(name) }.boxed()
    }

    fn websocket<'a>(
        &'a self,
        init: &'a Map<String, Value>,
        _headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Session, Refusal>> {
        let name = init
            .get("name")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned);
        let revoke = Arc::clone(&self.0.revoke);
        async move {
            if name.as_deref() == Some("nobody can tell") {
                return Err(Refusal::unavailable("no database"));
            }
            let ended = async move {
                tokio::time::timeout(Duration::from_secs(60), revoke.notified())
                    .await
                    .ok();
                Close::unauthorized("Token revoked")
            };
            Ok(Session {
                data: data(name)?,
                ended: ended.boxed(),
            })
        }
        .boxed()
    }
}

fn data(name: Option<String>) -> Result<Data, Refusal> {
    let mut data = Data::default();
    match name {
        Some(name) if name == "mallory" => {
            return Err(Refusal::unauthenticated("This name is refused"));
        }
        Some(name) => data.insert(Name(name)),
        None => {}
    }
    Ok(data)
}
