//! What a batch writes, gathered until one statement per table writes it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use diesel::QueryResult;
use sipgraph_core::{
    AccountId, ChatId, Timestamp,
    chat::ChatKey,
    commit::{Commit, CredentialsChange, EndpointSecret, Write},
    digest::{DigestAlgorithm, Ha1},
    endpoint::Endpoint,
    endpoint_token::EndpointToken,
    keyring::Secret,
    message::Disposition,
};

use super::{
    AccountState, Conn, Row, Set, Statements, change_of, hurry, insert_text, read_of, run_over,
};
use crate::{
    rows::{
        AccountKey, ApplicationRow, BanLiftRow, BindingRow, ChatCounters, ChatMarkRow, ChatRow,
        Corrupt, CredentialKey, CredentialRow, DeliveryEnd, DeliveryRow, DispatchReleaseRow,
        DispatchRow, DomainDeletionRow, DomainNameRow, DomainRow, EndpointChangeRow,
        EndpointDeletionRow, EndpointRow, EndpointTokenRow, EventRow, Hurry, IdempotencyRow,
        MessageRead, MessageReceipt, MessageRow, MessageStatusChange, NameKey, NumberChange,
        NumberKey, ObjectKey, Qualified, Refresh, RegistrationFailureRow, Returned, RevisionRaise,
        SecretKey, SecretRow, SipProfileRow, StateChange, TokenCredentialRow, TokenRevocation,
        TokenRow, algorithm_number, contact_number, micros, outcome_number, state_number,
    },
    seal::Seal,
    sql::{Columns, columns},
    types::{DbId, Id},
};
use diesel::sql_types::{BigInt, Bool};

columns! {
    /// An account's counters after the batch.
    #[derive(Debug)]
    struct AccountCounters {
        id: DbId => Id,
        head_seq: BigInt => i64,
        head_check: BigInt => i64,
        last_external_id: BigInt => i64,
    }
}

columns! {
    /// Whether an account's names must be unique in all of it.
    #[derive(Debug)]
    struct NamesUnique {
        id: DbId => Id,
        unique_names: Bool => bool,
    }
}

/// Rows and sets of rows that were changed.
#[derive(Default)]
pub(super) struct Touched {
    rows: HashSet<Row>,
    sets: HashSet<Set>,
}

impl Touched {
    pub(super) fn add(&mut self, account: AccountId, write: &Write) {
        let (row, sets) = change_of(account, write);
        self.rows.extend(row);
        self.sets.extend(sets);
    }

    /// Whether a commit depends on something here.
    pub(super) fn has_read_of(&self, commit: &Commit) -> bool {
        commit.preconditions.iter().any(|precondition| {
            let (row, sets) = read_of(commit.account, precondition);
            row.is_some_and(|row| self.rows.contains(&row))
                || sets.iter().any(|set| self.sets.contains(set))
        })
    }

    /// Whether a write changes a row that is here.
    pub(super) fn has_row_of(&self, account: AccountId, write: &Write) -> bool {
        let (row, _) = change_of(account, write);
        row.is_some_and(|row| self.rows.contains(&row))
    }
}

