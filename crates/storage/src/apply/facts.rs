//! What the preconditions of a batch ask for, loaded set by set and kept in memory while the batch is decided.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use diesel::{
    QueryResult,
    sql_types::{BigInt, Binary, Bool, Nullable, SmallInt, Text},
};
use sipgraph_core::{
    AccountId, ChatId, EndpointId, Timestamp,
    chat::ChatKey,
    commit::{Answer, Commit, Idempotency, Precondition, Write},
    endpoint::{Encryption, EndpointType},
    endpoint_token::LIVE_MAX,
};

use super::{AccountState, Conn, FOR_UPDATE, Looks, load_first};
use crate::{
    rows::{
        AccountKey, CallKey, ChatCounters, ChatKeyRow, NameKey, NumberKey, ObjectKey,
        encryption_number, ids_from_bytes, kind_number, status_number,
    },
    sql::{NAMES_IN_ACCOUNTS, NAMES_TWICE, columns},
    types::{DbId, DbTime, Id, Time},
};

columns! {
    /// A domain's name.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct DomainName {
        name: Text => String,
    }
}

/// An object's place in the tables.
type Place = (Id, Id);

/// What was read. A key that is absent from a map was not there.
#[derive(Default)]
pub(super) struct Facts {
    calls: HashMap<CallKey, (Vec<u8>, Vec<[u8; 16]>)>,
    domain_names: HashSet<String>,
    domain_counts: HashMap<Id, i64>,
    domains: HashMap<Place, i64>,
    application_counts: HashMap<Id, i64>,
    applications: HashMap<Place, i64>,
    applications_used: HashSet<Place>,
    domains_with_endpoints: HashSet<Place>,
    domains_with_gateways: HashSet<Place>,
    endpoint_names: HashSet<(Place, String)>,
    /// The numbers of accounts, each with the endpoint that has it.
    numbers: HashMap<NumberKey, Option<Id>>,
    /// Whether names must be unique in all of an account.
    names_unique: HashMap<Id, bool>,
    account_names: HashSet<(Id, String)>,
    accounts_with_a_name_twice: HashSet<Id>,
    /// (version, number of the encryption); none for a profile that was never changed.
    sip_profiles: HashMap<Id, (i64, i16)>,
    /// (version, `bindings_revision`)
    endpoints: HashMap<Place, (i64, i64)>,
    /// How many dispatches are on their way to an endpoint.
    awaited: HashMap<Place, i64>,
    chat_keys: HashSet<ChatKeyRow>,
    chats: HashMap<Place, ChatCounters>,
    messages: HashMap<Place, (i16, bool)>,
    /// The endpoints of those chats and messages.
    owners: HashMap<Place, Id>,
    /// Endpoints that the batch deletes, with all that is theirs.
    deleted: HashSet<Place>,
    leases: HashMap<Place, i64>,
    live_tokens: HashSet<Place>,
    live_endpoint_tokens: HashSet<Place>,
    /// The ends of an endpoint's tokens that are not revoked.
    endpoint_token_ends: HashMap<Place, Vec<Time>>,
}

/// What a number of commits ask for; sorted, because the order in which rows are read must not depend on chance.
#[derive(Default)]
struct Wanted {
    calls: BTreeSet<CallKey>,
    domain_names: BTreeSet<DomainName>,
    domain_counts: BTreeSet<AccountKey>,
    domains: BTreeSet<ObjectKey>,
    application_counts: BTreeSet<AccountKey>,
    applications: BTreeSet<ObjectKey>,
    applications_used: BTreeSet<ObjectKey>,
    domains_with_endpoints: BTreeSet<ObjectKey>,
    domains_with_gateways: BTreeSet<ObjectKey>,
    endpoint_names: BTreeSet<NameKey>,
    numbers: BTreeSet<NumberKey>,
    names_unique: BTreeSet<AccountKey>,
    account_names: BTreeSet<NameKey>,
    name_twice: BTreeSet<AccountKey>,
    sip_profiles: BTreeSet<AccountKey>,
    endpoints: BTreeSet<ObjectKey>,
    awaited: BTreeSet<ObjectKey>,
    chat_keys: BTreeSet<ChatKeyRow>,
    chats: BTreeSet<ObjectKey>,
    messages: BTreeSet<ObjectKey>,
    leases: BTreeSet<ObjectKey>,
    live_tokens: BTreeSet<ObjectKey>,
    live_endpoint_tokens: BTreeSet<ObjectKey>,
    endpoint_token_ends: BTreeSet<ObjectKey>,
}

