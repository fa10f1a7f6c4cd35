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

use super::{AccountState, Conn, FOR_UPDATE, load_over};
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
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
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

fn rows<K>(set: BTreeSet<K>) -> Vec<K> {
    set.into_iter().collect()
}

impl Facts {
    /// Reads what these commits ask for, in place of what was known of it.
    pub(super) async fn load(&mut self, c: &mut Conn, commits: &[Commit]) -> QueryResult<()> {
        let wanted = Wanted::of(commits);
        self.load_calls(c, rows(wanted.calls)).await?;
        self.load_domains(c, &wanted.domain_names, &wanted.domain_counts)
            .await?;
        let keys = rows(wanted.domains);
        self.reload(&keys, |facts, place| {
            facts.domains.remove(&place);
        });
        let text = "SELECT t.account_id, t.id, t.version FROM {rows} \
                    JOIN domains t ON t.account_id = k.account_id AND t.id = k.id";
        for (account, id, version) in
            load_over::<_, (DbId, DbId, BigInt), (Id, Id, i64)>(c, text, keys).await?
        {
            self.domains.insert((account, id), version);
        }
        self.load_applications(
            c,
            rows(wanted.application_counts),
            rows(wanted.applications),
            rows(wanted.applications_used),
        )
        .await?;
        let keys = rows(wanted.domains_with_endpoints);
        self.reload(&keys, |facts, place| {
            facts.domains_with_endpoints.remove(&place);
        });
        let text = "SELECT k.account_id, k.id FROM {rows} WHERE EXISTS \
                    (SELECT 1 FROM endpoints t WHERE t.domain_id = k.id)";
        self.domains_with_endpoints
            .extend(load_over::<_, (DbId, DbId), Place>(c, text, keys).await?);
        let keys = rows(wanted.domains_with_gateways);
        self.reload(&keys, |facts, place| {
            facts.domains_with_gateways.remove(&place);
        });
        let text = format!(
            "SELECT k.account_id, k.id FROM {{rows}} JOIN endpoints t ON t.account_id = k.account_id \
             AND t.domain_id = k.id AND t.kind = {}",
            kind_number(EndpointType::SystemGateway)
        );
        self.domains_with_gateways
            .extend(load_over::<_, (DbId, DbId), Place>(c, &text, keys).await?);
        self.load_settings(c, rows(wanted.names_unique), rows(wanted.sip_profiles))
            .await?;
        self.load_account_names(c, rows(wanted.account_names), rows(wanted.name_twice))
            .await?;
        self.load_endpoints(c, rows(wanted.endpoint_names), rows(wanted.endpoints))
            .await?;
        self.load_numbers(c, rows(wanted.numbers)).await?;
        self.load_chats(c, rows(wanted.chat_keys), rows(wanted.chats))
            .await?;
        self.load_deliveries(c, rows(wanted.awaited), rows(wanted.leases))
            .await?;
        let keys = rows(wanted.messages);
        self.reload(&keys, |facts, place| {
            facts.messages.remove(&place);
        });
        let text = "SELECT t.account_id, t.id, t.status, t.is_read, t.endpoint_id FROM {rows} \
                    JOIN messages t ON t.account_id = k.account_id AND t.id = k.id \
                    WHERE t.endpoint_id NOT IN (SELECT d.endpoint_id FROM endpoint_deletions d) \
                    AND NOT EXISTS (SELECT 1 FROM chat_clearings c WHERE c.account_id = t.account_id \
                    AND c.chat_id = t.chat_id AND t.seq <= c.up_to_seq)";
        type Sql = (DbId, DbId, SmallInt, Bool, DbId);
        type Row = (Id, Id, i16, bool, Id);
        for (account, id, status, read, owner) in load_over::<_, Sql, Row>(c, text, keys).await? {
            self.messages.insert((account, id), (status, read));
            self.owners.insert((account, id), owner);
        }
        let keys = rows(wanted.live_tokens);
        self.reload(&keys, |facts, place| {
            facts.live_tokens.remove(&place);
        });
        let text = "SELECT t.account_id, t.id FROM {rows} \
                    JOIN tokens t ON t.account_id = k.account_id AND t.id = k.id \
                    WHERE t.revoked_at IS NULL";
        self.live_tokens
            .extend(load_over::<_, (DbId, DbId), Place>(c, text, keys).await?);
        self.load_endpoint_tokens(
            c,
            rows(wanted.live_endpoint_tokens),
            rows(wanted.endpoint_token_ends),
        )
        .await
    }