/// The rows to write, by table.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) touched: Touched,
    /// Accounts whose counters changed.
    pub(super) accounts: BTreeSet<AccountId>,
    /// Chats whose counters changed.
    pub(super) chats_counted: BTreeSet<(AccountId, ChatId)>,
    pub(super) messages: Vec<MessageRow>,
    pub(super) events: Vec<EventRow>,
    pub(super) idempotency: Vec<IdempotencyRow>,
    domains: Vec<DomainRow>,
    domain_names: Vec<DomainNameRow>,
    names_unique: Vec<NamesUnique>,
    sip_profiles: Vec<SipProfileRow>,
    sip_profiles_enforced: Vec<AccountKey>,
    applications: Vec<ApplicationRow>,
    application_updates: Vec<ApplicationRow>,
    application_deletes: Vec<ObjectKey>,
    domain_updates: Vec<DomainRow>,
    domain_names_removed: Vec<NameKey>,
    domain_deletions: Vec<DomainDeletionRow>,
    endpoints: Vec<EndpointRow>,
    endpoint_changes: Vec<EndpointChangeRow>,
    credentials: Vec<CredentialRow>,
    credential_deletes: Vec<CredentialKey>,
    secrets: Vec<SecretRow>,
    secret_deletes: Vec<SecretKey>,
    number_changes: Vec<NumberChange>,
    number_releases: Vec<NumberKey>,
    states: Vec<StateChange>,
    chats: Vec<ChatRow>,
    pub(super) message_statuses: Vec<MessageStatusChange>,
    message_reads: Vec<MessageRead>,
    pub(super) chat_marks: Vec<ChatMarkRow>,
    message_receipts: Vec<MessageReceipt>,
    wakes: Vec<Hurry>,
    returned: Vec<Returned>,
    pub(super) dispatches: Vec<DispatchRow>,
    dispatch_releases: Vec<DispatchReleaseRow>,
    dispatches_taken: Vec<ObjectKey>,
    dispatch_deletes: Vec<ObjectKey>,
    deliveries: Vec<DeliveryRow>,
    delivery_ends: Vec<DeliveryEnd>,
    binding_puts: Vec<BindingRow>,
    binding_deletes: Vec<ObjectKey>,
    binding_refreshes: Vec<Refresh>,
    binding_qualifications: Vec<Qualified>,
    revisions: BTreeMap<(Id, Id), i64>,
    endpoint_deletions: Vec<EndpointDeletionRow>,
    tokens: Vec<TokenRow>,
    token_revocations: Vec<TokenRevocation>,
    endpoint_tokens: Vec<EndpointTokenRow>,
    token_credentials: Vec<TokenCredentialRow>,
    endpoint_token_revocations: Vec<TokenRevocation>,
    registration_failures: Vec<RegistrationFailureRow>,
    ban_lifts: Vec<BanLiftRow>,
}

/// What a batch that has secrets took for them.
fn needed(seal: Option<&Seal>) -> QueryResult<&Seal> {
    seal.ok_or_else(|| Corrupt::new("secret that nothing seals").into())
}

impl Plan {
    pub(super) fn endpoint(
        &mut self,
        seal: Option<&Seal>,
        endpoint: &Endpoint,
        external_id: i64,
        credentials: &[Ha1],
        secrets: &[(EndpointSecret, Secret)],
    ) -> QueryResult<()> {
        let (account, id) = (endpoint.account, endpoint.id);
        if !credentials.is_empty() {
            let sealed = needed(seal)?.credentials(account, id, credentials);
            self.credentials.extend(sealed);
        }
        for (which, secret) in secrets {
            let key = SecretKey::new(account, id, *which);
            self.secrets.push(needed(seal)?.secret(key, secret));
        }
        let mut endpoint = endpoint.clone();
        endpoint.external_id = external_id;
        self.endpoints.push(EndpointRow::new(endpoint)?);
        Ok(())
    }

    pub(super) fn endpoint_update(
        &mut self,
        seal: Option<&Seal>,
        endpoint: &Endpoint,
        credentials: &CredentialsChange,
        secrets: &[(EndpointSecret, Option<Secret>)],
    ) -> QueryResult<()> {
        let (account, id) = (endpoint.account, endpoint.id);
        let forget = |algorithm: &DigestAlgorithm| CredentialKey {
            account_id: account.into(),
            endpoint_id: id.into(),
            algorithm: algorithm_number(*algorithm),
        };
        let algorithms = DigestAlgorithm::ALL.iter();
        match credentials {
            CredentialsChange::Keep => {}
            CredentialsChange::KeepOnly(kept) => self
                .credential_deletes
                .extend(algorithms.filter(|a| !kept.contains(a)).map(forget)),
            CredentialsChange::Replace(values) => {
                self.credential_deletes.extend(algorithms.map(forget));
                if !values.is_empty() {
                    let sealed = needed(seal)?.credentials(account, id, values);
                    self.credentials.extend(sealed);
                }
            }
        }
        for (which, secret) in secrets {
            let key = || SecretKey::new(account, id, *which);
            self.secret_deletes.push(key());
            if let Some(secret) = secret {
                self.secrets.push(needed(seal)?.secret(key(), secret));
            }
        }
        self.endpoint_changes
            .push(EndpointChangeRow::new(endpoint.clone())?);
        Ok(())
    }

    pub(super) fn endpoint_token(
        &mut self,
        seal: Option<&Seal>,
        token: &EndpointToken,
        ha1: &[Ha1],
    ) -> QueryResult<()> {
        if !ha1.is_empty() {
            self.token_credentials
                .extend(needed(seal)?.token(token, ha1));
        }
        self.endpoint_tokens.push(token.clone().into());
        Ok(())
    }