fn call_key(account: AccountId, call: &Idempotency) -> CallKey {
    CallKey {
        account_id: account.into(),
        actor: Id(call.actor),
        operation: call.operation.to_owned(),
        call_key: call.key.clone(),
    }
}

impl Wanted {
    fn of(commits: &[Commit]) -> Self {
        let mut wanted = Self::default();
        for commit in commits {
            if let Some(call) = &commit.idempotency {
                wanted.calls.insert(call_key(commit.account, call));
            }
            for precondition in &commit.preconditions {
                wanted.add(commit.account, precondition);
            }
            let object = |id: ChatId| ObjectKey {
                account_id: commit.account.into(),
                id: id.into(),
            };
            for write in &commit.writes {
                match write {
                    Write::MessageInsert(message) => {
                        wanted.chats.insert(object(message.chat));
                    }
                    Write::MessageReadSet { chat, .. } | Write::MessageDelete { chat, .. } => {
                        wanted.chats.insert(object(*chat));
                    }
                    _ => {}
                }
            }
            wanted.chats.extend(
                commit
                    .events
                    .iter()
                    .filter_map(|event| event.subjects.chat)
                    .map(object),
            );
        }
        wanted
    }

    fn add(&mut self, account: AccountId, precondition: &Precondition) {
        let account_id = Id::from(account);
        let object = |id: Id| ObjectKey { account_id, id };
        match precondition {
            Precondition::DomainNameFree(name) => {
                self.domain_names.insert(DomainName { name: name.clone() });
            }
            Precondition::DomainsBelow(_) => {
                self.domain_counts.insert(AccountKey { id: account_id });
            }
            Precondition::DomainAt(id, _) => {
                self.domains.insert(object((*id).into()));
            }
            Precondition::ApplicationsBelow(_) => {
                self.application_counts
                    .insert(AccountKey { id: account_id });
            }
            Precondition::ApplicationAt(id, _) | Precondition::ApplicationThere(id) => {
                self.applications.insert(object((*id).into()));
            }
            Precondition::ApplicationUnused(id) => {
                self.applications_used.insert(object((*id).into()));
            }
            Precondition::DomainEmpty(id) => {
                self.domains_with_endpoints.insert(object((*id).into()));
            }
            Precondition::DomainWithoutGateway(id) => {
                self.domains_with_gateways.insert(object((*id).into()));
            }
            Precondition::EndpointNameFree(domain, name) => {
                self.endpoint_names.insert(NameKey {
                    account_id,
                    id: (*domain).into(),
                    name: name.clone(),
                });
            }
            Precondition::NumberFor(number, _) => {
                self.numbers.insert(NumberKey {
                    account_id,
                    number: number.clone(),
                });
            }
            Precondition::NamesUnique(_) => {
                self.names_unique.insert(AccountKey { id: account_id });
            }
            Precondition::AccountNameFree(name) => {
                self.account_names.insert(NameKey {
                    account_id,
                    id: account_id,
                    name: name.clone(),
                });
            }
            Precondition::NoNameTwice => {
                self.name_twice.insert(AccountKey { id: account_id });
            }
            Precondition::SipProfileAt(_) | Precondition::ProfileEncrypts(_) => {
                self.sip_profiles.insert(AccountKey { id: account_id });
            }
            Precondition::EndpointAt(id, _) | Precondition::BindingsAt(id, _) => {
                self.endpoints.insert(object((*id).into()));
            }
            Precondition::WaitingFor(id, _) => {
                self.awaited.insert(object((*id).into()));
            }
            Precondition::ChatKeyFree(key) => {
                self.chat_keys.insert(ChatKeyRow::new(account, key));
            }
            Precondition::ChatThere(id) => {
                self.chats.insert(object((*id).into()));
            }
            Precondition::MessageAt(id, ..) => {
                self.messages.insert(object((*id).into()));
            }
            Precondition::DispatchLeased(id, _) => {
                self.leases.insert(object((*id).into()));
            }
            Precondition::TokenLive(id) => {
                self.live_tokens.insert(object((*id).into()));
            }
            Precondition::EndpointTokenLive(id) => {
                self.live_endpoint_tokens.insert(object((*id).into()));
            }
            Precondition::EndpointTokensLeft(endpoint, _) => {
                self.endpoint_token_ends.insert(object((*endpoint).into()));
            }
        }
    }
}

