//! SQLite: a statement over many rows is a prepared statement run for each; there is no network between.

use diesel::{
    Connection as _, QueryResult, SqliteConnection,
    deserialize::FromSqlRow,
    expression::QueryMetadata,
    query_dsl::{CompatibleType, LoadQuery},
    sql_types::{BigInt, Text},
};

use sipgraph_core::search::Words;

use crate::{
    rows::MessageWords,
    search::{FEW, Few, MessageSearch, Search, account_word, ascii_word},
    sql::{Binds, Columns, Condition, Limited, Orders, Sql, bind},
    types::{DbId, Id, Time},
};

#[expect(clippy::duplicate_mod, reason = "one file, compiled once per backend")]
#[path = "../apply/mod.rs"]
pub(crate) mod apply;
#[expect(clippy::duplicate_mod, reason = "one file, compiled once per backend")]
#[path = "../queries/mod.rs"]
pub(crate) mod queries;

pub(crate) type Conn = crate::exec::sqlite::Connection;
pub(crate) type Db = diesel::sqlite::Sqlite;

/// Begins a read transaction: one snapshot for all its statements.
pub(crate) const BEGIN_READ: &str = "BEGIN";
/// There is one writer: no row needs to be kept.
pub(crate) const FOR_UPDATE: &str = "";
/// There is one writer: no row is claimed by another at this moment.
pub(crate) const FOR_UPDATE_SKIP_LOCKED: &str = "";
/// Reads which key is in use; it stays so until the transaction ends, because there is one writer.
pub(crate) const KEY_IN_USE: &str = "SELECT key_id FROM instance";

/// How lists are ordered; names byte by byte.
pub(crate) const ORDERS: Orders = Orders {
    name: "endpoints.name",
    created_at: "endpoints.created_at",
    seq: "messages.seq",
    log_seq: "messages.log_seq",
};
/// How lists are ordered of rows that are found by their ids. Without the sign SQLite walks through the account's rows in the order
/// of an index and looks at each whether it is wanted, because it expects to fill the page soon.
pub(crate) const FOUND_ORDERS: Orders = Orders {
    name: "+endpoints.name",
    created_at: "+endpoints.created_at",
    seq: "+messages.seq",
    log_seq: "+messages.log_seq",
};
/// The events `t` that have a text, by their endpoint. Unless the index is named, SQLite walks through the account's whole log: it takes
/// an account for few rows.
pub(crate) const EVENTS_WITH_TEXT: &str = "events t INDEXED BY events_text";
/// Whether a list of some endpoints' rows is merged out of the lists of each. SQLite would walk through the rows of the whole account, or
/// sort all rows of these endpoints; and there is no network between.
pub(crate) const LISTS_MERGED: bool = true;
/// What a text is searched in; SQLite's LIKE takes ASCII letters of either case for the same, and no others.
pub(crate) const NAME_SEARCHED: &str = "endpoints.name";
/// What a text is searched in for caller ids, as for names.
pub(crate) const CALLER_SEARCHED: &str = "endpoints.caller_id";

/// Reads candidates for a search from the full-text index, in the order of creation.
pub(crate) async fn candidates(
    c: &mut Conn,
    search: &Search<'_>,
) -> QueryResult<Option<Vec<(i64, Id)>>> {
    let Search {
        account,
        terms,
        from,
        to,
        backward,
        limit,
    } = search;
    let order = if *backward { "ASC" } else { "DESC" };
    let text = format!(
        "SELECT r.place, r.endpoint_id FROM _endpoint_search CROSS JOIN _endpoint_search_places r \
         ON r.place = _endpoint_search.rowid WHERE _endpoint_search MATCH ? \
         AND _endpoint_search.rowid BETWEEN ? AND ? AND r.account_id = ? \
         ORDER BY _endpoint_search.rowid {order} LIMIT {limit}"
    );
    let values = vec![
        bind::<Db, Text, _>((*terms).to_owned()),
        bind::<Db, BigInt, _>(*from),
        bind::<Db, BigInt, _>(*to),
        bind::<Db, DbId, _>(*account),
    ];
    load_text::<(BigInt, DbId), _>(c, text, values)
        .await
        .map(Some)
}

