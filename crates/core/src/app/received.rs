//! Messages that come in by SIP, from devices and by trunks: stored when they are answered, delivered later.
//!
//! It must not ask who sent one: the front door has had that proven.

use super::{App, contended, key_reused};
use crate::address::Call;
use crate::commit::{Answer, Idempotency};
use crate::decide::Mint;
use crate::decide::delivery::canonical_address;
use crate::decide::messages::{Outgoing, Parties, Side, send, sender as sender_of};
use crate::decide::routing::{is_e164, transformed};
use crate::delivery::Way;
use crate::endpoint::Endpoint;
use crate::error::{Problem, ProblemCode};
use crate::message::{BODY_BYTES_MAX, CallKey, MessageOrigin, Variables};
use crate::ports::store::{EndpointKey, Found};
use crate::{AccountId, EndpointId, Error, ExchangeId, Fault};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// What a MESSAGE carries, and what names it among those of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The text.
    pub body: String,
    /// Its media type.
    pub content_type: String,
    /// Its other header fields, by [`crate::decide::variables::received`].
    pub variables: Variables,
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// From tag.
    pub from_tag: String,
    /// The Expires header, in seconds.
    pub expires_s: Option<u32>,
}

/// A MESSAGE that a device sent and that was authenticated as its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMessage {
    /// The sender, by its digest.
    pub sender: Endpoint,
    /// The domain of the request-URI, in lower case.
    pub to_domain: String,
    /// The user of the request-URI as it was written.
    pub to_user: String,
    /// The rest of it.
    pub received: Received,
}

/// A MESSAGE that came by a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkMessage {
    /// The trunk, known by its address or by its digest.
    pub trunk: Endpoint,
    /// The URI of From.
    pub from_uri: String,
    /// The user of From, as it was written.
    pub from_user: Option<String>,
    /// The user of the request-URI, as it was written.
    pub to_user: String,
    /// The rest of it.
    pub received: Received,
}

/// Between whom a message that came by a trunk is.
struct Called {
    trunk: Endpoint,
    number: String,
    owner: Endpoint,
}

impl App {
    /// Takes a MESSAGE from a device: stored when this returns, delivered later. The same Call-ID, CSeq and From tag
    /// again is the same message.
    ///
    /// # Errors
    /// Problems on `to`: `NotFound` and `NoRoute` (404), `EndpointDisabled` (480). On `from`: `EndpointDisabled`, `NoRoute`
    /// and `NoSenderNumber` (403). On `body`: `Validation` (413). An [`Error`] is answered 503 with Retry-After, or 500.
    pub async fn message_receive(&self, message: &DeviceMessage) -> Result<ExchangeId, Fault> {
        let DeviceMessage {
            sender, received, ..
        } = message;
        let key = Self::received_key(sender.id, received)?;
        let call = device_call(&message.to_domain, &message.to_user)
            .ok_or_else(|| Problem::not_found("to", "endpoint"))?;
        let calls = [call];
        let from = EndpointKey::Id(sender.id);
        for _ in 0..super::ATTEMPTS {
            let mint = self.mint();
            let gathered = self.message_gather(sender.account, &from, &calls).await?;
            let parties = match self.message_plan(&mint, &gathered, None).await? {
                Ok((parties, _)) => parties,
                Err(problems) => return self.received_before(sender.account, key, problems).await,
            };
            let origin = MessageOrigin::Sip;
            if let Some(exchange) = self
                .received_store(&mint, &parties, origin, received, &key)
                .await?
            {
                return Ok(exchange);
            }
        }
        Err(contended().into())
    }

    /// Takes a MESSAGE that came by a trunk, for the endpoint of its account that has the called number: kept there when
    /// this returns, delivered to its devices later. The same Call-ID, CSeq and From tag again is the same message.
    ///
    /// # Errors
    /// Problems on `to`: `NotFound` (404) for what the trunk's transformations make no number of the account,
    /// `EndpointDisabled` (480). On `from`: `NotFound` and `EndpointDisabled` (403). On `body`: `Validation` (413). An
    /// [`Error`] is answered 503 with Retry-After, or 500.
    pub async fn trunk_receive(&self, message: &TrunkMessage) -> Result<ExchangeId, Fault> {
        let TrunkMessage {
            trunk, received, ..
        } = message;
        let key = Self::received_key(trunk.id, received)?;
        for _ in 0..super::ATTEMPTS {
            let mint = self.mint();
            let called = match self.trunk_called(message).await {
                Ok(called) => called,
                Err(Fault::Refused(problems)) => {
                    return self.received_before(trunk.account, key, problems).await;
                }
                Err(fault) => return Err(fault),
            };
            let parties = self.trunk_parties(message, &called).await?;
            let origin = MessageOrigin::Trunk;
            if let Some(exchange) = self
                .received_store(&mint, &parties, origin, received, &key)
                .await?
            {
                return Ok(exchange);
            }
        }
        Err(contended().into())
    }

