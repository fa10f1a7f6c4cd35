//! An edge with its application: one domain `example.com` and an endpoint `sender` that speaks by the API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use sipgraph_core::access::{Caller, Scope};
use sipgraph_core::app::messages::NewMessage;
use sipgraph_core::app::{App, Parts, Policy};
use sipgraph_core::decide::domains::NewDomain;
use sipgraph_core::decide::endpoints::{EndpointSettings, NewCredentials, NewEndpoint};
use sipgraph_core::decide::tokens::NewToken;
use sipgraph_core::digest::DigestAlgorithm;
use sipgraph_core::endpoint::{EndpointState, EndpointType};
use sipgraph_core::json::JsonObject;
use sipgraph_core::keyring::Keyring;
use sipgraph_core::message::MessageStatus;
use sipgraph_core::ports::store::{EndpointKey, MessageFilter};
use sipgraph_core::ports::{Bus, Clock, Entropy, Technology, Wake};
use sipgraph_core::{DomainId, EndpointId, MessageId, Timestamp};
use sipgraph_sip_edge::{Config, SipEdge, Transport};
use sipgraph_storage::{Address, Options, Storage};
use sipgraph_testkit::{Database, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::phone::Phone;

pub(crate) const PASSWORD: &str = "Secret1";

/// How long an attempt at a trunk may take here: far less than timer F, so that a test tells which of the two ended it.
const TRUNK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Timestamp(i64::try_from(since.as_micros()).unwrap())
    }
}

impl Entropy for System {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).unwrap();
    }
}

/// Nobody reads the log in these tests, so nobody is woken.
struct Unheard;

impl Bus for Unheard {
    fn wake(&self, _: Wake) {}

    fn wakes(&self) -> BoxStream<'static, Wake> {
        stream::pending().boxed()
    }
}

