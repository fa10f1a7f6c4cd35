//! Endpoints: look-ups, lists, credentials.

use std::sync::Arc;

use diesel::{
    QueryResult,
    prelude::*,
    sql_types::{Bool, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, DomainId, EndpointId, Timestamp,
    commit::EndpointSecret,
    endpoint::{Endpoint, EndpointType},
    keyring::Secret,
    page::{NameKey, Page, PageKey, Slice},
    ports::store::{
        Credentials, EndpointFilter, EndpointKey, EndpointSecrets, Found, INSTANCE_TRUNKS_MAX,
        TRUNKS_MAX,
    },
};

use std::collections::BTreeMap;

use super::{
    CALLER_SEARCHED, Conn, Db, FOUND_ORDERS, NAME_SEARCHED, ORDERS, candidates, candidates_few,
    deletions::endpoint_there, domains, load, load_over, load_up_to,
};
use crate::{
    page::{by_creation, page, rows_to_read},
    rows::{
        AccountKey, CredentialRow, EndpointRow, NameKey as NameRow, SecretKey, SecretRow,
        TokenCredentialRow, convert, enabled_now, kind_number, state_number,
    },
    schema::{
        account_numbers, credentials, endpoint_secrets, endpoint_token_credentials,
        endpoint_tokens, endpoints,
    },
    seal::Sealing,
    search::{FIRST_LOOK, Few, Plan, SCANS, Search, is_indexed, pattern, places_of, term, time_of},
    sql::{Contains, Fixed, NAMES_IN_ACCOUNTS, NAMES_TWICE, Nth, OneOf, Orders},
    types::{DbId, DbTime, Id, Time},
};

fn of_account(account: AccountId) -> endpoints::BoxedQuery<'static, Db> {
    endpoints::table
        .filter(endpoints::account_id.eq(Id::from(account)))
        .into_boxed()
}

/// Endpoints by their ids.
fn one_of<I: Into<Id>>(ids: impl IntoIterator<Item = I>) -> OneOf {
    OneOf::new("endpoints.id", ids)
}

fn ids_of(ids: &[EndpointId]) -> Vec<Id> {
    ids.iter().map(|id| (*id).into()).collect()
}

fn filtered(account: AccountId, filter: &EndpointFilter) -> endpoints::BoxedQuery<'static, Db> {
    let EndpointFilter {
        ids,
        technology: _,
        domain,
        application,
        kind,
        state,
        number,
        enabled,
        from,
        to,
        name_contains,
        caller_id_contains,
        visible,
    } = filter;
    let mut query = of_account(account);
    for ids in [ids, visible].into_iter().flatten() {
        query = query.filter(one_of(ids.iter().copied()));
    }
    if let Some(domain) = domain {
        query = query.filter(endpoints::domain_id.eq(Id::from(*domain)));
    }
    if let Some(application) = application {
        query = query.filter(endpoints::application_id.eq(Id::from(*application)));
    }
    if let Some(kind) = kind {
        query = query.filter(endpoints::kind.eq(kind_number(*kind)));
        if *kind != EndpointType::SipUser {
            // So the index has it, which holds all but phones; both databases want to read it in the statement.
            query = query.filter(Fixed::<Bool>::new("endpoints.kind <> 0"));
        }
    }
    if let Some(state) = state {
        query = query.filter(endpoints::state.eq(state_number(*state)));
    }
    if let Some(number) = number {
        let having = account_numbers::table
            .filter(account_numbers::account_id.eq(Id::from(account)))
            .filter(account_numbers::number.eq(number.clone()))
            .select(account_numbers::endpoint_id);
        query = query.filter(endpoints::id.nullable().eq_any(having));
    }
    if let Some(enabled) = enabled {
        query = query.filter(enabled_now().eq(*enabled));
    }
    if let Some(from) = from {
        query = query.filter(endpoints::created_at.ge(Time::from(*from)));
    }
    if let Some(to) = to {
        query = query.filter(endpoints::created_at.lt(Time::from(*to)));
    }
    for (searched, text) in [
        (NAME_SEARCHED, name_contains),
        (CALLER_SEARCHED, caller_id_contains),
    ] {
        if let Some(text) = text {
            query = query.filter(Contains {
                searched,
                pattern: pattern(text),
            });
        }
    }
    query
}