/// The rows of a set, in its order.
fn rows<K: Clone>(set: &BTreeSet<K>) -> Vec<K> {
    set.iter().cloned().collect()
}

/// What reads the facts, each query with its place in them.
impl Wanted {
    /// Asks for idempotent calls, and for names and numbers that are taken.
    fn of_names(&self, looks: &mut Looks<Facts>) {
        let text = "SELECT t.account_id, t.actor, t.operation, t.call_key, t.input, t.result FROM {rows} \
                    JOIN idempotency t ON t.account_id = k.account_id AND t.actor = k.actor \
                    AND t.operation = k.operation AND t.call_key = k.call_key";
        type CallSql = (DbId, DbId, Text, Text, Binary, Binary);
        type Call = (Id, Id, String, String, Vec<u8>, Vec<u8>);
        looks.add::<_, CallSql, Call>(text, rows(&self.calls), |facts, found| {
            for (account_id, actor, operation, call_key, input, result) in found {
                let key = CallKey {
                    account_id,
                    actor,
                    operation,
                    call_key,
                };
                facts.calls.insert(key, (input, ids_from_bytes(&result)?));
            }
            Ok(())
        });
        let text = "SELECT t.name FROM {rows} JOIN domain_names t ON t.name = k.name";
        looks.add::<_, Text, String>(text, rows(&self.domain_names), |facts, found| {
            facts.domain_names.extend(found);
            Ok(())
        });
        let text = "SELECT t.account_id, t.domain_id, t.canonical_name FROM {rows} \
                    JOIN endpoints t ON t.account_id = k.account_id \
                    AND t.canonical_name = k.name AND t.domain_id = k.id";
        type NameSql = (DbId, DbId, Text);
        type Name = (Id, Id, String);
        looks.add::<_, NameSql, Name>(text, rows(&self.endpoint_names), |facts, found| {
            let names = found.into_iter();
            facts
                .endpoint_names
                .extend(names.map(|(account, domain, name)| ((account, domain), name)));
            Ok(())
        });
        looks.add::<_, (DbId, Text), (Id, String)>(
            NAMES_IN_ACCOUNTS,
            rows(&self.account_names),
            |facts, found| {
                facts.account_names.extend(found);
                Ok(())
            },
        );
        looks.add::<_, (DbId, Nullable<Text>), (Id, Option<String>)>(
            NAMES_TWICE,
            rows(&self.name_twice),
            |facts, found| {
                let twice = found
                    .into_iter()
                    .filter_map(|(account, name)| name.map(|_| account));
                facts.accounts_with_a_name_twice.extend(twice);
                Ok(())
            },
        );
        let text = "SELECT t.account_id, t.number, t.endpoint_id FROM {rows} \
                    JOIN account_numbers t ON t.number = k.number AND t.account_id = k.account_id";
        type NumberSql = (DbId, Text, Nullable<DbId>);
        type Number = (Id, String, Option<Id>);
        looks.add::<_, NumberSql, Number>(text, rows(&self.numbers), |facts, found| {
            for (account_id, number, endpoint) in found {
                let key = NumberKey { account_id, number };
                facts.numbers.insert(key, endpoint);
            }
            Ok(())
        });
    }

