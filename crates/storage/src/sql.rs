//! Statements over many rows at once: written once as text, bound column by column.
//!
//! diesel's own multi-row insert makes a new text for each number of rows, which no statement
//! cache keeps, and it has no `UPDATE ... FROM`. So a statement over rows is a text with `{rows}`
//! where the rows come from: on Postgres `unnest` of one array a column, executed once; on SQLite
//! a row of parameters, executed for each row. The dialects hold these two forms.

use diesel::{
    AppearsOnTable, Expression, QueryResult, SelectableExpression,
    backend::Backend,
    expression::{TypedExpressionType, ValidGrouping, is_aggregate},
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    serialize::ToSql,
    sql_types::{Array, BigInt, HasSqlType, SqlType, Text},
    sqlite::Sqlite,
};
use sipgraph_core::digest::hex;
use std::{fmt, marker::PhantomData, sync::OnceLock};

use crate::types::{DbId, Id};

/// A value and the SQL type that it is bound as.
pub(crate) trait Bind<DB: Backend>: Send {
    /// Adds the value to the statement.
    fn push<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()>;
}

struct Value<ST, V>(V, PhantomData<fn() -> ST>);

impl<DB, ST, V> Bind<DB> for Value<ST, V>
where
    DB: Backend + HasSqlType<ST>,
    V: ToSql<ST, DB> + Send,
{
    fn push<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_bind_param::<ST, V>(&self.0)
    }
}

/// The values of one statement.
pub(crate) type Binds<'a, DB> = Vec<Box<dyn Bind<DB> + 'a>>;

/// Binds one value.
pub(crate) fn bind<'a, DB, ST, V>(value: V) -> Box<dyn Bind<DB> + 'a>
where
    DB: Backend + HasSqlType<ST>,
    ST: 'a,
    V: ToSql<ST, DB> + Send + 'a,
{
    Box::new(Value::<ST, V>(value, PhantomData))
}

/// Binds one column of many rows as an array.
pub(crate) fn column<'a, ST, T>(values: Vec<&'a T>) -> Box<dyn Bind<Pg> + 'a>
where
    Pg: HasSqlType<Array<ST>>,
    ST: 'static,
    T: Sync,
    Vec<&'a T>: ToSql<Array<ST>, Pg>,
{
    bind::<Pg, Array<ST>, Vec<&'a T>>(values)
}

/// Rows that can be bound to a statement; made by [`columns!`].
pub(crate) trait Columns: Sized + Send + Sync + 'static {
    /// The columns' names, in the order of the values.
    const NAMES: &'static [&'static str];

    /// The values of one row.
    fn scalars(&self) -> Binds<'_, Sqlite>;

    /// One array a column.
    fn arrays(rows: &[Self]) -> Binds<'_, Pg>;
}

/// Declares a struct whose fields are columns: `field: SqlType => RustType`.
macro_rules! columns {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $sql:ty => $rust:ty,)+ })+) => {$(
        $(#[$meta])*
        $vis struct $name { $($(#[$field_meta])* $vis $field: $rust,)+ }

        impl $crate::sql::Columns for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            fn scalars(&self) -> $crate::sql::Binds<'_, diesel::sqlite::Sqlite> {
                vec![$($crate::sql::bind::<_, $sql, _>(&self.$field)),+]
            }

            fn arrays(rows: &[Self]) -> $crate::sql::Binds<'_, diesel::pg::Pg> {
                vec![$($crate::sql::column::<$sql, _>(rows.iter().map(|row| &row.$field).collect())),+]
            }
        }
    )+};
}
pub(crate) use columns;

/// A text with `?` for each value in order; cached as a prepared statement, unlike `diesel::sql_query`.
pub(crate) struct Sql<'a, DB: Backend, ST> {
    text: &'a str,
    binds: Binds<'a, DB>,
    row: PhantomData<fn() -> ST>,
}

impl<'a, DB: Backend, ST> Sql<'a, DB, ST> {
    /// Makes a statement; `ST` is the SQL type of its rows.
    pub(crate) fn new(text: &'a str, binds: Binds<'a, DB>) -> Self {
        Self {
            text,
            binds,
            row: PhantomData,
        }
    }
}