fn only_one(mut rows: Vec<EndpointRow>) -> QueryResult<Found<Endpoint>> {
    Ok(match (rows.pop(), rows.is_empty()) {
        (None, _) => Found::None,
        (Some(row), true) => Found::One(row.try_into()?),
        (Some(_), false) => Found::Ambiguous,
    })
}

async fn by_id_in_txn(c: &mut Conn, account: AccountId, id: Id) -> QueryResult<Found<Endpoint>> {
    let rows = load(
        c,
        of_account(account)
            .filter(endpoints::id.eq(id))
            .select(EndpointRow::as_select()),
    )
    .await?;
    only_one(rows)
}

async fn by_name_in_txn(
    c: &mut Conn,
    account: AccountId,
    domain: Option<&str>,
    canonical: &str,
) -> QueryResult<Found<Endpoint>> {
    let mut query = of_account(account).filter(endpoints::canonical_name.eq(canonical.to_owned()));
    if let Some(name) = domain {
        let Some(id) = domains::domain_id(c, account, name).await? else {
            return Ok(Found::None);
        };
        query = query.filter(endpoints::domain_id.eq(id));
    } else {
        query = query.filter(endpoint_there());
    }
    let rows = load(c, query.select(EndpointRow::as_select())).await?;
    only_one(rows)
}

/// Finds an endpoint; one read transaction.
pub(crate) async fn endpoint(
    c: &mut Conn,
    account: AccountId,
    key: &EndpointKey,
) -> QueryResult<Found<Endpoint>> {
    match key {
        EndpointKey::Id(id) => by_id_in_txn(c, account, (*id).into()).await,
        EndpointKey::Name { domain, canonical } => {
            by_name_in_txn(c, account, domain.as_deref(), canonical).await
        }
        EndpointKey::Number(number) => {
            let holder: Option<Option<Id>> = account_numbers::table
                .find(number)
                .filter(account_numbers::account_id.eq(Id::from(account)))
                .select(account_numbers::endpoint_id)
                .get_result(c)
                .await
                .optional()?;
            match holder.flatten() {
                Some(holder) => by_id_in_txn(c, account, holder).await,
                None => Ok(Found::None),
            }
        }
    }
}

/// Which endpoints are trunks. The text has the kind, so that the partial index is used.
fn is_trunk() -> Fixed<Bool> {
    let kind = kind_number(EndpointType::ThirdParty);
    debug_assert_eq!(kind, 1, "the index on trunks is for this kind");
    Fixed::new("endpoints.kind = 1")
}

/// Returns the trunks of an account, the oldest first.
pub(crate) async fn trunks(c: &mut Conn, account: AccountId) -> QueryResult<Vec<Endpoint>> {
    let query = of_account(account)
        .filter(is_trunk())
        .order((endpoints::created_at, endpoints::id))
        .select(EndpointRow::as_select());
    convert(load_up_to(c, query, TRUNKS_MAX.into()).await?)
}

pub(crate) async fn endpoints_by_ids(
    c: &mut Conn,
    account: AccountId,
    ids: &[EndpointId],
) -> QueryResult<Vec<Endpoint>> {
    let rows = load(
        c,
        of_account(account)
            .filter(one_of(ids.iter().copied()))
            .select(EndpointRow::as_select()),
    )
    .await?;
    convert(rows)
}

/// By what a list is ordered with this filter.
fn orders(filter: &EndpointFilter) -> Orders {
    if filter.ids.is_some() || filter.visible.is_some() {
        FOUND_ORDERS
    } else {
        ORDERS
    }
}

/// Lists endpoints, newest first; none when a search would look at too many. One read transaction, where the plan is
/// [`Plan::Scan`].
pub(crate) async fn endpoints(
    c: &mut Conn,
    account: AccountId,
    filter: &EndpointFilter,
    slice: &Slice,
    plan: Plan,
) -> QueryResult<Option<Page<Endpoint>>> {
    let all = async |c: &mut Conn| {
        let query = filtered(account, filter);
        newest(c, query, orders(filter), slice, rows_to_read(slice)).await
    };
    let rows = match plan {
        Plan::One => all(c).await?,
        Plan::Candidates => match searched(c, account, filter, slice).await? {
            Some(rows) => rows,
            None => all(c).await?,
        },
        Plan::Scan => match scanned(c, account, filter, slice, &SCANS).await? {
            Some(rows) => rows,
            None => return Ok(None),
        },
    };
    Ok(Some(page(slice, convert(rows)?)))
}

