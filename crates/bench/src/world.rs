//! Accounts with endpoints that write to each other, made by the use cases themselves.

use crate::Failure;
use crate::open::{Instance, System};
use sipgraph_core::access::{Caller, Scope};
use sipgraph_core::app::messages::NewMessage;
use sipgraph_core::commit::{Answer, Commit};
use sipgraph_core::decide::Mint;
use sipgraph_core::decide::domains::NewDomain;
use sipgraph_core::decide::endpoints::{EndpointSettings, NewCredentials, NewEndpoint};
use sipgraph_core::decide::messages::{Outgoing, Parties, Side, send};
use sipgraph_core::decide::tokens::NewToken;
use sipgraph_core::delivery::Way;
use sipgraph_core::endpoint::EndpointType;
use sipgraph_core::json::JsonObject;
use sipgraph_core::message::{MessageOrigin, Variables};
use sipgraph_core::ports::store::{EndpointKey, Found, SendSnapshot};
use sipgraph_core::ports::{Clock as _, Store};
use sipgraph_core::{AccountId, App, DomainId, EndpointId, Fault};
use std::sync::Arc;
use std::time::Duration;

/// What is sent: of the length of an ordinary text message.
pub(crate) const BODY: &str =
    "The parcel is at the gate; could you open for the driver before half past three? Thanks!";

/// An account with endpoints.
pub(crate) struct World {
    /// A token of the account with every scope.
    pub(crate) caller: Caller,
    /// Its endpoints; each has a chat with the next, and the last with the first.
    pub(crate) endpoints: Vec<EndpointId>,
    /// What a send from each to the next is decided on.
    pub(crate) snapshots: Vec<SendSnapshot>,
}

impl World {
    /// Makes an account with a domain and endpoints, and sends one message from each to the next.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn make(
        instance: &Instance,
        name: &str,
        endpoints: usize,
    ) -> Result<Self, Failure> {
        let app = &instance.app;
        let account = app.account_create(name).await.map_err(refused)?;
        let caller = caller_make(app, account.id).await?;
        let domain = domain_make(app, &caller, &format!("{name}.example")).await?;
        let mut ids = Vec::with_capacity(endpoints);
        for number in 0..endpoints {
            ids.push(endpoint_make(app, &caller, domain, &format!("phone{number}")).await?);
        }
        let mut snapshots = Vec::with_capacity(endpoints);
        for (from, to) in neighbours(&ids) {
            app.message_send(&caller, &message(from, to), false, None)
                .await
                .map_err(refused)?;
        }
        for (from, to) in neighbours(&ids) {
            let snapshot = instance
                .store
                .send_snapshot(
                    caller.account,
                    EndpointKey::Id(from),
                    Some(EndpointKey::Id(to)),
                )
                .await?;
            snapshots.push(snapshot);
        }
        Ok(Self {
            caller,
            endpoints: ids,
            snapshots,
        })
    }

    /// Whom an endpoint writes to; numbers beyond the last begin again.
    pub(crate) fn pair(&self, number: usize) -> (EndpointId, EndpointId) {
        let count = self.endpoints.len();
        (
            self.endpoints[number % count],
            self.endpoints[(number + 1) % count],
        )
    }

    /// Decides on a send from an endpoint to the next, as `sendMessage` does.
    pub(crate) fn decide(&self, number: usize) -> Result<Commit, Failure> {
        let snapshot = &self.snapshots[number % self.snapshots.len()];
        let (Found::One(sender), Found::One(recipient)) = (&snapshot.sender, &snapshot.recipient)
        else {
            return Err("an endpoint is gone".into());
        };
        let parties = Parties {
            sender,
            from: Side::of(sender),
            recipient,
            to: Side::of(recipient),
            way: Way::Contacts,
            sender_chat: snapshot.sender_chat,
            recipient_chat: snapshot.recipient_chat,
            record_internal: snapshot.record_internal,
        };
        let mint = Mint::new(System.now(), &System);
        let outgoing = Outgoing {
            origin: MessageOrigin::Api,
            body: BODY.to_owned(),
            content_type: "text/plain".to_owned(),
            variables: Variables::new(),
            expires_at: mint.now.plus(Duration::from_secs(3 * 24 * 3600)),
            waits: true,
            call_key: None,
        };
        Ok(send(&mint, &parties, &outgoing).0)
    }
}