    async fn load_endpoint_tokens(
        &mut self,
        c: &mut Conn,
        live: Vec<ObjectKey>,
        of_endpoints: Vec<ObjectKey>,
    ) -> QueryResult<()> {
        self.reload(&live, |facts, place| {
            facts.live_endpoint_tokens.remove(&place);
        });
        let text = "SELECT t.account_id, t.id FROM {rows} \
                    JOIN endpoint_tokens t ON t.account_id = k.account_id AND t.id = k.id \
                    WHERE t.revoked_at IS NULL";
        self.live_endpoint_tokens
            .extend(load_over::<_, (DbId, DbId), Place>(c, text, live).await?);
        self.reload(&of_endpoints, |facts, place| {
            facts.endpoint_token_ends.remove(&place);
        });
        let text = "SELECT t.account_id, t.endpoint_id, t.expires_at FROM {rows} \
                    JOIN endpoint_tokens t ON t.account_id = k.account_id AND t.endpoint_id = k.id \
                    WHERE t.revoked_at IS NULL";
        for (account, endpoint, end) in
            load_over::<_, (DbId, DbId, DbTime), (Id, Id, Time)>(c, text, of_endpoints).await?
        {
            let ends = self.endpoint_token_ends.entry((account, endpoint));
            ends.or_default().push(end);
        }
        Ok(())
    }

    fn reload(&mut self, keys: &[ObjectKey], forget: impl Fn(&mut Self, Place)) {
        for key in keys {
            forget(self, (key.account_id, key.id));
        }
    }

    async fn load_calls(&mut self, c: &mut Conn, keys: Vec<CallKey>) -> QueryResult<()> {
        let text = "SELECT t.account_id, t.actor, t.operation, t.call_key, t.input, t.result FROM {rows} \
                    JOIN idempotency t ON t.account_id = k.account_id AND t.actor = k.actor \
                    AND t.operation = k.operation AND t.call_key = k.call_key";
        type Sql = (DbId, DbId, Text, Text, Binary, Binary);
        type Row = (Id, Id, String, String, Vec<u8>, Vec<u8>);
        for (account_id, actor, operation, call_key, input, result) in
            load_over::<_, Sql, Row>(c, text, keys).await?
        {
            let key = CallKey {
                account_id,
                actor,
                operation,
                call_key,
            };
            self.calls.insert(key, (input, ids_from_bytes(&result)?));
        }
        Ok(())
    }

    async fn load_domains(
        &mut self,
        c: &mut Conn,
        names: &BTreeSet<DomainName>,
        counts: &BTreeSet<AccountKey>,
    ) -> QueryResult<()> {
        let names: Vec<DomainName> = names
            .iter()
            .map(|key| DomainName {
                name: key.name.clone(),
            })
            .collect();
        for key in &names {
            self.domain_names.remove(&key.name);
        }
        let text = "SELECT t.name FROM {rows} JOIN domain_names t ON t.name = k.name";
        self.domain_names
            .extend(load_over::<_, Text, String>(c, text, names).await?);
        let counts: Vec<AccountKey> = counts.iter().copied().collect();
        let text = "SELECT k.id, (SELECT count(*) FROM domains t WHERE t.account_id = k.id \
             AND t.id NOT IN (SELECT d.domain_id FROM domain_deletions d)) FROM {rows}";
        self.domain_counts
            .extend(load_over::<_, (DbId, BigInt), (Id, i64)>(c, text, counts).await?);
        Ok(())
    }