    /// Finds who is called by a trunk.
    async fn trunk_called(&self, message: &TrunkMessage) -> Result<Called, Fault> {
        let account = message.trunk.account;
        let key = EndpointKey::Id(message.trunk.id);
        let found = self.store.endpoint(account, key).await?;
        let trunk = sender_of(&found)?;
        let number = transformed(trunk, &message.to_user).number;
        let unknown = || Problem::not_found("to", "number");
        let number = number
            .filter(|number| is_e164(number))
            .ok_or_else(unknown)?;
        let key = EndpointKey::Number(number.clone());
        let Found::One(owner) = self.store.endpoint(account, key).await? else {
            return Err(unknown().into());
        };
        if !owner.enabled {
            let text = format!("The endpoint {} is disabled.", owner.address());
            return Err(Problem::new(ProblemCode::EndpointDisabled, "to", text).into());
        }
        Ok(Called {
            trunk: trunk.clone(),
            number,
            owner,
        })
    }

    async fn trunk_parties<'c>(
        &self,
        message: &TrunkMessage,
        called: &'c Called,
    ) -> Result<Parties<'c>, Error> {
        let Called {
            trunk,
            number,
            owner,
        } = called;
        let from = match message.from_user.as_deref().map(sip_validate::e164) {
            // In a domain of ours, so that a phone can answer to it.
            Some(Ok(caller)) => Side::of_number(&caller, &owner.domain_name),
            Some(Err(_)) | None => Side {
                address: canonical_address(&message.from_uri),
                uri: message.from_uri.clone(),
                number: None,
            },
        };
        let mut parties = Parties {
            sender: trunk,
            from,
            recipient: owner,
            to: Side::of_number(number, &owner.domain_name),
            way: Way::Contacts,
            sender_chat: None,
            recipient_chat: None,
            record_internal: false,
        };
        let [_, chat] = self.chats_with(trunk.account, parties.chat_keys()).await?;
        parties.recipient_chat = chat;
        Ok(parties)
    }

    /// Makes the idempotency record of a MESSAGE: Call-ID, CSeq and From tag of its sender name it, and a proxy may have
    /// changed the rest on another way. Nothing of it is secret, so that its digest needs no key and outlives the instance's.
    fn received_key(sender: EndpointId, received: &Received) -> Result<Idempotency, Fault> {
        if received.body.len() > BODY_BYTES_MAX {
            return Err(Problem::validation("body", "The body is too large.").into());
        }
        let mut name = Sha256::new();
        let parts: [&[u8]; 3] = [
            received.call_id.as_bytes(),
            &received.cseq.to_be_bytes(),
            received.from_tag.as_bytes(),
        ];
        crate::digest::framed(&parts, |octets| name.update(octets));
        Ok(Idempotency {
            actor: sender.0,
            operation: "MESSAGE",
            key: crate::digest::hex(&name.finalize()),
            input: [0; 32].into(),
            result: Vec::new(),
        })
    }

    /// Answers for a MESSAGE that is refused now: what was taken once is taken, though its recipient is gone meanwhile.
    async fn received_before(
        &self,
        account: AccountId,
        key: Idempotency,
        problems: Vec<Problem>,
    ) -> Result<ExchangeId, Fault> {
        match self.store.idempotent_result(account, key).await? {
            Some(Answer::Replayed(ids)) => Ok(exchange_of(&ids)),
            _ => Err(Fault::Refused(problems)),
        }
    }

    /// Stores a MESSAGE whose parties are found; `None` when one of them has changed since.
    async fn received_store(
        &self,
        mint: &Mint<'_>,
        parties: &Parties<'_>,
        origin: MessageOrigin,
        received: &Received,
        key: &Idempotency,
    ) -> Result<Option<ExchangeId>, Fault> {
        let outgoing = Outgoing {
            origin,
            body: received.body.clone(),
            content_type: received.content_type.clone(),
            variables: received.variables.clone(),
            expires_at: mint.now.plus(self.lifetime(received.expires_s)),
            waits: self.policy.store_and_forward,
            call_key: (origin == MessageOrigin::Sip).then(|| CallKey {
                actor: parties.sender.id.0,
                key: received.call_id.clone(),
            }),
        };
        let (mut commit, ids) = send(mint, parties, &outgoing);
        commit.idempotency = Some(key.clone().giving(vec![ids.exchange.0]));
        match self.commit(commit).await? {
            Answer::Applied(_) => {
                self.delivery_wake(ids);
                Ok(Some(ids.exchange))
            }
            Answer::Replayed(ids) => Ok(Some(exchange_of(&ids))),
            Answer::KeyReused => Err(key_reused()),
            Answer::Failed(_) => Ok(None),
        }
    }

    /// Returns how long delivery of a MESSAGE is tried, by its Expires.
    fn lifetime(&self, expires_s: Option<u32>) -> Duration {
        match expires_s {
            Some(seconds) if seconds > 0 => {
                Duration::from_secs(u64::from(seconds)).min(self.policy.message_expiry_max)
            }
            _ => self.policy.message_expiry,
        }
    }
}

/// Returns whom a device calls by a request-URI of this domain and user; nobody by what is no user.
pub(super) fn device_call(domain: &str, user: &str) -> Option<Call> {
    let canonical = sip_validate::aor_user(user).ok()?.into_owned();
    Some(Call::Endpoint {
        key: EndpointKey::Name {
            domain: Some(domain.to_owned()),
            canonical,
        },
        user: Some(user.to_owned()),
    })
}

fn exchange_of(ids: &[[u8; 16]]) -> ExchangeId {
    ExchangeId(ids.first().copied().unwrap_or_default())
}

/// Returns whether a problem of a refused MESSAGE is its sender's rather than its recipient's.
#[must_use]
pub fn is_about_sender(problem: &Problem) -> bool {
    problem.field.first().is_some_and(|f| f == "from")
}