/// Makes a token of an account with every scope.
///
/// # Errors
/// The store failed.
pub(crate) async fn caller_make(app: &App, account: AccountId) -> Result<Caller, Failure> {
    Ok(app.token_check(&secret_make(app, account).await?).await?)
}

/// Makes a token of an account with every scope, and gives its secret.
///
/// # Errors
/// The store failed.
pub(crate) async fn secret_make(app: &App, account: AccountId) -> Result<String, Failure> {
    let scopes = Scope::ALL.iter().map(|scope| scope.as_str().to_owned());
    let token = NewToken {
        name: "bench".to_owned(),
        scopes: scopes.collect(),
        endpoints: None,
        expires_in_s: None,
    };
    let token = app.token_issue(account, &token).await.map_err(refused)?;
    let secret = token.secret.ok_or("a new token has no secret")?;
    Ok(secret.expose().to_owned())
}

/// Makes a domain that keeps its messages.
///
/// # Errors
/// The store failed.
pub(crate) async fn domain_make(
    app: &App,
    caller: &Caller,
    name: &str,
) -> Result<DomainId, Failure> {
    let domain = NewDomain {
        name: name.to_owned(),
        aliases: Vec::new(),
        description: None,
        digest_algorithms: None,
        record_internal_messages: true,
    };
    let made = app.domain_create(caller, &domain, false, None).await;
    Ok(made.map_err(refused)?.value.id)
}

/// Makes an endpoint with a generated password.
///
/// # Errors
/// The store failed.
pub(crate) async fn endpoint_make(
    app: &App,
    caller: &Caller,
    domain: DomainId,
    name: &str,
) -> Result<EndpointId, Failure> {
    endpoint_make_with(app, caller, domain, name, NewCredentials::generated()).await
}

/// Makes an endpoint with this password.
///
/// # Errors
/// The store failed.
pub(crate) async fn endpoint_make_with(
    app: &App,
    caller: &Caller,
    domain: DomainId,
    name: &str,
    password: NewCredentials,
) -> Result<EndpointId, Failure> {
    let new = NewEndpoint {
        domain,
        name: name.to_owned(),
        kind: EndpointType::SipUser,
        settings: EndpointSettings {
            credentials: password.into(),
            ..EndpointSettings::default()
        },
    };
    let made = app.endpoint_create(caller, &new, false, None).await;
    Ok(made.map_err(refused)?.value.endpoint.id)
}

/// Applies commits one after another and gives how many there were.
///
/// # Errors
/// The store failed, or did not apply one.
pub(crate) async fn commit_each(
    store: Arc<dyn Store>,
    commits: Vec<Commit>,
) -> Result<u32, Failure> {
    let mut sent = 0;
    for commit in commits {
        match store.commit(commit).await? {
            Answer::Applied(_) => sent += 1,
            other => return Err(format!("a send was not applied: {other:?}").into()),
        }
    }
    Ok(sent)
}

/// A message from one endpoint to another.
pub(crate) fn message(from: EndpointId, to: EndpointId) -> NewMessage {
    NewMessage {
        from: Some(Ok(EndpointKey::Id(from))),
        to: Ok(EndpointKey::Id(to).into()),
        body: Some(BODY.to_owned()),
        content_type: "text/plain".to_owned(),
        variables: JsonObject::new(),
        expires_in_s: None,
    }
}

/// A refusal as a failure of the benchmark.
pub(crate) fn refused(fault: Fault) -> Failure {
    match fault {
        Fault::Error(error) => error.into(),
        Fault::Refused(problems) => format!("refused: {problems:?}").into(),
    }
}

fn neighbours(ids: &[EndpointId]) -> impl Iterator<Item = (EndpointId, EndpointId)> {
    ids.iter().copied().zip(ids.iter().copied().cycle().skip(1))
}