/// Asks the full-text index for candidates, of whatever account, until it has given more than a few. They come in the order that costs it
/// least.
pub(crate) async fn candidates_few(c: &mut Conn, terms: &str) -> QueryResult<Few> {
    let text = format!(
        "SELECT rowid FROM _endpoint_search WHERE _endpoint_search MATCH ? LIMIT {}",
        FEW + 1
    );
    let values = vec![bind::<Db, Text, _>(terms.to_owned())];
    let places = load_text::<BigInt, i64>(c, text, values).await?;
    if places.is_empty() {
        return Ok(Few::None);
    }
    if places.len() > FEW {
        return Ok(Few::More);
    }
    let places: Vec<String> = places.iter().map(ToString::to_string).collect();
    let text = "endpoints.id IN (SELECT r.endpoint_id FROM json_each(?) k \
                CROSS JOIN _endpoint_search_places r ON r.place = k.value)";
    let places = format!("[{}]", places.join(","));
    Ok(Few::These(Condition::new(text.to_owned(), vec![places])))
}

/// Which messages have the words of a search in their texts.
pub(crate) const MESSAGE_FOUND: &str = "messages.id IN (SELECT r.message_id FROM _message_search \
    CROSS JOIN _message_search_places r ON r.place = _message_search.rowid WHERE _message_search MATCH ?)";

/// Reads messages with the words of a search from the full-text index, in the order of the log, which that of the index is for
/// one account: as many as are asked for, so that a common word costs no sorting of all that have it.
pub(crate) async fn found_first(
    c: &mut Conn,
    search: &MessageSearch<'_>,
) -> QueryResult<Option<Vec<Id>>> {
    let MessageSearch {
        account,
        chat,
        terms,
        older_than,
        newer_than,
        backward,
        limit,
    } = search;
    let mut to = i64::MAX;
    if let Some(position) = older_than {
        let Some(place) = place_beside(c, *account, *chat, *position, ("<", "DESC")).await? else {
            return Ok(Some(Vec::new()));
        };
        to = place;
    }
    let mut from = i64::MIN;
    if let Some(position) = newer_than {
        let Some(place) = place_beside(c, *account, *chat, *position, (">", "ASC")).await? else {
            return Ok(Some(Vec::new()));
        };
        from = place;
    }
    let order = if *backward { "ASC" } else { "DESC" };
    let text = format!(
        "SELECT r.message_id FROM _message_search CROSS JOIN _message_search_places r \
         ON r.place = _message_search.rowid WHERE _message_search MATCH ? \
         AND _message_search.rowid BETWEEN ? AND ? ORDER BY _message_search.rowid {order} LIMIT {limit}"
    );
    let query: Sql<'_, Db, DbId> = Sql::new(
        &text,
        vec![
            bind::<Db, Text, _>(*terms),
            bind::<Db, BigInt, _>(from),
            bind::<Db, BigInt, _>(to),
        ],
    );
    diesel_async::RunQueryDsl::load(query, c).await.map(Some)
}

/// The place in the index of the message next to a position, of a chat or of the account's log, that has one.
async fn place_beside(
    c: &mut Conn,
    account: Id,
    chat: Option<Id>,
    position: i64,
    (side, order): (&str, &str),
) -> QueryResult<Option<i64>> {
    let mut values = vec![bind::<Db, DbId, _>(account)];
    let column = match chat {
        Some(chat) => {
            values.push(bind::<Db, DbId, _>(chat));
            "m.chat_id = ? AND m.seq"
        }
        None => "m.log_seq",
    };
    values.push(bind::<Db, BigInt, _>(position));
    let by = if chat.is_some() { "m.seq" } else { "m.log_seq" };
    let text = format!(
        "SELECT p.place FROM messages m CROSS JOIN _message_search_places p ON p.message_id = m.id \
         WHERE m.account_id = ? AND {column} {side} ? ORDER BY {by} {order} LIMIT 1"
    );
    let query: Sql<'_, Db, BigInt> = Sql::new(&text, values);
    let places: Vec<i64> = diesel_async::RunQueryDsl::load(query, c).await?;
    Ok(places.into_iter().next())
}

/// What the index is asked for to find words.
pub(crate) fn search_terms(account: Id, words: &Words) -> String {
    let terms: Vec<String> = words
        .as_slice()
        .iter()
        .map(|word| format!("\"{}\"", ascii_word(word)))
        .collect();
    // The last is the beginning of a word.
    format!("\"{}\" {}*", account_word(account), terms.join(" "))
}