    /// Asks for domains, applications, settings and endpoints.
    fn of_objects(&self, looks: &mut Looks<Facts>) {
        let text = "SELECT k.id, (SELECT count(*) FROM domains t WHERE t.account_id = k.id \
             AND t.id NOT IN (SELECT d.domain_id FROM domain_deletions d)) FROM {rows}";
        looks.add::<_, (DbId, BigInt), (Id, i64)>(
            text,
            rows(&self.domain_counts),
            |facts, found| {
                facts.domain_counts.extend(found);
                Ok(())
            },
        );
        type VersionSql = (DbId, DbId, BigInt);
        type Version = (Id, Id, i64);
        let text = "SELECT t.account_id, t.id, t.version FROM {rows} \
                    JOIN domains t ON t.account_id = k.account_id AND t.id = k.id";
        looks.add::<_, VersionSql, Version>(text, rows(&self.domains), |facts, found| {
            for (account, id, version) in found {
                facts.domains.insert((account, id), version);
            }
            Ok(())
        });
        let text = "SELECT k.account_id, k.id FROM {rows} WHERE EXISTS \
                    (SELECT 1 FROM endpoints t WHERE t.domain_id = k.id)";
        looks.add::<_, (DbId, DbId), Place>(
            text,
            rows(&self.domains_with_endpoints),
            |facts, found| {
                facts.domains_with_endpoints.extend(found);
                Ok(())
            },
        );
        let text = format!(
            "SELECT k.account_id, k.id FROM {{rows}} JOIN endpoints t ON t.account_id = k.account_id \
             AND t.domain_id = k.id AND t.kind = {}",
            kind_number(EndpointType::SystemGateway)
        );
        looks.add::<_, (DbId, DbId), Place>(
            &text,
            rows(&self.domains_with_gateways),
            |facts, found| {
                facts.domains_with_gateways.extend(found);
                Ok(())
            },
        );
        let text = "SELECT k.id, (SELECT count(*) FROM applications t WHERE t.account_id = k.id) FROM {rows}";
        looks.add::<_, (DbId, BigInt), (Id, i64)>(
            text,
            rows(&self.application_counts),
            |facts, found| {
                facts.application_counts.extend(found);
                Ok(())
            },
        );
        let text = "SELECT t.account_id, t.id, t.version FROM {rows} \
                    JOIN applications t ON t.account_id = k.account_id AND t.id = k.id";
        looks.add::<_, VersionSql, Version>(text, rows(&self.applications), |facts, found| {
            for (account, id, version) in found {
                facts.applications.insert((account, id), version);
            }
            Ok(())
        });
        let text = "SELECT k.account_id, k.id FROM {rows} WHERE EXISTS (SELECT 1 FROM endpoints t \
                    WHERE t.account_id = k.account_id AND t.application_id = k.id)";
        looks.add::<_, (DbId, DbId), Place>(text, rows(&self.applications_used), |facts, found| {
            facts.applications_used.extend(found);
            Ok(())
        });
        let text = "SELECT t.id, t.unique_names FROM {rows} JOIN accounts t ON t.id = k.id";
        looks.add::<_, (DbId, Bool), (Id, bool)>(text, rows(&self.names_unique), |facts, found| {
            facts.names_unique.extend(found);
            Ok(())
        });
        let text = "SELECT t.account_id, t.version, t.default_encryption FROM {rows} \
                    JOIN sip_profiles t ON t.account_id = k.id";
        looks.add::<_, (DbId, BigInt, SmallInt), (Id, i64, i16)>(
            text,
            rows(&self.sip_profiles),
            |facts, found| {
                for (account, version, encryption) in found {
                    facts.sip_profiles.insert(account, (version, encryption));
                }
                Ok(())
            },
        );
        let text = "SELECT t.account_id, t.id, t.version, t.bindings_revision FROM {rows} \
                    JOIN endpoints t ON t.account_id = k.account_id AND t.id = k.id";
        type EndpointSql = (DbId, DbId, BigInt, BigInt);
        type Endpoint = (Id, Id, i64, i64);
        looks.add::<_, EndpointSql, Endpoint>(text, rows(&self.endpoints), |facts, found| {
            for (account, id, version, revision) in found {
                facts.endpoints.insert((account, id), (version, revision));
            }
            Ok(())
        });
    }

