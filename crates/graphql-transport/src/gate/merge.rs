//! Field Selection Merging (GraphQL specification 5.3.2) as far as it needs no schema.
//!
//! The executor's own rule compares fields under equal type conditions only and so misses a plain
//! field beside `... on SameType`. A field outside any condition has the enclosing type as its
//! parent, and a fragment can only apply where its type overlaps with that one: such a pair must
//! always merge. Two different conditions may be two object types, where fields may differ.

use std::collections::HashMap;

use async_graphql::{
    Positioned, ServerError,
    parser::types::{ExecutableDocument, Field, Selection, SelectionSet},
};

use crate::{code, coded};

/// Refuses fields of one response key that select different things on the same type.
///
/// Runs after the cost check: it visits each expanded field and each spread once.
pub(super) fn check(document: &ExecutableDocument) -> Result<(), ServerError> {
    for (_, operation) in document.operations.iter() {
        check_sets(document, &[&operation.node.selection_set.node])?;
    }
    Ok(())
}

/// The type condition that a field stands under; none outside any.
type Condition<'a> = Option<&'a str>;
type Fields<'a> = HashMap<&'a str, Vec<(Condition<'a>, &'a Positioned<Field>)>>;

fn check_sets<'a>(
    document: &'a ExecutableDocument,
    sets: &[&'a SelectionSet],
) -> Result<(), ServerError> {
    let mut fields = Fields::new();
    for set in sets {
        collect(document, set, None, &mut fields);
    }
    for (key, fields) in fields {
        let anywhere = fields.iter().any(|(condition, _)| condition.is_none());
        let mut groups: HashMap<Condition<'_>, Vec<&Positioned<Field>>> = HashMap::new();
        for (condition, field) in fields {
            let group = if anywhere { None } else { condition };
            groups.entry(group).or_default().push(field);
        }
        for group in groups.into_values() {
            check_group(document, key, &group)?;
        }
    }
    Ok(())
}

fn check_group<'a>(
    document: &'a ExecutableDocument,
    key: &str,
    group: &[&'a Positioned<Field>],
) -> Result<(), ServerError> {
    if let [first, others @ ..] = group {
        for other in others {
            if !same(&first.node, &other.node) {
                let mut error = coded(
                    code::GRAPHQL_VALIDATION_FAILED,
                    format!(
                        "Fields \"{key}\" conflict: they select different fields or have different \
                         arguments; use different aliases"
                    ),
                    None,
                );
                error.locations = vec![first.pos, other.pos];
                return Err(error);
            }
        }
    }
    let sets: Vec<_> = group
        .iter()
        .map(|field| &field.node.selection_set.node)
        .collect();
    check_sets(document, &sets)
}

fn collect<'a>(
    document: &'a ExecutableDocument,
    set: &'a SelectionSet,
    condition: Condition<'a>,
    fields: &mut Fields<'a>,
) {
    for item in &set.items {
        match &item.node {
            Selection::Field(field) => {
                let key = field.node.response_key().node.as_str();
                fields.entry(key).or_default().push((condition, field));
            }
            Selection::InlineFragment(fragment) => {
                let inner = fragment.node.type_condition.as_ref();
                let condition = inner.map_or(condition, |on| Some(on.node.on.node.as_str()));
                collect(
                    document,
                    &fragment.node.selection_set.node,
                    condition,
                    fields,
                );
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    let on = fragment.node.type_condition.node.on.node.as_str();
                    collect(
                        document,
                        &fragment.node.selection_set.node,
                        Some(on),
                        fields,
                    );
                }
            }
        }
    }
}

/// Returns whether two fields of one response key are the same field with the same arguments.
pub(super) fn same(left: &Field, right: &Field) -> bool {
    left.name.node == right.name.node
        && left.arguments.len() == right.arguments.len()
        && left.arguments.iter().all(|(name, value)| {
            right
                .get_argument(&name.node)
                .is_some_and(|other| other.node == value.node)
        })
}