async fn newest(
    c: &mut Conn,
    query: endpoints::BoxedQuery<'static, Db>,
    orders: Orders,
    slice: &Slice,
    rows: i64,
) -> QueryResult<Vec<EndpointRow>> {
    let created_at = Fixed::<DbTime>::new(orders.created_at);
    let query = by_creation!(query, created_at, endpoints::id, slice);
    load_up_to(c, query.select(EndpointRow::as_select()), rows).await
}

/// What a full-text index is asked for to find the texts of a filter.
fn search_terms(filter: &EndpointFilter) -> String {
    let searched = [
        ("name", &filter.name_contains),
        ("caller_id", &filter.caller_id_contains),
    ];
    let terms: Vec<String> = searched
        .into_iter()
        .filter_map(|(column, text)| Some((column, text.as_ref()?)))
        .filter(|(_, text)| is_indexed(text))
        .map(|(column, text)| term(column, text))
        .collect();
    terms.join(" AND ")
}

/// Searches where SQLite's index is asked by statements of its own. The index comes first, because it knows at once all that have a rare
/// text; then the newest, because a common text fills the page from these at a tenth of what the index costs.
async fn searched(
    c: &mut Conn,
    account: AccountId,
    filter: &EndpointFilter,
    slice: &Slice,
) -> QueryResult<Option<Vec<EndpointRow>>> {
    let terms = search_terms(filter);
    match candidates_few(c, &terms).await? {
        Few::None => return Ok(Some(Vec::new())),
        Few::These(condition) => {
            let query = filtered(account, filter).filter(condition);
            let rows = newest(c, query, FOUND_ORDERS, slice, rows_to_read(slice)).await?;
            return Ok(Some(rows));
        }
        Few::More => {}
    }
    if let Some(rows) = scanned(c, account, filter, slice, &[FIRST_LOOK]).await? {
        return Ok(Some(rows));
    }
    of_candidates(c, account, filter, &terms, slice).await
}

/// Reads the rows of a page from the candidates of the full-text index, some at a time; none where the database has none.
async fn of_candidates(
    c: &mut Conn,
    account: AccountId,
    filter: &EndpointFilter,
    terms: &str,
    slice: &Slice,
) -> QueryResult<Option<Vec<EndpointRow>>> {
    /// The most candidates of one step; each is a parameter of a statement.
    const STEP_MAX: i64 = 8192;
    let wanted = rows_to_read(slice);
    let enough = usize::try_from(wanted).unwrap_or(usize::MAX);
    let place = |key: Option<PageKey>| key.map(|key| places_of(key.position));
    // A list runs from the newest: what comes after a key is older.
    let mut from = place(slice.before).map_or(0, |(first, _)| first);
    let mut to = place(slice.after).map_or(i64::MAX, |(_, last)| last);
    // Some more than the page shows: those that the other fields of the filter hide are few mostly.
    let mut step = (wanted + wanted / 2).max(64);
    let mut rows = Vec::new();
    loop {
        let search = Search {
            account: account.into(),
            terms,
            from,
            to,
            backward: slice.backward,
            limit: step,
        };
        let Some(found) = candidates(c, &search).await? else {
            return Ok(None);
        };
        let is_last = found.len() < usize::try_from(step).unwrap_or(usize::MAX);
        // Others of the last one's microsecond may follow, and their order is that of their ids.
        let edge = found
            .last()
            .filter(|_| !is_last)
            .map(|(place, _)| time_of(*place));
        let whole = found
            .iter()
            .filter(|(place, _)| edge.is_none_or(|edge| time_of(*place) != edge));
        let ids: Vec<Id> = whole.map(|(_, id)| *id).collect();
        if !ids.is_empty() {
            let query = filtered(account, filter).filter(one_of(ids));
            rows.extend(newest(c, query, FOUND_ORDERS, slice, wanted).await?);
        }
        if is_last || rows.len() >= enough {
            rows.truncate(enough);
            return Ok(Some(rows));
        }
        if let Some(edge) = edge {
            if slice.backward {
                from = places_of(edge).0;
            } else {
                to = places_of(edge).1;
            }
        }
        step = (step * 4).min(STEP_MAX);
    }
}