    async fn load_applications(
        &mut self,
        c: &mut Conn,
        counts: Vec<AccountKey>,
        keys: Vec<ObjectKey>,
        used: Vec<ObjectKey>,
    ) -> QueryResult<()> {
        let text = "SELECT k.id, (SELECT count(*) FROM applications t WHERE t.account_id = k.id) FROM {rows}";
        self.application_counts
            .extend(load_over::<_, (DbId, BigInt), (Id, i64)>(c, text, counts).await?);
        self.reload(&keys, |facts, place| {
            facts.applications.remove(&place);
        });
        let text = "SELECT t.account_id, t.id, t.version FROM {rows} \
                    JOIN applications t ON t.account_id = k.account_id AND t.id = k.id";
        for (account, id, version) in
            load_over::<_, (DbId, DbId, BigInt), (Id, Id, i64)>(c, text, keys).await?
        {
            self.applications.insert((account, id), version);
        }
        self.reload(&used, |facts, place| {
            facts.applications_used.remove(&place);
        });
        let text = "SELECT k.account_id, k.id FROM {rows} WHERE EXISTS (SELECT 1 FROM endpoints t \
                    WHERE t.account_id = k.account_id AND t.application_id = k.id)";
        self.applications_used
            .extend(load_over::<_, (DbId, DbId), Place>(c, text, used).await?);
        Ok(())
    }

    async fn load_settings(
        &mut self,
        c: &mut Conn,
        names_unique: Vec<AccountKey>,
        profiles: Vec<AccountKey>,
    ) -> QueryResult<()> {
        let text = "SELECT t.id, t.unique_names FROM {rows} JOIN accounts t ON t.id = k.id";
        self.names_unique
            .extend(load_over::<_, (DbId, Bool), (Id, bool)>(c, text, names_unique).await?);
        for key in &profiles {
            self.sip_profiles.remove(&key.id);
        }
        let text = "SELECT t.account_id, t.version, t.default_encryption FROM {rows} \
                    JOIN sip_profiles t ON t.account_id = k.id";
        type Row = (Id, i64, i16);
        for (account, version, encryption) in
            load_over::<_, (DbId, BigInt, SmallInt), Row>(c, text, profiles).await?
        {
            self.sip_profiles.insert(account, (version, encryption));
        }
        Ok(())
    }

    async fn load_account_names(
        &mut self,
        c: &mut Conn,
        names: Vec<NameKey>,
        twice: Vec<AccountKey>,
    ) -> QueryResult<()> {
        for key in &names {
            self.account_names
                .remove(&(key.account_id, key.name.clone()));
        }
        let taken = load_over::<_, (DbId, Text), (Id, String)>(c, NAMES_IN_ACCOUNTS, names);
        self.account_names.extend(taken.await?);
        for key in &twice {
            self.accounts_with_a_name_twice.remove(&key.id);
        }
        type Sql = (DbId, Nullable<Text>);
        let found = load_over::<_, Sql, (Id, Option<String>)>(c, NAMES_TWICE, twice).await?;
        self.accounts_with_a_name_twice.extend(
            found
                .into_iter()
                .filter_map(|(account, name)| name.map(|_| account)),
        );
        Ok(())
    }

    async fn load_endpoints(
        &mut self,
        c: &mut Conn,
        names: Vec<NameKey>,
        keys: Vec<ObjectKey>,
    ) -> QueryResult<()> {
        for key in &names {
            self.endpoint_names
                .remove(&((key.account_id, key.id), key.name.clone()));
        }
        let text = "SELECT t.account_id, t.domain_id, t.canonical_name FROM {rows} \
                    JOIN endpoints t ON t.account_id = k.account_id \
                    AND t.canonical_name = k.name AND t.domain_id = k.id";
        for (account, domain, name) in
            load_over::<_, (DbId, DbId, Text), (Id, Id, String)>(c, text, names).await?
        {
            self.endpoint_names.insert(((account, domain), name));
        }
        self.reload(&keys, |facts, place| {
            facts.endpoints.remove(&place);
        });
        let text = "SELECT t.account_id, t.id, t.version, t.bindings_revision FROM {rows} \
                    JOIN endpoints t ON t.account_id = k.account_id AND t.id = k.id";
        for (account, id, version, revision) in
            load_over::<_, (DbId, DbId, BigInt, BigInt), (Id, Id, i64, i64)>(c, text, keys).await?
        {
            self.endpoints.insert((account, id), (version, revision));
        }
        Ok(())
    }