    pub(super) fn chat(&mut self, account: Id, id: ChatId, key: &ChatKey, at: Timestamp) {
        self.chats.push(ChatRow {
            account_id: account,
            id: id.into(),
            endpoint_id: key.endpoint.into(),
            own_number: key.own_number.clone(),
            peer: key.peer.clone(),
            last_seq: 0,
            last_message_id: None,
            unread_count: 0,
            message_count: 0,
            activity_seq: 0,
            created_at: at.into(),
            updated_at: at.into(),
        });
    }

    pub(super) fn message_read(&mut self, account: Id, id: sipgraph_core::MessageId, read: bool) {
        self.message_reads.push(MessageRead {
            account_id: account,
            id: id.into(),
            is_read: read,
        });
    }

    /// Adds a write that needs nothing but its row.
    pub(super) fn row(&mut self, account_id: Id, at: Timestamp, write: &Write) {
        let object = |id: Id| ObjectKey { account_id, id };
        match write {
            Write::DomainInsert(domain) => {
                let (row, names) = DomainRow::split(domain.clone());
                self.domains.push(row);
                self.domain_names.extend(names);
            }
            Write::DomainUpdate {
                domain,
                aliases_added,
                aliases_removed,
            } => {
                let domain_id = domain.id.into();
                let added = aliases_added.iter().map(|name| DomainNameRow {
                    name: name.clone(),
                    account_id,
                    domain_id,
                    is_alias: true,
                });
                self.domain_names.extend(added);
                let removed = aliases_removed.iter().map(|name| NameKey {
                    account_id,
                    id: domain_id,
                    name: name.clone(),
                });
                self.domain_names_removed.extend(removed);
                self.domain_updates.push(DomainRow::split(domain.clone()).0);
            }
            Write::DomainDeleteBegin(id) => self.domain_deletions.push(DomainDeletionRow {
                account_id,
                domain_id: (*id).into(),
                created_at: at.into(),
            }),
            Write::EndpointDelete(id) => self.endpoint_deletions.push(EndpointDeletionRow {
                account_id,
                id: (*id).into(),
                created_at: at.into(),
            }),
            Write::NamesUniqueSet(unique_names) => self.names_unique.push(NamesUnique {
                id: account_id,
                unique_names: *unique_names,
            }),
            Write::SipProfilePut(profile) => self.sip_profiles.push(profile.clone().into()),
            Write::SipProfileEnforced => {
                self.sip_profiles_enforced
                    .push(AccountKey { id: account_id });
            }
            Write::ApplicationInsert(application) => {
                self.applications.push(application.clone().into());
            }
            Write::ApplicationUpdate(application) => {
                self.application_updates.push(application.clone().into());
            }
            Write::ApplicationDelete(id) => self.application_deletes.push(object((*id).into())),
            Write::NumberSet { number, endpoint } => self.number_changes.push(NumberChange {
                account_id,
                number: number.clone(),
                endpoint_id: endpoint.map(Into::into),
            }),
            Write::NumberRelease(number) => self.number_releases.push(NumberKey {
                account_id,
                number: number.clone(),
            }),
            Write::EndpointStateSet(id, state) => self.states.push(StateChange {
                account_id,
                id: (*id).into(),
                state: state_number(*state),
            }),
            Write::DispatchRelease {
                id,
                taken,
                rounds,
                due_at,
            } => self.dispatch_releases.push(DispatchReleaseRow {
                account_id,
                id: (*id).into(),
                taken: *taken,
                rounds: *rounds,
                due_at: (*due_at).into(),
            }),
            Write::DispatchesWake(recipient) => self.wakes.push(Hurry {
                account_id,
                recipient_id: (*recipient).into(),
                due_at: at.into(),
            }),
            Write::MessageReceiptSet { id, disposition } => {
                let (delivered_at, displayed_at) = match disposition {
                    Disposition::Delivered => (Some(at.into()), None),
                    Disposition::Displayed => (None, Some(at.into())),
                };
                self.message_receipts.push(MessageReceipt {
                    account_id,
                    id: (*id).into(),
                    delivered_at,
                    displayed_at,
                });
            }
            Write::DispatchTaken(id) => self.dispatches_taken.push(object((*id).into())),
            Write::DispatchDelete { id, .. } => {
                self.dispatch_deletes.push(object((*id).into()));
            }
            Write::DeliveryInsert(delivery) => self.deliveries.push(delivery.clone().into()),
            Write::DeliveryFinish {
                id,
                outcome,
                sip_status,
                reason,
                retry_at,
            } => self.delivery_ends.push(DeliveryEnd {
                account_id,
                id: (*id).into(),
                finished_at: at.into(),
                sip_status: sip_status.map(Into::into),
                reason: reason.clone(),
                outcome: outcome_number(*outcome),
                retry_at: retry_at.map(Into::into),
            }),
            Write::BindingPut(binding) => {
                let endpoint = binding.endpoint.into();
                self.raise_revision(account_id, endpoint);
                self.wakes.push(Hurry {
                    account_id,
                    recipient_id: endpoint,
                    due_at: binding.refreshed_at.into(),
                });
                // At a contact that is new nothing has failed.
                if binding.registered_at < binding.refreshed_at {
                    self.returned.push(Returned {
                        account_id,
                        contact_id: binding.id.into(),
                    });
                }
                self.binding_puts.push(binding.clone().into());
            }
            Write::BindingDelete(endpoint, id) => {
                self.raise_revision(account_id, (*endpoint).into());
                self.binding_deletes.push(object((*id).into()));
            }
            Write::BindingRefresh {
                endpoint: _,
                id,
                refresh,
            } => self.binding_refreshes.push(Refresh {
                account_id,
                id: (*id).into(),
                call_id: refresh.call_id.clone(),
                cseq: refresh.cseq.into(),
                refreshed_at: refresh.at.into(),
                expires_at: refresh.expires_at.into(),
            }),
            Write::BindingQualify {
                endpoint: _,
                id,
                status,
                round_trip,
                at,
            } => self.binding_qualifications.push(Qualified {
                account_id,
                id: (*id).into(),
                status: contact_number(*status),
                round_trip_us: round_trip.map(micros),
                qualified_at: (*at).into(),
            }),
            Write::TokenInsert { token, hash } => {
                self.tokens.push(TokenRow::new(token.clone(), *hash));
            }
            Write::TokenRevoke(id) => self.token_revocations.push(TokenRevocation {
                account_id,
                id: (*id).into(),
                revoked_at: at.into(),
            }),
            Write::EndpointTokenRevoke(id) => {
                self.endpoint_token_revocations.push(TokenRevocation {
                    account_id,
                    id: (*id).into(),
                    revoked_at: at.into(),
                });
            }
            Write::RegistrationFailurePut(failure) => {
                self.registration_failures.push(failure.clone().into());
            }
            Write::BanLift(source) => {
                self.ban_lifts
                    .push(BanLiftRow::new(account_id, *source, at));
            }
            Write::EndpointInsert { .. }
            | Write::EndpointUpdate { .. }
            | Write::DispatchInsert(_)
            | Write::EndpointTokenInsert { .. }
            | Write::DomainDelete(_)
            | Write::ChatInsert { .. }
            | Write::MessageInsert(_)
            | Write::MessageStatusSet { .. }
            | Write::MessageReadSet { .. }
            | Write::MessageDelete { .. }
            | Write::ChatMark { .. }
            | Write::ChatClear(_)
            | Write::ChatDelete(_) => {
                unreachable!("the batch treats these itself, because they need more than their row")
            }
        }
    }