/// Reads the rows of a page from the newest, of which it looks at so many in each step; none when the last does not fill it.
async fn scanned(
    c: &mut Conn,
    account: AccountId,
    filter: &EndpointFilter,
    slice: &Slice,
    steps: &[i64],
) -> QueryResult<Option<Vec<EndpointRow>>> {
    let wanted = rows_to_read(slice);
    let enough = usize::try_from(wanted).unwrap_or(usize::MAX);
    for &most in steps {
        let all = by_creation!(
            of_account(account),
            endpoints::created_at,
            endpoints::id,
            slice
        );
        let query = Nth {
            query: all.select((endpoints::created_at, endpoints::id)),
            others: most,
        };
        let edge: Vec<(Time, Id)> = load(c, query).await?;
        let edge = edge.into_iter().next().map(|(at, id)| PageKey {
            position: at.0,
            tie: id.0,
        });
        let part = match edge {
            Some(edge) if slice.backward => Slice {
                after: Some(edge),
                ..*slice
            },
            Some(edge) => Slice {
                before: Some(edge),
                ..*slice
            },
            None => *slice,
        };
        let rows = newest(c, filtered(account, filter), ORDERS, &part, wanted).await?;
        if edge.is_none() || rows.len() >= enough {
            return Ok(Some(rows));
        }
    }
    Ok(None)
}

/// Whether the account has more endpoints than a search without an index looks at.
async fn is_too_large(c: &mut Conn, account: AccountId) -> QueryResult<bool> {
    let most = SCANS.iter().copied().max().unwrap_or_default();
    let newest = of_account(account).order(endpoints::created_at);
    let query = Nth {
        query: newest.select(endpoints::id),
        others: most,
    };
    let beyond: Vec<Id> = load(c, query).await?;
    Ok(!beyond.is_empty())
}

/// Lists endpoints by name, the last byte by byte first; none when a search would look at too many.
pub(crate) async fn endpoints_by_name(
    c: &mut Conn,
    account: AccountId,
    filter: &EndpointFilter,
    slice: &Slice<NameKey>,
    plan: Plan,
) -> QueryResult<Option<Page<Endpoint>>> {
    if plan == Plan::Scan && is_too_large(c, account).await? {
        return Ok(None);
    }
    let mut query = filtered(account, filter);
    let name = Fixed::<Text>::new(orders(filter).name);
    // As in a list by creation: the first comparison lets an index be entered.
    if let Some(NameKey { name: last, id }) = slice.after.clone() {
        let follows = name.lt(last.clone()).or(endpoints::id.lt(Id(id)));
        query = query.filter(name.le(last)).filter(follows);
    }
    if let Some(NameKey { name: first, id }) = slice.before.clone() {
        let precedes = name.gt(first.clone()).or(endpoints::id.gt(Id(id)));
        query = query.filter(name.ge(first)).filter(precedes);
    }
    let query = if slice.backward {
        query.order((name.asc(), endpoints::id.asc()))
    } else {
        query.order((name.desc(), endpoints::id.desc()))
    };
    let query = query.select(EndpointRow::as_select());
    let rows = load_up_to(c, query, rows_to_read(slice)).await?;
    Ok(Some(page(slice, convert(rows)?)))
}

/// Counts endpoints; none when a search would look at too many.
pub(crate) async fn endpoints_count(
    c: &mut Conn,
    account: AccountId,
    filter: &EndpointFilter,
    plan: Plan,
) -> QueryResult<Option<i64>> {
    if plan == Plan::Scan && is_too_large(c, account).await? {
        return Ok(None);
    }
    let count = filtered(account, filter).count().get_result(c).await?;
    Ok(Some(count))
}