    async fn load_numbers(&mut self, c: &mut Conn, keys: Vec<NumberKey>) -> QueryResult<()> {
        for key in &keys {
            self.numbers.remove(key);
        }
        let text = "SELECT t.account_id, t.number, t.endpoint_id FROM {rows} \
                    JOIN account_numbers t ON t.number = k.number AND t.account_id = k.account_id";
        type Sql = (DbId, Text, Nullable<DbId>);
        for (account_id, number, endpoint) in
            load_over::<_, Sql, (Id, String, Option<Id>)>(c, text, keys).await?
        {
            self.numbers
                .insert(NumberKey { account_id, number }, endpoint);
        }
        Ok(())
    }

    async fn load_chats(
        &mut self,
        c: &mut Conn,
        chat_keys: Vec<ChatKeyRow>,
        keys: Vec<ObjectKey>,
    ) -> QueryResult<()> {
        for key in &chat_keys {
            self.chat_keys.remove(key);
        }
        let text = "SELECT t.account_id, t.endpoint_id, t.own_number, t.peer FROM {rows} \
                    JOIN chats t ON t.account_id = k.account_id AND t.endpoint_id = k.endpoint_id \
                    AND t.own_number = k.own_number AND t.peer = k.peer";
        for (account_id, endpoint_id, own_number, peer) in
            load_over::<_, (DbId, DbId, Text, Text), (Id, Id, String, String)>(c, text, chat_keys)
                .await?
        {
            self.chat_keys.insert(ChatKeyRow {
                account_id,
                endpoint_id,
                own_number,
                peer,
            });
        }
        self.reload(&keys, |facts, place| {
            facts.chats.remove(&place);
        });
        let text = "SELECT t.account_id, t.id, t.last_seq, t.last_message_id, t.unread_count, \
                    t.message_count, t.activity_seq, t.updated_at, t.endpoint_id FROM {rows} \
                    JOIN chats t ON t.account_id = k.account_id AND t.id = k.id \
                    WHERE t.endpoint_id NOT IN (SELECT d.endpoint_id FROM endpoint_deletions d)";
        type Sql = (
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
        type Row = (Id, Id, i64, Option<Id>, i64, i64, i64, Time, Id);
        for row in load_over::<_, Sql, Row>(c, text, keys).await? {
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
            self.owners.insert((account_id, id), owner);
            self.chats.insert(
                (account_id, id),
                ChatCounters {
                    account_id,
                    id,
                    last_seq,
                    last_message_id,
                    unread_count,
                    message_count,
                    activity_seq,
                    updated_at,
                },
            );
        }
        Ok(())
    }

    async fn load_deliveries(
        &mut self,
        c: &mut Conn,
        awaited: Vec<ObjectKey>,
        leases: Vec<ObjectKey>,
    ) -> QueryResult<()> {
        self.reload(&awaited, |facts, place| {
            facts.awaited.remove(&place);
        });
        let text = "SELECT k.account_id, k.id, (SELECT COUNT(*) FROM dispatches t \
                    WHERE t.account_id = k.account_id AND t.recipient_id = k.id) FROM {rows}";
        for (account, id, count) in
            load_over::<_, (DbId, DbId, BigInt), (Id, Id, i64)>(c, text, awaited).await?
        {
            self.awaited.insert((account, id), count);
        }
        self.reload(&leases, |facts, place| {
            facts.leases.remove(&place);
        });
        // A claim takes no account row: the dispatch's own row must stay as it is read.
        let text = format!(
            "SELECT t.account_id, t.id, t.lease FROM {{rows}} JOIN dispatches t \
             ON t.account_id = k.account_id AND t.id = k.id{FOR_UPDATE}"
        );
        for (account, id, lease) in
            load_over::<_, (DbId, DbId, BigInt), (Id, Id, i64)>(c, &text, leases).await?
        {
            self.leases.insert((account, id), lease);
        }
        Ok(())
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

/// Takes the account rows of a batch in the order of their ids, as a statement of its own: the next one then has a fresh snapshot.
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
        load_over::<_, (DbId, BigInt, BigInt, BigInt), (Id, i64, i64, i64)>(c, &text, rows(ids))
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