    /// Asks for chats and messages.
    fn of_chats(&self, looks: &mut Looks<Facts>) {
        let text = "SELECT t.account_id, t.endpoint_id, t.own_number, t.peer FROM {rows} \
                    JOIN chats t ON t.account_id = k.account_id AND t.endpoint_id = k.endpoint_id \
                    AND t.own_number = k.own_number AND t.peer = k.peer";
        type KeySql = (DbId, DbId, Text, Text);
        type Key = (Id, Id, String, String);
        looks.add::<_, KeySql, Key>(text, rows(&self.chat_keys), |facts, found| {
            for (account_id, endpoint_id, own_number, peer) in found {
                facts.chat_keys.insert(ChatKeyRow {
                    account_id,
                    endpoint_id,
                    own_number,
                    peer,
                });
            }
            Ok(())
        });
        let text = "SELECT t.account_id, t.id, t.last_seq, t.last_message_id, t.unread_count, \
                    t.message_count, t.activity_seq, t.updated_at, t.endpoint_id FROM {rows} \
                    JOIN chats t ON t.account_id = k.account_id AND t.id = k.id \
                    WHERE t.endpoint_id NOT IN (SELECT d.endpoint_id FROM endpoint_deletions d)";
        type ChatSql = (
            DbId,
            DbId,
            BigInt,
            Nullable<DbId>,
            BigInt,
            BigInt,
            BigInt,
            DbTime,
            DbId,
        );
        type Chat = (Id, Id, i64, Option<Id>, i64, i64, i64, Time, Id);
        looks.add::<_, ChatSql, Chat>(text, rows(&self.chats), |facts, found| {
            for row in found {
                let (
                    account_id,
                    id,
                    last_seq,
                    last_message_id,
                    unread_count,
                    message_count,
                    activity_seq,
                    updated_at,
                    owner,
                ) = row;
                facts.owners.insert((account_id, id), owner);
                let counters = ChatCounters {
                    account_id,
                    id,
                    last_seq,
                    last_message_id,
                    unread_count,
                    message_count,
                    activity_seq,
                    updated_at,
                };
                facts.chats.insert((account_id, id), counters);
            }
            Ok(())
        });
        let text = "SELECT t.account_id, t.id, t.status, t.is_read, t.endpoint_id FROM {rows} \
                    JOIN messages t ON t.account_id = k.account_id AND t.id = k.id \
                    WHERE t.endpoint_id NOT IN (SELECT d.endpoint_id FROM endpoint_deletions d) \
                    AND NOT EXISTS (SELECT 1 FROM chat_clearings c WHERE c.account_id = t.account_id \
                    AND c.chat_id = t.chat_id AND t.seq <= c.up_to_seq)";
        type MessageSql = (DbId, DbId, SmallInt, Bool, DbId);
        type Message = (Id, Id, i16, bool, Id);
        looks.add::<_, MessageSql, Message>(text, rows(&self.messages), |facts, found| {
            for (account, id, status, read, owner) in found {
                facts.messages.insert((account, id), (status, read));
                facts.owners.insert((account, id), owner);
            }
            Ok(())
        });
    }

    /// Asks for messages on their way.
    fn of_deliveries(&self, looks: &mut Looks<Facts>) {
        type NumberSql = (DbId, DbId, BigInt);
        type Number = (Id, Id, i64);
        let text = "SELECT k.account_id, k.id, (SELECT COUNT(*) FROM dispatches t \
                    WHERE t.account_id = k.account_id AND t.recipient_id = k.id) FROM {rows}";
        looks.add::<_, NumberSql, Number>(text, rows(&self.awaited), |facts, found| {
            for (account, id, count) in found {
                facts.awaited.insert((account, id), count);
            }
            Ok(())
        });
        // A claim takes no account row: the dispatch's own row must stay as it is read.
        let text = format!(
            "SELECT t.account_id, t.id, t.lease FROM {{rows}} JOIN dispatches t \
             ON t.account_id = k.account_id AND t.id = k.id{FOR_UPDATE}"
        );
        looks.add::<_, NumberSql, Number>(&text, rows(&self.leases), |facts, found| {
            for (account, id, lease) in found {
                facts.leases.insert((account, id), lease);
            }
            Ok(())
        });
    }

