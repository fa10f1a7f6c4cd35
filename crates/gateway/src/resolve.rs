//! Objects and lists of objects, resolved without a task, a box and a value for each of their fields.
//!
//! `async_graphql` makes a boxed future of each field before it polls any, and a map of each object. Most fields of ours are there
//! with their row: they are written as JSON at once. The others are polled in one box that all of them share; only one that has to
//! wait keeps a box, and all that wait do so together. What the rows of a list will look up is looked up before, in one batch, so
//! that few wait. A selection that is more than plain fields and fragments on the type itself is left to the library. It knows
//! no type of ours.

use std::{borrow::Cow, collections::HashSet, future::poll_fn, task::Poll};

use async_graphql::{
    ContainerType, Context, ContextSelectionSet, ID, Lookahead, OutputType, Positioned,
    ServerError, ServerResult, Value,
    parser::types::{Field, Selection, SelectionSet},
    registry::Registry,
    resolver_utils::{resolve_container, resolve_list},
};
use futures_util::future::try_join_all;
use sipgraph_graphql_transport::json;
use tokio::task::coop::unconstrained;
use tokio_util::sync::ReusableBoxFuture;

/// Writes a field of an object as JSON. The context is that of the field: methods of an `Object` take one, whether they ask or not.
pub(crate) type Plain<T> = fn(&T, &Context<'_>, &mut Vec<u8>);

/// An object that can be resolved here.
pub(crate) trait Row: ContainerType {
    /// Returns what writes a field, if the field is there with the row: it has no arguments, waits for nothing and can't fail.
    fn plain(name: &str) -> Option<Plain<Self>>;

    /// Looks up what the fields that are asked for need, for all rows at once. A row that finds nothing looks it up itself.
    fn ahead(rows: &[&Self], asked: &Lookahead<'_>) -> impl Future<Output = ()> + Send {
        let _ = (rows, asked);
        std::future::ready(())
    }
}

/// Finds what writes a field among those named: `plain!(name, "body" => Self::body, ...)`.
macro_rules! plain {
    ($name:ident, $($field:literal => $get:expr,)*) => {
        match $name {
            $($field => {
                let write: $crate::resolve::Plain<Self> =
                    |row, ctx, out| $crate::resolve::Leaf::write(&$get(row, ctx), out);
                Some(write)
            })*
            _ => None,
        }
    };
}
pub(crate) use plain;

/// The value of a plain field.
pub(crate) trait Leaf {
    /// Appends it as JSON, as the library would tell it.
    fn write(&self, out: &mut Vec<u8>);
}

impl<T: Leaf + ?Sized> Leaf for &T {
    fn write(&self, out: &mut Vec<u8>) {
        T::write(self, out);
    }
}

impl<T: Leaf> Leaf for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => json::write(&Value::Null, out),
        }
    }
}

impl<T: Leaf> Leaf for [T] {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (place, item) in self.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            item.write(out);
        }
        out.push(b']');
    }
}

impl Leaf for str {
    fn write(&self, out: &mut Vec<u8>) {
        json::write_text(self, out);
    }
}

impl Leaf for String {
    fn write(&self, out: &mut Vec<u8>) {
        json::write_text(self, out);
    }
}

impl Leaf for ID {
    fn write(&self, out: &mut Vec<u8>) {
        json::write_text(self, out);
    }
}

/// Tells values as the library does.
macro_rules! leaves {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::resolve::Leaf for $type {
            fn write(&self, out: &mut Vec<u8>) {
                sipgraph_graphql_transport::json::write(&async_graphql::Value::from(self.clone()), out);
            }
        }
    )*};
}
pub(crate) use leaves;

leaves!(bool, i32);

/// An object whose fields are resolved here.
pub(crate) struct Whole<T>(pub(crate) T);

impl<T: Row> OutputType for Whole<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let Some(selected) = Selected::of(ctx) else {
            return resolve_container(ctx, &self.0).await;
        };
        selected.resolve(ctx, &[&self.0], false).await
    }
}

/// A list of objects whose fields are resolved here.
pub(crate) struct Rows<'a, T>(pub(crate) Vec<&'a T>);

impl<T: Row> OutputType for Rows<'_, T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<&T>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<&T>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<&T>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        T::ahead(&self.0, &ctx.with_field(field).look_ahead()).await;
        let Some(selected) = Selected::of(ctx) else {
            return resolve_list(ctx, field, self.0.iter().copied(), Some(self.0.len())).await;
        };
        selected.resolve(ctx, &self.0, true).await
    }
}

/// How a field that is selected gets its value.
enum How<T> {
    TypeName,
    Plain(Plain<T>),
    Resolved,
}

/// The fields that are selected of a type.
struct Selected<'a, T> {
    fields: Vec<(&'a Positioned<Field>, How<T>)>,
    /// Their keys in the answer.
    keys: HashSet<&'a str>,
}