    /// Whether it holds deletions, which are written last.
    pub(super) fn has_deletions(&self) -> bool {
        !self.endpoint_deletions.is_empty()
    }

    fn raise_revision(&mut self, account: Id, endpoint: Id) {
        *self.revisions.entry((account, endpoint)).or_default() += 1;
    }

    /// Writes all rows. What depends on another's effect waits for it: rows before those that refer to them, a binding's old row
    /// before its new one. All the rest, and so all that a message writes, is sent at once.
    pub(super) async fn write(
        self,
        c: &mut Conn,
        accounts: &BTreeMap<AccountId, AccountState>,
        chats: Vec<ChatCounters>,
    ) -> QueryResult<()> {
        begin_domain_deletions(c, self.domain_deletions).await?;
        let text = "DELETE FROM domain_names WHERE (account_id, domain_id, name) IN \
                    (SELECT k.account_id, k.id, k.name FROM {rows}) AND is_alias";
        run_over(c, text, self.domain_names_removed).await?;
        insert(c, "domains", self.domains).await?;
        insert(c, "domain_names", self.domain_names).await?;
        insert(c, "endpoints", self.endpoints).await?;
        forget_secrets(c, self.credential_deletes, self.secret_deletes).await?;
        insert(c, "credentials", self.credentials).await?;
        insert(c, "endpoint_secrets", self.secrets).await?;
        insert(c, "chats", self.chats).await?;
        insert(c, "endpoint_tokens", self.endpoint_tokens).await?;
        let counters: Vec<AccountCounters> = self
            .accounts
            .iter()
            .filter_map(|id| {
                accounts.get(id).map(|state| AccountCounters {
                    id: (*id).into(),
                    head_seq: state.head,
                    head_check: state.head_check,
                    last_external_id: state.last_external_id,
                })
            })
            .collect();
        let revisions: Vec<RevisionRaise> = self
            .revisions
            .iter()
            .map(|(&(account_id, id), &step)| RevisionRaise {
                account_id,
                id,
                step,
            })
            .collect();

        let mut all = Statements::default();
        all.insert("messages", self.messages);
        all.insert("dispatches", self.dispatches);
        all.insert("deliveries", self.deliveries);
        all.insert("events", self.events);
        all.insert("idempotency", self.idempotency);
        all.insert("tokens", self.tokens);
        all.add(
            "UPDATE accounts AS t SET head_seq = k.head_seq, head_check = k.head_check, \
             last_external_id = k.last_external_id FROM {rows} WHERE t.id = k.id",
            counters,
        );
        let chat_counts = "last_seq = k.last_seq, last_message_id = k.last_message_id, \
            unread_count = k.unread_count, message_count = k.message_count, \
            activity_seq = k.activity_seq, updated_at = k.updated_at";
        all.update("chats", chat_counts, chats);
        all.add(
            "UPDATE accounts AS t SET unique_names = k.unique_names FROM {rows} WHERE t.id = k.id",
            self.names_unique,
        );
        // A mark that is set stays until it is removed, unless encryption is no longer demanded.
        let profile = "(account_id) DO UPDATE SET default_ciphers = excluded.default_ciphers, \
            default_codecs = excluded.default_codecs, default_encryption = excluded.default_encryption, \
            default_send_as = excluded.default_send_as, version = excluded.version, is_begun = excluded.is_begun \
            AND (sip_profiles.is_begun OR sip_profiles.default_encryption <> excluded.default_encryption)";
        all.upsert("sip_profiles", profile, self.sip_profiles);
        all.add(
            "UPDATE sip_profiles AS t SET is_begun = FALSE FROM {rows} WHERE t.account_id = k.id",
            self.sip_profiles_enforced,
        );
        all.insert("applications", self.applications);
        let application = "name = k.name, callback_url = k.callback_url, \
            callback_method = k.callback_method, version = k.version";
        all.update("applications", application, self.application_updates);
        let domain = "description = k.description, digest_algorithms = k.digest_algorithms, \
            record_internal_messages = k.record_internal_messages, version = k.version";
        all.update("domains", domain, self.domain_updates);
        all.update("endpoints", ENDPOINT_CHANGES, self.endpoint_changes);
        all.update("endpoints", "state = k.state", self.states);
        all.add(
            "UPDATE account_numbers AS t SET endpoint_id = k.endpoint_id FROM {rows} \
             WHERE t.number = k.number AND t.account_id = k.account_id",
            self.number_changes,
        );
        all.update(
            "endpoints",
            "bindings_revision = t.bindings_revision + k.step",
            revisions,
        );
        let status = "status = k.status, failure_code = k.failure_code, \
            failure_sip_status = k.failure_sip_status, failure_reason = k.failure_reason, \
            status_at = k.status_at, status_seq = k.status_seq";
        all.update("messages", status, self.message_statuses);
        all.update("messages", "is_read = k.is_read", self.message_reads);
        all.add(&super::chats::mark_text(), self.chat_marks);
        let receipt = "delivered_at = COALESCE(t.delivered_at, k.delivered_at), \
            displayed_at = COALESCE(t.displayed_at, k.displayed_at)";
        all.update("messages", receipt, self.message_receipts);
        // The lease's number rises, so that a result that still comes for it is dropped.
        let release = "taken = k.taken, rounds = k.rounds, due_at = k.due_at, \
            lease = t.lease + 1, leased_until = NULL";
        all.update("dispatches", release, self.dispatch_releases);
        all.update("dispatches", "taken = TRUE", self.dispatches_taken);
        let end = "finished_at = k.finished_at, sip_status = k.sip_status, \
            reason = k.reason, outcome = k.outcome, retry_at = k.retry_at";
        all.update("deliveries", end, self.delivery_ends);
        // A refresh that was written behind must not undo a newer change of its binding.
        let refresh = "call_id = k.call_id, cseq = k.cseq, refreshed_at = k.refreshed_at, expires_at = k.expires_at";
        all.update_where(
            "bindings",
            refresh,
            "t.refreshed_at <= k.refreshed_at",
            self.binding_refreshes,
        );
        let qualified = "status = k.status, round_trip_us = k.round_trip_us, \
            qualified_at = k.qualified_at";
        all.update("bindings", qualified, self.binding_qualifications);
        all.update(
            "tokens",
            "revoked_at = k.revoked_at",
            self.token_revocations,
        );
        all.update(
            "endpoint_tokens",
            "revoked_at = k.revoked_at",
            self.endpoint_token_revocations,
        );
        all.insert("endpoint_token_credentials", self.token_credentials);
        let failures = "(account_id, source, aor, reason) DO UPDATE SET failed_at = excluded.failed_at, \
            failures = registration_failures.failures + excluded.failures, \
            domain_id = excluded.domain_id, endpoint_id = excluded.endpoint_id, \
            transport = excluded.transport";
        all.upsert(
            "registration_failures",
            failures,
            self.registration_failures,
        );
        let lifts = "(account_id, source) DO UPDATE SET lifted_at = excluded.lifted_at";
        all.upsert("ban_lifts", lifts, self.ban_lifts);
        all.run(c).await?;

        let replaced = self.binding_puts.iter().map(|row| ObjectKey {
            account_id: row.account_id,
            id: row.id,
        });
        delete(c, "bindings", replaced.collect()).await?;
        let mut all = Statements::default();
        all.insert("bindings", self.binding_puts);
        hurry(&mut all, self.wakes, self.returned);
        all.run(c).await?;
        delete(c, "bindings", self.binding_deletes).await?;
        delete(c, "dispatches", self.dispatch_deletes).await?;
        let text = "DELETE FROM account_numbers WHERE (account_id, number) IN \
                    (SELECT k.account_id, k.number FROM {rows})";
        run_over(c, text, self.number_releases).await?;
        delete(c, "applications", self.application_deletes).await?;
        delete_endpoints(c, self.endpoint_deletions).await
    }
}