    /// Asks for tokens of the API and of endpoints.
    fn of_tokens(&self, looks: &mut Looks<Facts>) {
        let text = "SELECT t.account_id, t.id FROM {rows} \
                    JOIN tokens t ON t.account_id = k.account_id AND t.id = k.id \
                    WHERE t.revoked_at IS NULL";
        looks.add::<_, (DbId, DbId), Place>(text, rows(&self.live_tokens), |facts, found| {
            facts.live_tokens.extend(found);
            Ok(())
        });
        let text = "SELECT t.account_id, t.id FROM {rows} \
                    JOIN endpoint_tokens t ON t.account_id = k.account_id AND t.id = k.id \
                    WHERE t.revoked_at IS NULL";
        looks.add::<_, (DbId, DbId), Place>(
            text,
            rows(&self.live_endpoint_tokens),
            |facts, found| {
                facts.live_endpoint_tokens.extend(found);
                Ok(())
            },
        );
        let text = "SELECT t.account_id, t.endpoint_id, t.expires_at FROM {rows} \
                    JOIN endpoint_tokens t ON t.account_id = k.account_id AND t.endpoint_id = k.id \
                    WHERE t.revoked_at IS NULL";
        looks.add::<_, (DbId, DbId, DbTime), (Id, Id, Time)>(
            text,
            rows(&self.endpoint_token_ends),
            |facts, found| {
                for (account, endpoint, end) in found {
                    let ends = facts.endpoint_token_ends.entry((account, endpoint));
                    ends.or_default().push(end);
                }
                Ok(())
            },
        );
    }
}

impl Facts {
    /// Reads what these commits ask for, in place of what was known of it.
    pub(super) async fn load(&mut self, c: &mut Conn, commits: &[Commit]) -> QueryResult<()> {
        let wanted = Wanted::of(commits);
        self.forget(&wanted);
        let mut looks = Looks::new();
        wanted.of_names(&mut looks);
        wanted.of_objects(&mut looks);
        wanted.of_chats(&mut looks);
        wanted.of_deliveries(&mut looks);
        wanted.of_tokens(&mut looks);
        looks.run(c, self).await
    }

    /// Forgets what is read again: what is not found then is not there.
    fn forget(&mut self, wanted: &Wanted) {
        for key in &wanted.domain_names {
            self.domain_names.remove(&key.name);
        }
        for key in &wanted.endpoint_names {
            self.endpoint_names
                .remove(&((key.account_id, key.id), key.name.clone()));
        }
        for key in &wanted.account_names {
            self.account_names
                .remove(&(key.account_id, key.name.clone()));
        }
        for key in &wanted.name_twice {
            self.accounts_with_a_name_twice.remove(&key.id);
        }
        for key in &wanted.sip_profiles {
            self.sip_profiles.remove(&key.id);
        }
        for key in &wanted.numbers {
            self.numbers.remove(key);
        }
        for key in &wanted.chat_keys {
            self.chat_keys.remove(key);
        }
        let place = |key: &ObjectKey| (key.account_id, key.id);
        for key in &wanted.domains {
            self.domains.remove(&place(key));
        }
        for key in &wanted.applications {
            self.applications.remove(&place(key));
        }
        for key in &wanted.applications_used {
            self.applications_used.remove(&place(key));
        }
        for key in &wanted.domains_with_endpoints {
            self.domains_with_endpoints.remove(&place(key));
        }
        for key in &wanted.domains_with_gateways {
            self.domains_with_gateways.remove(&place(key));
        }
        for key in &wanted.endpoints {
            self.endpoints.remove(&place(key));
        }
        for key in &wanted.awaited {
            self.awaited.remove(&place(key));
        }
        for key in &wanted.chats {
            self.chats.remove(&place(key));
        }
        for key in &wanted.messages {
            self.messages.remove(&place(key));
        }
        for key in &wanted.leases {
            self.leases.remove(&place(key));
        }
        for key in &wanted.live_tokens {
            self.live_tokens.remove(&place(key));
        }
        for key in &wanted.live_endpoint_tokens {
            self.live_endpoint_tokens.remove(&place(key));
        }
        for key in &wanted.endpoint_token_ends {
            self.endpoint_token_ends.remove(&place(key));
        }
    }