impl<'a, T: Row> Selected<'a, T> {
    /// Returns what a selection set selects; `None` when the library has to resolve it.
    fn of(ctx: &ContextSelectionSet<'a>) -> Option<Self> {
        let mut selected = Self {
            fields: Vec::with_capacity(ctx.item.node.items.len()),
            keys: HashSet::with_capacity(ctx.item.node.items.len()),
        };
        let type_name = T::type_name();
        selected
            .add(ctx, &ctx.item.node, &type_name)
            .then_some(selected)
    }

    /// The recursion is bounded: the gate refuses fragments in a cycle and bounds brackets.
    fn add(
        &mut self,
        ctx: &ContextSelectionSet<'a>,
        set: &'a SelectionSet,
        type_name: &str,
    ) -> bool {
        set.items.iter().all(|item| {
            let (on, set) = match &item.node {
                Selection::Field(field) => return self.add_field(field),
                Selection::InlineFragment(inner) => {
                    let on = inner.node.type_condition.as_ref();
                    (on, &inner.node.selection_set.node)
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let Some(fragment) = ctx.query_env.fragments.get(name) else {
                        return false;
                    };
                    let on = Some(&fragment.node.type_condition);
                    (on, &fragment.node.selection_set.node)
                }
            };
            on.is_none_or(|on| on.node.on.node == type_name) && self.add(ctx, set, type_name)
        })
    }

    /// Fields that are selected twice have to be merged, and directives may change a value: both are left to the library.
    fn add_field(&mut self, field: &'a Positioned<Field>) -> bool {
        let name = field.node.name.node.as_str();
        let how = if name == "__typename" {
            How::TypeName
        } else {
            T::plain(name).map_or(How::Resolved, How::Plain)
        };
        self.fields.push((field, how));
        let is_first = self.keys.insert(field.node.response_key().node.as_str());
        is_first && field.node.directives.is_empty()
    }

    /// Resolves the fields of objects; `is_list` says whether the answer is a list, and their places part of the paths of errors.
    async fn resolve(
        self,
        ctx: &ContextSelectionSet<'a>,
        rows: &[&T],
        is_list: bool,
    ) -> ServerResult<Value> {
        let resolved = self.fields.iter();
        let resolved = resolved.filter(|(_, how)| matches!(how, How::Resolved));
        let resolved: Vec<_> = resolved.map(|(field, _)| *field).collect();
        let values = if resolved.is_empty() {
            Vec::new()
        } else {
            values(ctx, rows, &resolved, is_list).await?
        };
        Ok(self.written(ctx, rows, &values, is_list))
    }

    /// Writes objects with the values that were resolved, row by row.
    fn written(
        &self,
        ctx: &ContextSelectionSet<'a>,
        rows: &[&T],
        values: &[Value],
        is_list: bool,
    ) -> Value {
        /// What a field takes in most answers, so that the text is rarely moved.
        const FIELD: usize = 32;
        let mut out = Vec::with_capacity(rows.len() * self.fields.len() * FIELD);
        let fields = self.fields.iter();
        let fields = fields.map(|(field, how)| {
            let key = field.node.response_key().node.as_bytes();
            (key, ctx.with_field(field), how)
        });
        let fields: Vec<_> = fields.collect();
        let mut values = values.iter();
        if is_list {
            out.push(b'[');
        }
        for (index, row) in rows.iter().copied().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.push(b'{');
            for (place, (key, ctx, how)) in fields.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                // A name of GraphQL needs no escapes.
                out.push(b'"');
                out.extend_from_slice(key);
                out.extend_from_slice(b"\":");
                match how {
                    How::TypeName => json::write_text(&T::type_name(), &mut out),
                    How::Plain(write) => write(row, ctx, &mut out),
                    How::Resolved => {
                        json::write(values.next().unwrap_or(&Value::Null), &mut out);
                    }
                }
            }
            out.push(b'}');
        }
        if is_list {
            out.push(b']');
        }
        Value::Binary(out.into())
    }
}