/// What an update of an endpoint sets.
const ENDPOINT_CHANGES: &str = "display_name = k.display_name, description = k.description, \
    enabled = k.enabled, has_password = k.has_password, simulation = k.simulation, \
    updated_at = k.updated_at, version = k.version, application_id = k.application_id, \
    digest_algorithms = k.digest_algorithms, caller_id = k.caller_id, send_as = k.send_as, \
    allow_outside = k.allow_outside, ciphers = k.ciphers, codecs = k.codecs, \
    encryption = k.encryption, capacity = k.capacity, cps_limit = k.cps_limit, \
    auth_required = k.auth_required, nested = k.nested, out_sip_username = k.out_sip_username, \
    has_out_sip_password = k.has_out_sip_password, numbers = k.numbers";

/// Removes what others take the place of, or nothing.
async fn forget_secrets(
    c: &mut Conn,
    credentials: Vec<CredentialKey>,
    secrets: Vec<SecretKey>,
) -> QueryResult<()> {
    let text = "DELETE FROM credentials WHERE (account_id, endpoint_id, algorithm) IN \
                (SELECT k.account_id, k.endpoint_id, k.algorithm FROM {rows})";
    run_over(c, text, credentials).await?;
    let text = "DELETE FROM endpoint_secrets WHERE (account_id, endpoint_id, kind, item_id) IN \
                (SELECT k.account_id, k.endpoint_id, k.kind, k.item_id FROM {rows})";
    run_over(c, text, secrets).await?;
    Ok(())
}