    /// Answers whether a precondition holds.
    pub(super) fn holds(&self, account: AccountId, precondition: &Precondition) -> bool {
        let account_id = Id::from(account);
        let place = |id: Id| (account_id, id);
        match precondition {
            Precondition::DomainNameFree(name) => !self.domain_names.contains(name),
            Precondition::DomainsBelow(limit) => {
                self.domain_counts.get(&account_id).copied().unwrap_or(0) < i64::from(*limit)
            }
            Precondition::DomainAt(id, version) => {
                self.domains.get(&place((*id).into())) == Some(version)
            }
            Precondition::ApplicationsBelow(limit) => {
                let count = self.application_counts.get(&account_id).copied();
                count.unwrap_or(0) < i64::from(*limit)
            }
            Precondition::ApplicationAt(id, version) => {
                self.applications.get(&place((*id).into())) == Some(version)
            }
            Precondition::ApplicationThere(id) => {
                self.applications.contains_key(&place((*id).into()))
            }
            Precondition::ApplicationUnused(id) => {
                !self.applications_used.contains(&place((*id).into()))
            }
            Precondition::DomainEmpty(id) => {
                !self.domains_with_endpoints.contains(&place((*id).into()))
            }
            Precondition::DomainWithoutGateway(id) => {
                !self.domains_with_gateways.contains(&place((*id).into()))
            }
            Precondition::EndpointNameFree(domain, name) => !self
                .endpoint_names
                .contains(&(place((*domain).into()), name.clone())),
            Precondition::NumberFor(number, endpoint) => {
                let key = NumberKey {
                    account_id,
                    number: number.clone(),
                };
                let found = self.numbers.get(&key);
                found.is_some_and(|has| has.is_none_or(|has| has == Id::from(*endpoint)))
            }
            Precondition::NamesUnique(unique) => self.names_unique.get(&account_id) == Some(unique),
            Precondition::AccountNameFree(name) => {
                !self.account_names.contains(&(account_id, name.clone()))
            }
            Precondition::NoNameTwice => !self.accounts_with_a_name_twice.contains(&account_id),
            Precondition::SipProfileAt(version) => {
                let found = self.sip_profiles.get(&account_id);
                found.map_or(0, |(version, _)| *version) == *version
            }
            Precondition::ProfileEncrypts(encrypts) => {
                let required = encryption_number(Encryption::Required);
                let found = self.sip_profiles.get(&account_id);
                found.is_some_and(|(_, encryption)| *encryption == required) == *encrypts
            }
            Precondition::EndpointAt(id, version) => self
                .endpoints
                .get(&place((*id).into()))
                .is_some_and(|(found, _)| found == version),
            Precondition::BindingsAt(id, revision) => self
                .endpoints
                .get(&place((*id).into()))
                .is_some_and(|(_, found)| found == revision),
            Precondition::WaitingFor(id, count) => {
                self.awaited.get(&place((*id).into())).copied().unwrap_or(0) == *count
            }
            Precondition::ChatKeyFree(key) => {
                !self.chat_keys.contains(&ChatKeyRow::new(account, key))
            }
            Precondition::ChatThere(id) => {
                let place = place((*id).into());
                self.chats.contains_key(&place) && !self.went(place)
            }
            Precondition::MessageAt(id, status, read) => {
                let place = place((*id).into());
                self.messages.get(&place) == Some(&(status_number(*status), *read))
                    && !self.went(place)
            }
            Precondition::DispatchLeased(id, lease) => {
                self.leases.get(&place((*id).into())) == Some(lease)
            }
            Precondition::TokenLive(id) => self.live_tokens.contains(&place((*id).into())),
            Precondition::EndpointTokenLive(id) => {
                self.live_endpoint_tokens.contains(&place((*id).into()))
            }
            Precondition::EndpointTokensLeft(endpoint, at) => {
                let ends = self.endpoint_token_ends.get(&place((*endpoint).into()));
                let live = ends
                    .into_iter()
                    .flatten()
                    .filter(|end| **end > Time::from(*at));
                live.count() < usize::try_from(LIVE_MAX).unwrap_or(usize::MAX)
            }
        }
    }

