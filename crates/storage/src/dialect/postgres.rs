//! Postgres: a statement over many rows is run once, over arrays.

use diesel::{
    QueryResult, deserialize::FromSqlRow, expression::QueryMetadata, query_dsl::CompatibleType,
};
use diesel_async::{SimpleAsyncConnection as _, methods::LoadQuery};
use futures_util::future::{BoxFuture, join, join_all};

use sipgraph_core::search::Words;

use crate::{
    rows::MessageWords,
    search::{Few, MessageSearch, Search, account_word},
    sql::{Columns, Limited, Orders, Sql},
    types::{DbTime, Id, Time},
};

#[path = "../apply/mod.rs"]
pub(crate) mod apply;
#[path = "doubt.rs"]
pub(crate) mod doubt;
#[path = "../queries/mod.rs"]
pub(crate) mod queries;
#[path = "together.rs"]
pub(crate) mod together;

pub(crate) type Conn = diesel_async::AsyncPgConnection;
pub(crate) type Db = diesel::pg::Pg;

/// Begins a read transaction: one snapshot for all its statements.
pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Keeps a row that is read for another statement of the same transaction.
pub(crate) const FOR_UPDATE: &str = " FOR UPDATE OF t";
/// What claimed rows are kept with: those that another node claims at this moment are passed over.
pub(crate) const FOR_UPDATE_SKIP_LOCKED: &str = " FOR UPDATE OF t SKIP LOCKED";
/// Reads which key is in use, and keeps it so until the transaction ends.
pub(crate) const KEY_IN_USE: &str = "SELECT key_id FROM instance FOR SHARE";

/// How lists are ordered; names byte by byte, whatever the database's collation.
pub(crate) const ORDERS: Orders = Orders {
    name: "endpoints.name COLLATE \"C\"",
    created_at: "endpoints.created_at",
    seq: "messages.seq",
    log_seq: "messages.log_seq",
};
/// How lists are ordered of rows that are found by their ids: the planner knows that these are few.
pub(crate) const FOUND_ORDERS: Orders = ORDERS;
/// The events `t` that have a text, by their endpoint: the planner knows its way.
pub(crate) const EVENTS_WITH_TEXT: &str = "events t";
/// Whether a list of some endpoints' rows is merged out of the lists of each: the planner knows how many rows they have, and each list
/// would cost a round trip.
pub(crate) const LISTS_MERGED: bool = false;
/// What a text is searched in, with small ASCII letters and all others as they are; an index of trigrams has the same.
pub(crate) const NAME_SEARCHED: &str = "lower(endpoints.name COLLATE \"C\")";
/// What a text is searched in for caller ids, as for names.
pub(crate) const CALLER_SEARCHED: &str = "lower(endpoints.caller_id COLLATE \"C\")";

/// Candidates for a search come from the planner, which knows how common a text is and has the trigram index.
pub(crate) async fn candidates(
    _c: &mut Conn,
    _search: &Search<'_>,
) -> QueryResult<Option<Vec<(i64, Id)>>> {
    Ok(None)
}

/// As for [`candidates`].
pub(crate) async fn candidates_few(_c: &mut Conn, _terms: &str) -> QueryResult<Few> {
    Ok(Few::More)
}

/// Which messages have the words of a search in their texts.
pub(crate) const MESSAGE_FOUND: &str = "EXISTS (SELECT 1 FROM _message_search s \
    WHERE s.account_id = messages.account_id AND s.message_id = messages.id AND s.words @@ ?::tsquery)";

/// The planner knows how common words are, and reads the newest messages first where that is the cheaper way.
pub(crate) async fn found_first(
    _c: &mut Conn,
    _search: &MessageSearch<'_>,
) -> QueryResult<Option<Vec<Id>>> {
    Ok(None)
}

/// What the index is asked for to find words.
pub(crate) fn search_terms(account: Id, words: &Words) -> String {
    let terms: Vec<String> = words
        .as_slice()
        .iter()
        .map(|word| format!("'{word}'"))
        .collect();
    // The last is the beginning of a word.
    format!("'{}' & {}:*", account_word(account), terms.join(" & "))
}

/// Puts the words of messages into the index, with the word of their account.
pub(crate) async fn index_words(
    c: &mut Conn,
    account: Id,
    words: Vec<(Id, Words)>,
) -> QueryResult<()> {
    let rows = words
        .into_iter()
        .map(|(id, words)| MessageWords {
            account_id: account,
            id,
            words: format!("{} {}", account_word(account), words.as_slice().join(" ")),
        })
        .collect();
    // A message that is deleted at this moment waits for the end of this, and takes its words along.
    let text = "INSERT INTO _message_search (account_id, message_id, words) \
                SELECT t.account_id, t.id, array_to_tsvector(string_to_array(rtrim(k.words), ' ')) FROM {rows} \
                JOIN messages t ON t.account_id = k.account_id AND t.id = k.id \
                FOR KEY SHARE OF t ON CONFLICT DO NOTHING";
    run_over(c, text, rows).await.map(|_| ())
}

/// The time that claims go by: the database's, because the clocks of nodes differ.
pub(crate) async fn claim_time(c: &mut Conn, _caller: Time) -> QueryResult<Time> {
    let query: Sql<'_, Db, DbTime> = Sql::new("SELECT now()", Vec::new());
    diesel_async::RunQueryDsl::get_result(query, c).await
}

fn rows_of<K: Columns>() -> String {
    let marks = vec!["?"; K::NAMES.len()].join(", ");
    format!("unnest({marks}) AS k({})", K::NAMES.join(", "))
}