/// Resolves the fields of objects that are not plain, row by row.
async fn values<'a, T: Row>(
    ctx: &ContextSelectionSet<'a>,
    rows: &[&T],
    fields: &[&'a Positioned<Field>],
    is_list: bool,
) -> ServerResult<Vec<Value>> {
    let resolve = |index: usize, row, field| async move {
        let within = if is_list { &ctx.with_index(index) } else { ctx };
        let resolved = T::resolve_field(row, &within.with_field(field)).await;
        match resolved {
            Ok(value) => Ok(value.unwrap_or_default()),
            // The library tells errors of a list's items at the item.
            Err(error) if is_list => Err(within.set_error_path(error)),
            Err(error) => Err(error),
        }
    };
    let mut values = Vec::with_capacity(rows.len() * fields.len());
    let mut waiting = Vec::new();
    // A page is bounded: what was looked up before is taken in one turn, however many locks that are.
    unconstrained(poll_fn(|cx| {
        let mut shared: Option<ReusableBoxFuture<'_, ServerResult<Value>>> = None;
        for (index, row) in rows.iter().copied().enumerate() {
            for field in fields.iter().copied() {
                let resolving = resolve(index, row, field);
                let polled = match &mut shared {
                    Some(shared) => {
                        shared.set(resolving);
                        shared
                    }
                    None => shared.insert(ReusableBoxFuture::new(resolving)),
                }
                .poll(cx);
                values.push(match polled {
                    Poll::Ready(value) => value?,
                    Poll::Pending => {
                        waiting.push((values.len(), shared.take()));
                        Value::Null
                    }
                });
            }
        }
        Poll::Ready(Ok::<_, ServerError>(()))
    }))
    .await?;
    let waiting = waiting.into_iter().filter_map(|(place, resolving)| {
        let resolving = resolving?;
        Some(async move { Ok::<_, ServerError>((place, resolving.await?)) })
    });
    for (place, value) in try_join_all(waiting).await? {
        if let Some(at) = values.get_mut(place) {
            *at = value;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Result, Schema};

    use super::*;

    struct Item(i32);

    fn odd(number: i32) -> Result<i32> {
        let is_odd = number % 2 == 1;
        is_odd.then_some(number).ok_or_else(|| "even".into())
    }

    #[Object]
    impl Item {
        fn number(&self) -> i32 {
            self.0
        }

        async fn late(&self) -> i32 {
            for _ in 0..self.0 {
                tokio::task::yield_now().await;
            }
            self.0
        }

        fn odd(&self) -> Result<i32> {
            odd(self.0)
        }

        async fn perhaps(&self) -> Option<Result<i32>> {
            tokio::task::yield_now().await;
            Some(odd(self.0))
        }

        fn next(&self) -> Item {
            Item(self.0 + 1)
        }

        fn add(&self, more: i32) -> i32 {
            self.0 + more
        }
    }

    struct Library(Vec<Item>);

    impl Row for Item {
        fn plain(name: &str) -> Option<Plain<Self>> {
            plain!(name, "number" => Self::number,)
        }
    }

    #[Object(name = "Query")]
    impl Library {
        fn item(&self) -> Option<&Item> {
            self.0.first()
        }

        fn items(&self) -> Option<Vec<&Item>> {
            Some(self.0.iter().collect())
        }
    }

    struct Ours(Vec<Whole<Item>>);

    #[Object(name = "Query")]
    impl Ours {
        fn item(&self) -> Option<&Whole<Item>> {
            self.0.first()
        }

        fn items(&self) -> Option<Rows<'_, Item>> {
            Some(Rows(self.0.iter().map(|item| &item.0).collect()))
        }
    }

    fn items() -> Vec<Item> {
        (1..40).map(Item).collect()
    }

    /// What is selected of an item, resolved here and by the library.
    #[tokio::test]
    async fn answers_are_those_of_the_library() {
        let library = Schema::new(Library(items()), EmptyMutation, EmptySubscription);
        let ours = Schema::new(
            Ours(items().into_iter().map(Whole).collect()),
            EmptyMutation,
            EmptySubscription,
        );
        assert_eq!(ours.sdl(), library.sdl());
        for selected in [
            "number",
            "late number",
            "a: number b: late c: number d: late",
            "__typename number kind: __typename",
            "next { number next { late } }",
            "sum: add(more: 5) more: add(more: 6)",
            "perhaps number",
            "number odd",
            "late odd",
            "... { number } ... on Item { late }",
            "...Both",
            "number ...Both",
            "next { number } next { late }",
            "number @include(if: false) late @skip(if: false)",
        ] {
            let fragment = "fragment Both on Item { number late }";
            let fragment = fragment
                .to_owned()
                .repeat(usize::from(selected.contains("Both")));
            for root in ["item", "items"] {
                let query = format!("{{ {root} {{ {selected} }} }} {fragment}");
                let [expected, found] = [library.execute(&query).await, ours.execute(&query).await];
                let [left, right] = [&found, &expected].map(|response| {
                    let mut text = Vec::new();
                    json::write(&response.data, &mut text);
                    String::from_utf8(text).unwrap()
                });
                assert_eq!(left, right, "{query}");
                let [expected, found] = [expected, found].map(|response| {
                    let errors = response.errors.into_iter();
                    let mut errors: Vec<_> = errors
                        .map(|error| format!("{:?} {}", error.path, error.message))
                        .collect();
                    errors.sort();
                    errors
                });
                assert_eq!(found, expected, "{query}");
            }
        }
    }
}