/// Puts the words of messages into the index, with the word of their account.
pub(crate) async fn index_words(
    c: &mut Conn,
    account: Id,
    words: Vec<(Id, Words)>,
) -> QueryResult<()> {
    let rows = || {
        let rows = words.iter().map(|(id, words)| {
            let words: Vec<String> = words.as_slice().iter().map(|w| ascii_word(w)).collect();
            MessageWords {
                account_id: account,
                id: *id,
                words: format!("{} {}", account_word(account), words.join(" ")),
            }
        });
        rows.collect::<Vec<_>>()
    };
    let text = "INSERT INTO _message_search_places (message_id) SELECT t.id FROM {rows} \
                JOIN messages t ON t.account_id = k.account_id AND t.id = k.id";
    run_over(c, text, rows()).await?;
    let text = "INSERT INTO _message_search (rowid, words) SELECT p.place, k.words FROM {rows} \
                JOIN _message_search_places p ON p.message_id = k.id";
    run_over(c, text, rows()).await.map(|_| ())
}

/// The time that claims go by: the caller's, because there is one node.
pub(crate) async fn claim_time(_c: &mut Conn, caller: Time) -> QueryResult<Time> {
    Ok(caller)
}

fn row_of<K: Columns>() -> String {
    let values: Vec<String> = K::NAMES.iter().map(|name| format!("? AS {name}")).collect();
    format!("(SELECT {}) AS k", values.join(", "))
}

/// Runs a statement over rows; `{rows}` in the text becomes `... AS k`. Gives how many rows it changed.
pub(crate) async fn run_over<K: Columns>(
    c: &mut Conn,
    text: &str,
    rows: Vec<K>,
) -> QueryResult<usize> {
    if rows.is_empty() {
        return Ok(0);
    }
    let text = text.replace("{rows}", &row_of::<K>());
    c.spawn_blocking(move |c| run_each(c, &text, &rows)).await
}

/// The wrapper would copy the values of each statement first; on the connection itself they are bound where they are.
fn run_each<K: Columns>(c: &mut SqliteConnection, text: &str, rows: &[K]) -> QueryResult<usize> {
    let mut changed = 0;
    for row in rows {
        let statement: Sql<'_, Db, ()> = Sql::new(text, row.scalars());
        changed += c.execute_returning_count(&statement)?;
    }
    Ok(changed)
}

/// Runs a query over rows, as [`run_over`]; `ST` is the SQL type of what it selects.
pub(crate) async fn load_over<K, ST, U>(
    c: &mut Conn,
    text: &str,
    rows: Vec<K>,
) -> QueryResult<Vec<U>>
where
    K: Columns,
    ST: CompatibleType<U, Db> + 'static,
    ST::SqlType: 'static,
    U: FromSqlRow<ST::SqlType, Db> + Send + 'static,
    Db: QueryMetadata<ST>,
{
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let text = text.replace("{rows}", &row_of::<K>());
    c.spawn_blocking(move |c| load_each::<K, ST, U>(c, &text, &rows))
        .await
}

fn load_each<K, ST, U>(c: &mut SqliteConnection, text: &str, rows: &[K]) -> QueryResult<Vec<U>>
where
    K: Columns,
    ST: CompatibleType<U, Db> + 'static,
    ST::SqlType: 'static,
    U: FromSqlRow<ST::SqlType, Db> + Send + 'static,
    Db: QueryMetadata<ST>,
{
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let query: Sql<'_, Db, ST> = Sql::new(text, row.scalars());
        found.append(&mut diesel::RunQueryDsl::load(query, c)?);
    }
    Ok(found)
}

/// Runs the first query of a batch; the executor has begun its transaction.
pub(crate) use self::load_over as load_first;

/// Loads the rows of a query that is a text, as [`load`]; `ST` is the SQL type of what it selects.
async fn load_text<ST, U>(
    c: &mut Conn,
    text: String,
    values: Binds<'static, Db>,
) -> QueryResult<Vec<U>>
where
    ST: CompatibleType<U, Db> + 'static,
    ST::SqlType: 'static,
    U: FromSqlRow<ST::SqlType, Db> + Send + 'static,
    Db: QueryMetadata<ST>,
{
    c.spawn_blocking(move |c| {
        let query: Sql<'_, Db, ST> = Sql::new(&text, values);
        diesel::RunQueryDsl::load(query, c)
    })
    .await
}

/// The text of a query over rows that gives the first of what it finds for each row: `rest` names the row `k` and has the limit.
pub(crate) fn first_of_each(columns: &str, table: &str, rest: &str) -> String {
    // It is run for each row.
    format!("SELECT {columns} FROM {{rows}} CROSS JOIN {table} {rest}")
}