impl<DB: Backend, ST> QueryFragment<DB> for Sql<'_, DB, ST> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let mut pieces = self.text.split('?');
        if let Some(first) = pieces.next() {
            out.push_sql(first);
        }
        for (piece, bind) in pieces.zip(&self.binds) {
            bind.push(out.reborrow())?;
            out.push_sql(piece);
        }
        Ok(())
    }
}

impl<DB: Backend, ST> QueryId for Sql<'_, DB, ST> {
    type QueryId = ();
    // The text is the key of the statement cache.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend, ST> Query for Sql<'_, DB, ST> {
    type SqlType = ST;
}

impl<DB: Backend, ST, C> diesel::RunQueryDsl<C> for Sql<'_, DB, ST> {}

/// Which of the names asked for (rows of an account and a canonical name) an endpoint has. One in a domain whose deletion has
/// begun counts no more.
pub(crate) const NAMES_IN_ACCOUNTS: &str = "SELECT k.account_id, k.name FROM {rows} WHERE EXISTS (SELECT 1 FROM endpoints t \
    WHERE t.account_id = k.account_id AND t.canonical_name = k.name \
    AND t.domain_id NOT IN (SELECT d.domain_id FROM domain_deletions d))";
/// The accounts asked for in which several endpoints have one name, with such a name.
pub(crate) const NAMES_TWICE: &str = "SELECT k.id, (SELECT t.canonical_name FROM endpoints t WHERE t.account_id = k.id \
    AND t.domain_id NOT IN (SELECT d.domain_id FROM domain_deletions d) \
    GROUP BY t.canonical_name HAVING count(*) > 1 ORDER BY t.canonical_name LIMIT 1) AS name FROM {rows}";

/// An expression of the DSL in SQL text that never changes. Unlike diesel's `sql` it leaves the statement in the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed<ST> {
    text: &'static str,
    sql_type: PhantomData<fn() -> ST>,
}

impl<ST> Fixed<ST> {
    /// Makes an expression; `ST` is its SQL type.
    pub(crate) const fn new(text: &'static str) -> Self {
        Self {
            text,
            sql_type: PhantomData,
        }
    }
}

impl<ST: SqlType + TypedExpressionType> Expression for Fixed<ST> {
    type SqlType = ST;
}

impl<ST, QS> AppearsOnTable<QS> for Fixed<ST> where Self: Expression {}

impl<ST, QS> SelectableExpression<QS> for Fixed<ST> where Self: Expression {}

impl<ST, GB> ValidGrouping<GB> for Fixed<ST> {
    type IsAggregate = is_aggregate::Never;
}

impl<DB: Backend, ST> QueryFragment<DB> for Fixed<ST> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.text);
        Ok(())
    }
}

impl<ST> QueryId for Fixed<ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// By what lists are ordered, in SQL text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders {
    /// Endpoints by their names.
    pub(crate) name: &'static str,
    /// Endpoints by their creation.
    pub(crate) created_at: &'static str,
    /// Messages by their place in a chat.
    pub(crate) seq: &'static str,
    /// Messages by their place in the account's log.
    pub(crate) log_seq: &'static str,
}

/// Makes a type with a `QueryFragment` a condition of the DSL, on whatever table.
macro_rules! condition {
    ($name:ident) => {
        impl diesel::Expression for $name {
            type SqlType = diesel::sql_types::Bool;
        }

        impl<QS> diesel::AppearsOnTable<QS> for $name {}

        impl<QS> diesel::SelectableExpression<QS> for $name {}

        impl<GB> diesel::expression::ValidGrouping<GB> for $name {
            type IsAggregate = diesel::expression::is_aggregate::Never;
        }

        impl diesel::query_builder::QueryId for $name {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }
    };
}
pub(crate) use condition;

/// A condition of the DSL in SQL text with texts for its `?`, in their order.
#[derive(Clone)]
pub(crate) struct Condition {
    text: String,
    values: Vec<String>,
}

impl Condition {
    /// Makes a condition.
    pub(crate) fn new(text: String, values: Vec<String>) -> Self {
        Self { text, values }
    }
}

condition!(Condition);

impl<DB> QueryFragment<DB> for Condition
where
    DB: Backend + HasSqlType<Text>,
    String: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let mut pieces = self.text.split('?');
        if let Some(first) = pieces.next() {
            out.push_sql(first);
        }
        for (piece, value) in pieces.zip(&self.values) {
            out.push_bind_param::<Text, String>(value)?;
            out.push_sql(piece);
        }
        Ok(())
    }
}