/// Runs a statement over rows; `{rows}` in the text becomes `... AS k(columns)`. Gives how many rows it changed.
pub(crate) async fn run_over<K: Columns>(
    c: &mut Conn,
    text: &str,
    rows: Vec<K>,
) -> QueryResult<usize> {
    if rows.is_empty() {
        return Ok(0);
    }
    let text = text.replace("{rows}", &rows_of::<K>());
    let statement: Sql<'_, Db, ()> = Sql::new(&text, K::arrays(&rows));
    diesel_async::RunQueryDsl::execute(statement, c).await
}

/// Runs a query over rows, as [`run_over`]; `ST` is the SQL type of what it selects. Several may be on their way at once on one
/// connection, which answers them in the order of their first poll.
pub(crate) async fn load_over<K, ST, U>(
    mut c: &Conn,
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
    let text = text.replace("{rows}", &rows_of::<K>());
    let query: Sql<'_, Db, ST> = Sql::new(&text, K::arrays(&rows));
    diesel_async::RunQueryDsl::load(query, &mut c).await
}

/// Begins the transaction of a batch with its first query, as [`load_over`]; neither waits for the other's answer.
pub(crate) async fn load_first<K, ST, U>(
    mut c: &Conn,
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
    let reads = load_over::<K, ST, U>(c, text, rows);
    // What is polled first is sent first, even where the query must be prepared.
    let (begun, found) = join(c.batch_execute("BEGIN"), reads).await;
    begun?;
    found
}

/// The text of a query over rows that gives the first of what it finds for each row: `rest` names the row `k` and has the limit.
pub(crate) fn first_of_each(columns: &str, table: &str, rest: &str) -> String {
    format!("SELECT f.* FROM {{rows}} CROSS JOIN LATERAL (SELECT {columns} FROM {table} {rest}) f")
}

/// The text of an insert of rows.
pub(crate) fn insert_text<K: Columns>(table: &str) -> String {
    let names = K::NAMES.join(", ");
    format!("INSERT INTO {table} ({names}) SELECT {names} FROM {{rows}}")
}

/// Loads the rows of a query of the DSL. The future is boxed, because the compiler can't prove of one that names such a query's
/// type that it may move between threads.
pub(crate) fn load<'c, Q, U>(c: &'c mut Conn, query: Q) -> BoxFuture<'c, QueryResult<Vec<U>>>
where
    Q: LoadQuery<'static, Conn, U> + Send + 'static,
    U: Send + 'c,
{
    Box::pin(diesel_async::RunQueryDsl::load(query, c))
}

/// Loads at most so many rows of a query of the DSL.
pub(crate) fn load_up_to<'c, Q, U>(
    c: &'c mut Conn,
    query: Q,
    rows: i64,
) -> BoxFuture<'c, QueryResult<Vec<U>>>
where
    Limited<Q>: LoadQuery<'static, Conn, U> + Send + 'static,
    U: Send + 'c,
{
    Box::pin(diesel_async::RunQueryDsl::load(Limited { query, rows }, c))
}

type Ask<T> = Box<dyn for<'a> FnOnce(&'a Conn) -> BoxFuture<'a, QueryResult<Take<T>>> + Send>;

/// Takes an answer into its place.
type Take<T> = Box<dyn FnOnce(&mut T) -> QueryResult<()> + Send>;

/// Queries over rows, each with what takes its answer into `T`. They are sent without waiting for each other's answers.
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
            let text = text.to_owned();
            self.0.push(Box::new(move |c| {
                Box::pin(async move {
                    let found = load_over::<K, ST, U>(c, &text, rows).await?;
                    let taken: Take<T> = Box::new(move |place| take(place, found));
                    Ok(taken)
                })
            }));
        }
    }

    /// Asks them; the first error in their order is the cause of those behind it.
    pub(crate) async fn run(self, c: &mut Conn, place: &mut T) -> QueryResult<()> {
        let c: &Conn = c;
        for answer in join_all(self.0.into_iter().map(|ask| ask(c))).await {
            answer?(place)?;
        }
        Ok(())
    }
}

/// Statements over rows that do not depend on each other's effect. They are sent without waiting for each other's answers: a batch
/// then waits for the network once and not once a table.
#[derive(Default)]
pub(crate) struct Statements(Vec<Box<dyn Pending>>);

trait Pending: Send + Sync {
    fn statement(&self) -> Sql<'_, Db, ()>;
}

struct OverRows<K> {
    text: String,
    rows: Vec<K>,
}

impl<K: Columns> Pending for OverRows<K> {
    fn statement(&self) -> Sql<'_, Db, ()> {
        Sql::new(&self.text, K::arrays(&self.rows))
    }
}

impl Statements {
    /// Adds a statement, as for [`run_over`]; without rows there is nothing to run.
    pub(crate) fn add<K: Columns>(&mut self, text: &str, rows: Vec<K>) {
        if !rows.is_empty() {
            let text = text.replace("{rows}", &rows_of::<K>());
            self.0.push(Box::new(OverRows { text, rows }));
        }
    }

    /// Runs them; the first error in their order is the cause of those behind it.
    pub(crate) async fn run(self, c: &mut Conn) -> QueryResult<()> {
        let c: &Conn = c;
        let running = self.0.iter().map(|pending| async move {
            let mut shared = c;
            diesel_async::RunQueryDsl::execute(pending.statement(), &mut shared).await
        });
        for result in join_all(running).await {
            result?;
        }
        Ok(())
    }
}