/// Reads an endpoint by its name in a domain, with its HA1 values and those of its live tokens opened. For a name that is not
/// there the same statements run, with ids that nothing has.
pub(crate) async fn endpoint_credentials(
    c: &mut Conn,
    sealing: &Sealing,
    domain: DomainId,
    canonical: &str,
    now: Timestamp,
) -> QueryResult<Option<Arc<Credentials>>> {
    let row = endpoints::table
        .filter(endpoints::domain_id.eq(Id::from(domain)))
        .filter(endpoints::canonical_name.eq(canonical))
        .select(EndpointRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    let nobody = (Id([0; 16]), Id([0; 16]));
    let (account_id, id) = row.as_ref().map_or(nobody, |row| (row.account_id, row.id));
    let sealed = credentials::table
        .filter(credentials::account_id.eq(account_id))
        .filter(credentials::endpoint_id.eq(id))
        .order((credentials::algorithm, credentials::charset))
        .select(CredentialRow::as_select())
        .load(c)
        .await?;
    let of_token = endpoint_tokens::account_id
        .eq(endpoint_token_credentials::account_id)
        .and(endpoint_tokens::id.eq(endpoint_token_credentials::token_id));
    let tokens = endpoint_token_credentials::table
        .inner_join(endpoint_tokens::table.on(of_token))
        .filter(endpoint_tokens::account_id.eq(account_id))
        .filter(endpoint_tokens::endpoint_id.eq(id))
        .filter(endpoint_tokens::expires_at.gt(Time::from(now)))
        .filter(endpoint_tokens::revoked_at.is_null())
        .select((TokenCredentialRow::as_select(), endpoint_tokens::expires_at))
        .load(c)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Credentials {
        endpoint: Arc::new(row.try_into()?),
        ha1: sealing.open(sealed)?,
        tokens: sealing.open_tokens(tokens)?,
    })))
}

/// The endpoints that have one of the names that [`keys_of`] gives.
const WITH_NAMES: &str = "FROM {rows} JOIN endpoints t ON t.account_id = k.account_id \
                          AND t.canonical_name = k.name AND t.domain_id = k.id";

fn keys_of(account: AccountId, names: Vec<(DomainId, String)>) -> Vec<NameRow> {
    let key = |(domain, name): (DomainId, String)| NameRow {
        account_id: account.into(),
        id: domain.into(),
        name,
    };
    names.into_iter().map(key).collect()
}

/// Which of these canonical names are taken in their domains.
pub(crate) async fn endpoint_names_taken(
    c: &mut Conn,
    account: AccountId,
    names: Vec<(DomainId, String)>,
) -> QueryResult<Vec<(DomainId, String)>> {
    let text = format!("SELECT t.domain_id, t.canonical_name {WITH_NAMES}");
    let keys = keys_of(account, names);
    let taken = load_over::<_, (DbId, Text), (Id, String)>(c, &text, keys).await?;
    Ok(taken
        .into_iter()
        .map(|(domain, name)| (domain.into(), name))
        .collect())
}

/// Reads the endpoints with these canonical names in these domains. One read transaction.
pub(crate) async fn endpoints_by_names(
    c: &mut Conn,
    account: AccountId,
    names: Vec<(DomainId, String)>,
) -> QueryResult<Vec<Endpoint>> {
    let text = format!("SELECT t.id {WITH_NAMES}");
    let ids = load_over::<_, DbId, Id>(c, &text, keys_of(account, names)).await?;
    let ids: Vec<EndpointId> = ids.into_iter().map(Into::into).collect();
    endpoints_by_ids(c, account, &ids).await
}

/// Reads and opens all secrets of endpoints. One read transaction.
pub(crate) async fn endpoint_secrets(
    c: &mut Conn,
    sealing: &Sealing,
    account: AccountId,
    ids: &[EndpointId],
) -> QueryResult<Vec<EndpointSecrets>> {
    let mut all: BTreeMap<Id, EndpointSecrets> = BTreeMap::new();
    let sealed: Vec<CredentialRow> = credentials::table
        .filter(credentials::account_id.eq(Id::from(account)))
        .filter(credentials::endpoint_id.eq_any(ids_of(ids)))
        .order((credentials::algorithm, credentials::charset))
        .select(CredentialRow::as_select())
        .load(c)
        .await?;
    for row in sealed {
        let endpoint = row.endpoint_id;
        let opened = sealing.open(vec![row])?;
        all.entry(endpoint)
            .or_insert_with(|| EndpointSecrets::none(endpoint.into()))
            .ha1
            .extend(opened);
    }
    let sealed: Vec<SecretRow> = endpoint_secrets::table
        .filter(endpoint_secrets::account_id.eq(Id::from(account)))
        .filter(endpoint_secrets::endpoint_id.eq_any(ids_of(ids)))
        .select(SecretRow::as_select())
        .load(c)
        .await?;
    for row in sealed {
        let (endpoint, which) = (row.endpoint_id, row.which()?);
        let (_, secret) = sealing.open_secret(row)?;
        all.entry(endpoint)
            .or_insert_with(|| EndpointSecrets::none(endpoint.into()))
            .others
            .push((which, secret));
    }
    Ok(all.into_values().collect())
}