/// A condition of the DSL: a text has a part, which a pattern of LIKE with `\` as its escape says.
#[derive(Clone)]
pub(crate) struct Contains {
    /// What is searched in, in SQL text.
    pub(crate) searched: &'static str,
    /// The pattern.
    pub(crate) pattern: String,
}

condition!(Contains);

impl QueryFragment<Pg> for Contains {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Which plan is the cheaper one depends on how common the very text is.
        out.unsafe_to_cache_prepared();
        out.push_sql(self.searched);
        out.push_sql(" LIKE ");
        out.push_bind_param::<Text, String>(&self.pattern)?;
        out.push_sql(" ESCAPE '\\'");
        Ok(())
    }
}

impl QueryFragment<Sqlite> for Contains {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.searched);
        // Without the sign SQLite looks at the pattern when it plans, and so plans anew whenever one is bound.
        out.push_sql(" LIKE +");
        out.push_bind_param::<Text, String>(&self.pattern)?;
        out.push_sql(" ESCAPE '\\'");
        Ok(())
    }
}

/// A condition of the DSL: a column is one of some ids. Unlike diesel's `eq_any` it is one text and one parameter however many the
/// ids are, so that the statement stays in the cache on SQLite too, which has no arrays.
pub(crate) struct OneOf {
    column: &'static str,
    ids: Vec<Id>,
    /// The ids as SQLite is given them: an array of their hexadecimal digits in JSON.
    json: OnceLock<String>,
}

impl OneOf {
    /// Makes a condition on a column, which is named with its table.
    pub(crate) fn new<I: Into<Id>>(column: &'static str, ids: impl IntoIterator<Item = I>) -> Self {
        Self {
            column,
            ids: ids.into_iter().map(Into::into).collect(),
            json: OnceLock::new(),
        }
    }

    fn to_json(&self) -> String {
        let digits: Vec<String> = self
            .ids
            .iter()
            .map(|id| format!("\"{}\"", hex(&id.0)))
            .collect();
        format!("[{}]", digits.join(","))
    }
}

condition!(OneOf);

impl QueryFragment<Pg> for OneOf {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.column);
        out.push_sql(" = ANY(");
        out.push_bind_param::<Array<DbId>, Vec<Id>>(&self.ids)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryFragment<Sqlite> for OneOf {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.column);
        out.push_sql(" IN (SELECT unhex(value) FROM json_each(");
        out.push_bind_param::<Text, String>(self.json.get_or_init(|| self.to_json()))?;
        out.push_sql("))");
        Ok(())
    }
}

/// A query of the DSL for its first row after a number of others. The numbers are in the text, for the reason of [`Limited`]: they are a
/// few constants.
#[derive(Debug)]
pub(crate) struct Nth<Q> {
    pub(crate) query: Q,
    pub(crate) others: i64,
}

impl<DB: Backend, Q: QueryFragment<DB>> QueryFragment<DB> for Nth<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        out.push_sql(&format!(" LIMIT 1 OFFSET {}", self.others));
        Ok(())
    }
}

impl<Q> QueryId for Nth<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Nth<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, C> diesel::RunQueryDsl<C> for Nth<Q> {}

/// A query of the DSL with a limit, which is a parameter on Postgres and part of the text on SQLite: SQLite looks at a limit's value
/// when it plans, and so plans anew whenever a parameter there is bound.
#[derive(Debug)]
pub(crate) struct Limited<Q> {
    pub(crate) query: Q,
    pub(crate) rows: i64,
}

impl<Q> Limited<Q> {
    /// The limit in a text: one of a few, so that the statement cache keeps few texts. Who loads takes no more rows than asked.
    fn rounded(&self) -> i64 {
        // The default page, and the largest, each with the row that tells whether there are more.
        match self.rows {
            ..=51 => 51,
            52..=1001 => 1001,
            more => more,
        }
    }
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Limited<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, i64>(&self.rows)
    }
}

impl<Q: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Limited<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        out.push_sql(&format!(" LIMIT {}", self.rounded()));
        Ok(())
    }
}

impl<Q> QueryId for Limited<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Limited<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, C> diesel::RunQueryDsl<C> for Limited<Q> {}

impl<DB: Backend, ST> fmt::Debug for Sql<'_, DB, ST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the values: they are people's messages.
        f.write_str(self.text)
    }
}