/// A running edge.
pub(crate) struct Harness {
    pub(crate) app: Arc<App>,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) technology: Arc<dyn Technology>,
    caller: Caller,
    domain: DomainId,
    stop: CancellationToken,
    served: JoinHandle<()>,
    database: Database,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[DigestAlgorithm::Md5]).await
    }

    /// Starts an edge whose domain offers these algorithms.
    pub(crate) async fn start_with(algorithms: &[DigestAlgorithm]) -> Self {
        let database = Database::sqlite();
        let address = Address::parse(database.url()).unwrap();
        sipgraph_storage::migrate(&address).await.unwrap();
        let (keys, entropy) = (Keyring::new([3; 32]), Arc::new(System));
        let options = Options::default();
        let store = Storage::open(
            &address,
            keys.clone(),
            entropy.clone(),
            System.now(),
            &options,
        );
        let app = App::new(Parts {
            store: Arc::new(store.await.unwrap()),
            bus: Arc::new(Unheard),
            clock: Arc::new(System),
            entropy,
            keys,
            policy: Policy::default(),
        });
        let account = app.account_create("test").await.unwrap();
        let token = NewToken {
            name: "test".into(),
            scopes: Scope::ALL
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            endpoints: None,
            expires_in_s: None,
        };
        let token = app.token_issue(account.id, &token).await.unwrap();
        let caller = app
            .token_check(token.secret.unwrap().expose())
            .await
            .unwrap();
        let domain = NewDomain {
            name: "example.com".into(),
            aliases: vec!["127.0.0.1".into()],
            description: None,
            digest_algorithms: Some(algorithms.to_vec()),
            record_internal_messages: true,
        };
        let domain = app
            .domain_create(&caller, &domain, false, None)
            .await
            .unwrap()
            .value
            .id;
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            udp_listen: vec![any],
            tcp_listen: vec![any],
            trunk_networks: vec!["127.0.0.0/8".parse().unwrap()],
            trunk_timeout: TRUNK_TIMEOUT,
            ..Config::default()
        };
        let edge = SipEdge::bind(config, Arc::clone(&app)).await.unwrap();
        let addresses = edge.addresses();
        let listener = |transport| addresses.iter().find(|(t, _)| *t == transport).unwrap().1;
        let (udp, tcp) = (listener(Transport::Udp), listener(Transport::Tcp));
        let stop = CancellationToken::new();
        let technology = edge.technology();
        tokio::spawn(deliver(
            Arc::clone(&app),
            Arc::clone(&technology),
            stop.clone(),
        ));
        let served = tokio::spawn(edge.serve(stop.clone()));
        let harness = Self {
            app,
            udp,
            tcp,
            technology,
            caller,
            domain,
            stop,
            served,
            database,
        };
        harness.endpoint("sender").await;
        harness
    }

    /// Stops the edge and waits until it has ended.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.served).await.unwrap();
    }

    /// Makes every statement on the bindings fail, until [`Harness::mend_bindings`].
    pub(crate) fn break_bindings(&self) {
        self.execute("ALTER TABLE bindings RENAME TO bindings_away");
    }

    pub(crate) fn mend_bindings(&self) {
        self.execute("ALTER TABLE bindings_away RENAME TO bindings");
    }

    fn execute(&self, statement: &str) {
        let connection = rusqlite::Connection::open(self.database.file().unwrap()).unwrap();
        connection.execute_batch(statement).unwrap();
    }

    pub(crate) async fn endpoint(&self, name: &str) -> EndpointId {
        self.endpoint_with(name, PASSWORD, true).await
    }

    pub(crate) async fn endpoint_with(
        &self,
        name: &str,
        password: &str,
        enabled: bool,
    ) -> EndpointId {
        let endpoint = NewEndpoint {
            domain: self.domain,
            name: name.into(),
            kind: EndpointType::SipUser,
            settings: EndpointSettings {
                credentials: NewCredentials::password(password).into(),
                enabled: enabled.into(),
                ..EndpointSettings::default()
            },
        };
        self.app
            .endpoint_create(&self.caller, &endpoint, false, None)
            .await
            .unwrap()
            .value
            .endpoint
            .id
    }

    /// A phone of this user on each transport.
    pub(crate) async fn phones(&self, user: &str) -> [Phone; 2] {
        [
            Phone::udp(self.udp, user, "example.com", PASSWORD).await,
            Phone::tcp(self.tcp, user, "example.com", PASSWORD).await,
        ]
    }

    pub(crate) async fn state(&self, id: EndpointId) -> EndpointState {
        self.app
            .endpoint(&self.caller, EndpointKey::Id(id))
            .await
            .unwrap()
            .state
    }

    pub(crate) async fn state_becomes(&self, id: EndpointId, expected: EndpointState) {
        eventually("the change of the endpoint's state", PATIENCE, || async {
            (self.state(id).await == expected).then_some(())
        })
        .await;
    }

    /// Sends a message from `sender` by the API.
    pub(crate) async fn send(&self, to: &str, body: &str) -> MessageId {
        let by_name = |name: &str| EndpointKey::Name {
            domain: None,
            canonical: name.to_owned(),
        };
        let message = NewMessage {
            from: Some(Ok(by_name("sender"))),
            to: Ok(by_name(to).into()),
            body: Some(body.to_owned()),
            content_type: "text/plain".into(),
            variables: JsonObject::new(),
            expires_in_s: None,
        };
        self.app
            .message_send(&self.caller, &message, false, None)
            .await
            .unwrap()
            .value
            .message
            .unwrap()
            .id
    }

    pub(crate) async fn status_becomes(&self, id: MessageId, expected: MessageStatus) {
        eventually("the change of the message's status", PATIENCE, || async {
            let message = self.app.message(&self.caller, id).await.unwrap();
            (message.status == expected).then_some(())
        })
        .await;
    }

    /// How many messages all endpoints keep.
    pub(crate) async fn messages(&self) -> i64 {
        self.app
            .messages_count(&self.caller, MessageFilter::default())
            .await
            .unwrap()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs the delivery as the program does.
async fn deliver(app: Arc<App>, technology: Arc<dyn Technology>, stop: CancellationToken) {
    let run = async {
        loop {
            let due = app.delivery_due();
            match app.delivery_step(&technology, 64).await.unwrap() {
                Some(rounds) => rounds
                    .into_iter()
                    .for_each(|round| drop(tokio::spawn(round))),
                None => drop(tokio::time::timeout(Duration::from_secs(1), due).await),
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = run => {}
    }
}