/// Which of these canonical names the account's endpoints have.
pub(crate) async fn account_names_taken(
    c: &mut Conn,
    account: AccountId,
    names: Vec<String>,
) -> QueryResult<Vec<String>> {
    let keys: Vec<NameRow> = names
        .into_iter()
        .map(|name| NameRow {
            account_id: account.into(),
            id: account.into(),
            name,
        })
        .collect();
    let taken = load_over::<_, (DbId, Text), (Id, String)>(c, NAMES_IN_ACCOUNTS, keys).await?;
    Ok(taken.into_iter().map(|(_, name)| name).collect())
}

pub(crate) async fn endpoint_name_twice(
    c: &mut Conn,
    account: AccountId,
) -> QueryResult<Option<String>> {
    let keys = vec![AccountKey { id: account.into() }];
    type Sql = (DbId, Nullable<Text>);
    let twice = load_over::<_, Sql, (Id, Option<String>)>(c, NAMES_TWICE, keys).await?;
    Ok(twice.into_iter().find_map(|(_, name)| name))
}

pub(crate) async fn has_system_gateway(c: &mut Conn, account: AccountId) -> QueryResult<bool> {
    let gateways = of_account(account)
        .filter(endpoints::kind.eq(kind_number(EndpointType::SystemGateway)))
        .count();
    let count: i64 = gateways.get_result(c).await?;
    Ok(count > 0)
}

/// Returns the trunks of the instance that stand somewhere.
pub(crate) async fn trunks_of_instance(c: &mut Conn) -> QueryResult<Vec<Endpoint>> {
    let query = endpoints::table
        .filter(is_trunk())
        .filter(endpoints::nested.is_not_null())
        .order((endpoints::account_id, endpoints::created_at, endpoints::id))
        .select(EndpointRow::as_select())
        .into_boxed();
    convert(load_up_to(c, query, INSTANCE_TRUNKS_MAX.into()).await?)
}

/// Reads and opens the passwords of a trunk for digest challenges.
pub(crate) async fn trunk_passwords(
    c: &mut Conn,
    sealing: &Sealing,
    account: AccountId,
    trunk: EndpointId,
) -> QueryResult<Vec<(EndpointSecret, Secret)>> {
    let sealed: Vec<SecretRow> = endpoint_secrets::table
        .filter(endpoint_secrets::account_id.eq(Id::from(account)))
        .filter(endpoint_secrets::endpoint_id.eq(Id::from(trunk)))
        .select(SecretRow::as_select())
        .load(c)
        .await?;
    let mut passwords = Vec::with_capacity(sealed.len());
    for row in sealed {
        let which = row.which()?;
        if which != EndpointSecret::VoipToken {
            passwords.push((which, sealing.open_secret(row)?.1));
        }
    }
    Ok(passwords)
}

/// Reads and opens the tokens for VoIP clients of endpoints.
pub(crate) async fn voip_tokens(
    c: &mut Conn,
    sealing: &Sealing,
    account: AccountId,
    ids: &[EndpointId],
) -> QueryResult<Vec<(EndpointId, Secret)>> {
    let kind = SecretKey::new(account, EndpointId([0; 16]), EndpointSecret::VoipToken).kind;
    let sealed: Vec<SecretRow> = endpoint_secrets::table
        .filter(endpoint_secrets::account_id.eq(Id::from(account)))
        .filter(endpoint_secrets::endpoint_id.eq_any(ids_of(ids)))
        .filter(endpoint_secrets::kind.eq(kind))
        .select(SecretRow::as_select())
        .load(c)
        .await?;
    sealed
        .into_iter()
        .map(|row| sealing.open_secret(row).map_err(Into::into))
        .collect()
}