/// The text of an insert of rows.
pub(crate) fn insert_text<K: Columns>(table: &str) -> String {
    let names = K::NAMES.join(", ");
    let marks = vec!["?"; K::NAMES.len()].join(", ");
    format!("INSERT INTO {table} ({names}) VALUES ({marks})")
}

/// Loads the rows of a query of the DSL. The wrapper would copy each value out of SQLite before it is read; on the connection
/// itself it is read where it is.
pub(crate) async fn load<Q, U>(c: &mut Conn, query: Q) -> QueryResult<Vec<U>>
where
    Q: diesel::RunQueryDsl<SqliteConnection>
        + LoadQuery<'static, SqliteConnection, U>
        + Send
        + 'static,
    U: Send + 'static,
{
    c.spawn_blocking(move |c| diesel::RunQueryDsl::load(query, c))
        .await
}

/// Loads at most so many rows of a query of the DSL.
pub(crate) async fn load_up_to<Q, U>(c: &mut Conn, query: Q, rows: i64) -> QueryResult<Vec<U>>
where
    Q: Send + 'static,
    Limited<Q>: LoadQuery<'static, SqliteConnection, U>,
    U: Send + 'static,
{
    c.spawn_blocking(move |c| {
        let most = usize::try_from(rows).unwrap_or(0);
        Limited { query, rows }
            .internal_load(c)?
            .take(most)
            .collect()
    })
    .await
}

type Ask<T> = Box<dyn FnOnce(&mut SqliteConnection) -> QueryResult<Take<T>> + Send>;

/// Takes an answer into its place.
type Take<T> = Box<dyn FnOnce(&mut T) -> QueryResult<()> + Send>;

/// Queries over rows, each with what takes its answer into `T`.
pub(crate) struct Looks<T>(Vec<Ask<T>>);

impl<T: 'static> Looks<T> {
    /// Begins with none.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a query, as for [`load_over`]; without rows there is nothing to ask.
    pub(crate) fn add<K, ST, U>(
        &mut self,
        text: &str,
        rows: Vec<K>,
        take: fn(&mut T, Vec<U>) -> QueryResult<()>,
    ) where
        K: Columns,
        ST: CompatibleType<U, Db> + 'static,
        ST::SqlType: 'static,
        U: FromSqlRow<ST::SqlType, Db> + Send + 'static,
        Db: QueryMetadata<ST>,
    {
        if !rows.is_empty() {
            let text = text.replace("{rows}", &row_of::<K>());
            self.0.push(Box::new(move |c| {
                let found = load_each::<K, ST, U>(c, &text, &rows)?;
                let taken: Take<T> = Box::new(move |place| take(place, found));
                Ok(taken)
            }));
        }
    }

    /// Asks them.
    pub(crate) async fn run(self, c: &mut Conn, place: &mut T) -> QueryResult<()> {
        let answers: Vec<Take<T>> = c
            .spawn_blocking(move |c| self.0.into_iter().map(|ask| ask(c)).collect())
            .await?;
        answers.into_iter().try_for_each(|take| take(place))
    }
}

type Run = Box<dyn FnOnce(&mut SqliteConnection) -> QueryResult<usize> + Send>;

/// Statements over rows that do not depend on each other's effect.
#[derive(Default)]
pub(crate) struct Statements(Vec<Run>);

impl Statements {
    /// Adds a statement, as for [`run_over`]; without rows there is nothing to run.
    pub(crate) fn add<K: Columns>(&mut self, text: &str, rows: Vec<K>) {
        if !rows.is_empty() {
            let text = text.replace("{rows}", &row_of::<K>());
            self.0.push(Box::new(move |c| run_each(c, &text, &rows)));
        }
    }

    /// Runs them.
    pub(crate) async fn run(self, c: &mut Conn) -> QueryResult<()> {
        c.spawn_blocking(move |c| {
            for run in self.0 {
                run(c)?;
            }
            Ok(())
        })
        .await
    }
}

/// Copies the database as of this moment into a new file.
pub(crate) async fn copy_into(c: &mut Conn, path: &str) -> QueryResult<()> {
    let path = crate::sql::bind::<Db, diesel::sql_types::Text, _>(path);
    let statement: Sql<'_, Db, ()> = Sql::new("VACUUM INTO ?", vec![path]);
    diesel_async::RunQueryDsl::execute(statement, c)
        .await
        .map(|_| ())
}