    /// Whether a chat or message went with its endpoint in this batch.
    fn went(&self, place: Place) -> bool {
        let owner = self.owners.get(&place);
        owner.is_some_and(|owner| self.deleted.contains(&(place.0, *owner)))
    }

    /// Notes an endpoint that this batch deletes.
    pub(super) fn endpoint_deleted(&mut self, account: AccountId, id: EndpointId) {
        self.deleted.insert((account.into(), id.into()));
    }

    /// Answers a call whose key is known.
    pub(super) fn earlier_call(&self, account: AccountId, call: &Idempotency) -> Option<Answer> {
        let (input, result) = self.calls.get(&call_key(account, call))?;
        Some(if call.input.is_that_of(input) {
            Answer::Replayed(result.clone())
        } else {
            Answer::KeyReused
        })
    }

    /// Notes a call of this batch, for an equal one later in it.
    pub(super) fn remember_call(&mut self, account: AccountId, call: &Idempotency) {
        self.calls.insert(
            call_key(account, call),
            (call.input.stored.to_vec(), call.result.clone()),
        );
    }

    /// Notes a chat that this batch makes.
    pub(super) fn chat_made(
        &mut self,
        account: AccountId,
        id: ChatId,
        key: &ChatKey,
        at: Timestamp,
    ) {
        let (account_id, id) = (Id::from(account), Id::from(id));
        self.chat_keys.insert(ChatKeyRow::new(account, key));
        self.owners.insert((account_id, id), key.endpoint.into());
        self.chats.insert(
            (account_id, id),
            ChatCounters {
                account_id,
                id,
                last_seq: 0,
                last_message_id: None,
                unread_count: 0,
                message_count: 0,
                activity_seq: 0,
                updated_at: at.into(),
            },
        );
    }

    /// Notes a chat that this batch deletes; gives its counters and the endpoint that had it.
    pub(super) fn chat_deleted(
        &mut self,
        account: AccountId,
        id: ChatId,
    ) -> Option<(ChatCounters, Id)> {
        let place: Place = (account.into(), id.into());
        let owner = *self.owners.get(&place)?;
        Some((self.chats.remove(&place)?, owner))
    }

    /// The endpoint that has a chat.
    pub(super) fn chat_owner(&self, account: AccountId, id: ChatId) -> Option<Id> {
        let place: Place = (account.into(), id.into());
        self.owners.get(&place).copied()
    }

    /// The counters of a chat, as of the commits so far.
    pub(super) fn chat(&self, account: AccountId, id: ChatId) -> Option<&ChatCounters> {
        self.chats.get(&(account.into(), id.into()))
    }

    /// The counters of a chat that is there.
    pub(super) fn chat_mut(&mut self, account: AccountId, id: ChatId) -> &mut ChatCounters {
        self.chats
            .get_mut(&(account.into(), id.into()))
            .expect("the commit's shape was checked: its chats are loaded or made")
    }
}

/// Begins the batch's transaction and takes its account rows in the order of their ids, as a statement of its own: the next one then
/// has a fresh snapshot.
pub(super) async fn lock_accounts(
    c: &mut Conn,
    commits: &[Commit],
) -> QueryResult<BTreeMap<AccountId, AccountState>> {
    let ids: BTreeSet<AccountKey> = commits
        .iter()
        .map(|commit| AccountKey {
            id: commit.account.into(),
        })
        .collect();
    let text = format!(
        "SELECT t.id, t.head_seq, t.head_check, t.last_external_id FROM {{rows}} \
         JOIN accounts t ON t.id = k.id ORDER BY t.id{FOR_UPDATE}"
    );
    let found =
        load_first::<_, (DbId, BigInt, BigInt, BigInt), (Id, i64, i64, i64)>(c, &text, rows(&ids))
            .await?;
    Ok(found
        .into_iter()
        .map(|(id, head, head_check, last_external_id)| {
            let state = AccountState {
                head,
                head_check,
                last_external_id,
            };
            (id.into(), state)
        })
        .collect())
}