impl Statements {
    fn insert<K: Columns>(&mut self, table: &str, rows: Vec<K>) {
        if !rows.is_empty() {
            self.add(&insert_text::<K>(table), rows);
        }
    }

    /// Inserts rows, or changes those that are there; `conflict` names the key and the changes.
    fn upsert<K: Columns>(&mut self, table: &str, conflict: &str, rows: Vec<K>) {
        if !rows.is_empty() {
            let insert = insert_text::<K>(table);
            self.add(&format!("{insert} ON CONFLICT {conflict}"), rows);
        }
    }

    /// Changes the rows with the given keys.
    fn update<K: Columns>(&mut self, table: &str, changes: &str, rows: Vec<K>) {
        if !rows.is_empty() {
            self.add(&update_text(table, changes), rows);
        }
    }

    /// Changes those of the rows with the given keys for which something holds.
    fn update_where<K: Columns>(&mut self, table: &str, changes: &str, holds: &str, rows: Vec<K>) {
        if !rows.is_empty() {
            let update = update_text(table, changes);
            self.add(&format!("{update} AND {holds}"), rows);
        }
    }
}

/// The text that changes the rows with the given keys.
fn update_text(table: &str, changes: &str) -> String {
    format!(
        "UPDATE {table} AS t SET {changes} FROM {{rows}} WHERE t.account_id = k.account_id AND t.id = k.id"
    )
}

