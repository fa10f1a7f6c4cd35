//! Objects and lists of objects, resolved without a task and a box for each of their fields.
//!
//! `async_graphql` makes a boxed future of each field before it polls any. Most fields of ours are there with their row. Here
//! each field is polled once, in one box that all of them share; only a field that has to wait keeps a box, and all that wait do
//! so together, across a list too, so that loaders still read in batches. A selection that is more than plain fields and
//! fragments on the type itself is left to the library. It knows no type of ours.

use std::{borrow::Cow, future::poll_fn, task::Poll};

use async_graphql::{
    ContainerType, ContextSelectionSet, Name, OutputType, Positioned, ServerError, ServerResult,
    Value,
    indexmap::IndexMap,
    parser::types::{Field, Selection, SelectionSet},
    registry::Registry,
    resolver_utils::{resolve_container, resolve_list},
};
use futures_util::future::try_join_all;
use tokio_util::sync::ReusableBoxFuture;

/// An object whose fields are resolved here.
pub(crate) struct Whole<T>(pub(crate) T);

impl<T: ContainerType> OutputType for Whole<T> {
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
        let Some(selected) = Selected::of::<T>(ctx) else {
            return resolve_container(ctx, &self.0).await;
        };
        let objects = selected.resolve(ctx, &[&self.0], false).await?;
        Ok(objects.into_iter().next().unwrap_or_default())
    }
}

/// A list of objects whose fields are resolved here.
pub(crate) struct Rows<'a, T>(pub(crate) Vec<&'a T>);

impl<T: ContainerType> OutputType for Rows<'_, T> {
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
        let Some(selected) = Selected::of::<T>(ctx) else {
            return resolve_list(ctx, field, self.0.iter().copied(), Some(self.0.len())).await;
        };
        let objects = selected.resolve(ctx, &self.0, true).await?;
        Ok(Value::List(objects))
    }
}

/// The fields that are selected of a type.
struct Selected<'a> {
    /// Each with its place in the object.
    fields: Vec<(usize, &'a Positioned<Field>)>,
    /// The object without the values of these fields.
    empty: IndexMap<Name, Value>,
}

impl<'a> Selected<'a> {
    /// Returns what a selection set selects; `None` when the library has to resolve it.
    fn of<T: ContainerType>(ctx: &ContextSelectionSet<'a>) -> Option<Self> {
        let mut selected = Self {
            fields: Vec::with_capacity(ctx.item.node.items.len()),
            empty: IndexMap::with_capacity(ctx.item.node.items.len()),
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
                Selection::Field(field) => return self.add_field(field, type_name),
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
    fn add_field(&mut self, field: &'a Positioned<Field>, type_name: &str) -> bool {
        let is_type_name = field.node.name.node == "__typename";
        let value = if is_type_name {
            Value::from(type_name)
        } else {
            Value::Null
        };
        let key = field.node.response_key().node.clone();
        let (place, earlier) = self.empty.insert_full(key, value);
        if !is_type_name {
            self.fields.push((place, field));
        }
        earlier.is_none() && field.node.directives.is_empty()
    }

    /// Resolves the fields of objects; `is_list` says whether their places in the list are part of the paths of errors.
    async fn resolve<T: ContainerType>(
        self,
        ctx: &ContextSelectionSet<'a>,
        rows: &[&T],
        is_list: bool,
    ) -> ServerResult<Vec<Value>> {
        let Self { fields, empty } = &self;
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
        let mut objects = Vec::with_capacity(rows.len());
        let mut waiting = Vec::new();
        poll_fn(|cx| {
            let mut shared: Option<ReusableBoxFuture<'_, ServerResult<Value>>> = None;
            for (index, row) in rows.iter().copied().enumerate() {
                let mut object = empty.clone();
                for (place, field) in fields.iter().copied() {
                    let resolving = resolve(index, row, field);
                    let polled = match &mut shared {
                        Some(shared) => {
                            shared.set(resolving);
                            shared
                        }
                        None => shared.insert(ReusableBoxFuture::new(resolving)),
                    }
                    .poll(cx);
                    match polled {
                        Poll::Ready(value) => put(&mut object, place, value?),
                        Poll::Pending => waiting.push((index, place, shared.take())),
                    }
                }
                objects.push(object);
            }
            Poll::Ready(Ok::<_, ServerError>(()))
        })
        .await?;
        let waiting = waiting.into_iter().filter_map(|(index, place, resolving)| {
            let resolving = resolving?;
            Some(async move { Ok::<_, ServerError>((index, place, resolving.await?)) })
        });
        for (index, place, value) in try_join_all(waiting).await? {
            if let Some(object) = objects.get_mut(index) {
                put(object, place, value);
            }
        }
        Ok(objects.into_iter().map(Value::Object).collect())
    }
}

fn put(object: &mut IndexMap<Name, Value>, place: usize, value: Value) {
    if let Some((_, at)) = object.get_index_mut(place) {
        *at = value;
    }
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

    #[Object(name = "Query")]
    impl Library {
        fn item(&self) -> Option<&Item> {
            self.0.first()
        }

        fn items(&self) -> Option<Vec<&Item>> {
            Some(self.0.iter().collect())
        }
    }

    struct Ours(Vec<Item>);

    #[Object(name = "Query")]
    impl Ours {
        fn item(&self) -> Option<Whole<&Item>> {
            self.0.first().map(Whole)
        }

        fn items(&self) -> Option<Rows<'_, Item>> {
            Some(Rows(self.0.iter().collect()))
        }
    }

    fn items() -> Vec<Item> {
        (1..40).map(Item).collect()
    }

    /// What is selected of an item, resolved here and by the library.
    #[tokio::test]
    async fn answers_are_those_of_the_library() {
        let library = Schema::new(Library(items()), EmptyMutation, EmptySubscription);
        let ours = Schema::new(Ours(items()), EmptyMutation, EmptySubscription);
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
                assert_eq!(found.data, expected.data, "{query}");
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