async fn insert<K: Columns>(c: &mut Conn, table: &str, rows: Vec<K>) -> QueryResult<()> {
    run_over(c, &insert_text::<K>(table), rows).await?;
    Ok(())
}

/// Deletes the rows with the given keys.
async fn delete(c: &mut Conn, table: &str, keys: Vec<ObjectKey>) -> QueryResult<()> {
    let text = format!(
        "DELETE FROM {table} WHERE (account_id, id) IN (SELECT k.account_id, k.id FROM {{rows}})"
    );
    run_over(c, &text, keys).await?;
    Ok(())
}

/// Marks what is left of endpoints as hidden, frees their numbers, and deletes them with their credentials, tokens, failed
/// registrations and bindings.
async fn delete_endpoints(c: &mut Conn, endpoints: Vec<EndpointDeletionRow>) -> QueryResult<()> {
    if endpoints.is_empty() {
        return Ok(());
    }
    let keys: Vec<ObjectKey> = endpoints
        .iter()
        .map(|row| ObjectKey {
            account_id: row.account_id,
            id: row.id,
        })
        .collect();
    let mut all = Statements::default();
    let text = "INSERT INTO endpoint_deletions (account_id, endpoint_id, created_at) \
                SELECT t.account_id, t.id, k.created_at FROM {rows} \
                JOIN endpoints t ON t.account_id = k.account_id AND t.id = k.id";
    all.add(text, endpoints);
    for table in [
        "credentials",
        "endpoint_secrets",
        "endpoint_tokens",
        "registration_failures",
        "bindings",
    ] {
        let text = format!(
            "DELETE FROM {table} WHERE (account_id, endpoint_id) IN (SELECT k.account_id, k.id FROM {{rows}})"
        );
        all.add(&text, keys.clone());
    }
    let text = "UPDATE account_numbers AS t SET endpoint_id = NULL FROM {rows} \
                WHERE t.account_id = k.account_id AND t.endpoint_id = k.id";
    all.add(text, keys.clone());
    all.run(c).await?;
    delete(c, "endpoints", keys).await
}

/// Frees the names of domains, makes what was decided on them stale, and marks them.
async fn begin_domain_deletions(c: &mut Conn, domains: Vec<DomainDeletionRow>) -> QueryResult<()> {
    let keys: Vec<ObjectKey> = domains
        .iter()
        .map(|row| ObjectKey {
            account_id: row.account_id,
            id: row.domain_id,
        })
        .collect();
    insert(c, "domain_deletions", domains).await?;
    let text = "DELETE FROM domain_names WHERE (account_id, domain_id) IN \
                (SELECT k.account_id, k.id FROM {rows})";
    run_over(c, text, keys.clone()).await?;
    run_over(c, &update_text("domains", "version = t.version + 1"), keys).await?;
    Ok(())
}

/// Deletes a domain with its names and its mark.
pub(super) async fn domain_delete(c: &mut Conn, account_id: Id, id: Id) -> QueryResult<()> {
    let key = ObjectKey { account_id, id };
    for table in ["domain_names", "domain_deletions"] {
        let text = format!(
            "DELETE FROM {table} WHERE (account_id, domain_id) IN (SELECT k.account_id, k.id FROM {{rows}})"
        );
        run_over(c, &text, vec![key]).await?;
    }
    delete(c, "domains", vec![key]).await
}
