//! The root fields of mutations and subscriptions, made so that the executor runs each once.
//!
//! The executor runs every selection of a response key and merges the results afterwards, so that
//! a mutation selected twice would be done twice; and it ignores fragments at a subscription's
//! root. The specification wants one execution (6.2.2) and exactly one root field (5.2.3.1).

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Name, Positioned, ServerError,
    parser::types::{
        Directive, DocumentOperations, ExecutableDocument, Field, FragmentDefinition,
        OperationDefinition, OperationType, Selection, SelectionSet,
    },
};

use super::merge::same;
use crate::{GateLimits, code, coded};

type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

/// Merges equal root fields of mutations and subscriptions.
///
/// # Errors
/// `GRAPHQL_VALIDATION_FAILED` when a subscription has not exactly one root field, or when fields
/// of one response key stand under conditions and cannot be merged.
pub(super) fn settle(
    document: &mut ExecutableDocument,
    limits: &GateLimits,
) -> Result<(), ServerError> {
    let fragments = &document.fragments;
    let mut changed = false;
    match &mut document.operations {
        DocumentOperations::Single(operation) => {
            changed = settle_operation(operation, fragments, limits)?;
        }
        DocumentOperations::Multiple(operations) => {
            for operation in operations.values_mut() {
                changed |= settle_operation(operation, fragments, limits)?;
            }
        }
    }
    if changed {
        drop_unused(document);
    }
    Ok(())
}

fn settle_operation(
    operation: &mut Positioned<OperationDefinition>,
    fragments: &Fragments,
    limits: &GateLimits,
) -> Result<bool, ServerError> {
    let (root, subscription) = match operation.node.ty {
        OperationType::Query => return Ok(false),
        OperationType::Mutation => (limits.mutation_type, false),
        OperationType::Subscription => (limits.subscription_type, true),
    };
    let mut roots = Roots {
        fragments,
        root,
        fields: Vec::new(),
        conditional: false,
        nested: false,
    };
    let set = &operation.node.selection_set.node;
    roots.flatten(set)?;
    let conditional = roots.conditional;
    let nested = roots.nested;
    let count = roots.fields.len();
    let merged = merge(roots.fields);
    let repeated = merged.len() < count;
    if subscription {
        check_subscription(operation, &merged, conditional)?;
    } else if repeated && conditional {
        return Err(coded(
            code::GRAPHQL_VALIDATION_FAILED,
            "A root field of a mutation that is selected more than once cannot have directives \
             beside it; select it once",
            Some(operation.pos),
        ));
    }
    let change = repeated || (subscription && nested);
    if change {
        operation.node.selection_set.node.items = merged
            .into_iter()
            .map(|field| {
                let pos = field.pos;
                Positioned::new(Selection::Field(field), pos)
            })
            .collect();
    }
    Ok(change)
}

fn check_subscription(
    operation: &Positioned<OperationDefinition>,
    fields: &[Positioned<Field>],
    conditional: bool,
) -> Result<(), ServerError> {
    let wrong = match fields {
        _ if conditional => "The root of a subscription cannot have @skip or @include",
        [field] if field.node.name.node.starts_with("__") => {
            "The root field of a subscription cannot be an introspection field"
        }
        [_] => return Ok(()),
        _ => "A subscription must have exactly one root field",
    };
    Err(coded(
        code::GRAPHQL_VALIDATION_FAILED,
        wrong,
        Some(operation.pos),
    ))
}

/// The root fields of an operation with its root fragments inlined.
struct Roots<'a> {
    fragments: &'a Fragments,
    root: &'static str,
    fields: Vec<&'a Positioned<Field>>,
    /// A field or a fragment at the root has @skip or @include.
    conditional: bool,
    /// There is a fragment at the root.
    nested: bool,
}

impl<'a> Roots<'a> {
    /// Collects the fields; the cost check has bounded their number.
    fn flatten<'b: 'a>(&mut self, set: &'b SelectionSet) -> Result<(), ServerError> {
        for item in &set.items {
            self.conditional |= is_conditional(item.node.directives());
            let (on, inner) = match &item.node {
                Selection::Field(field) => {
                    self.fields.push(field);
                    continue;
                }
                Selection::InlineFragment(fragment) => {
                    let on = fragment.node.type_condition.as_ref();
                    (on, &fragment.node.selection_set.node)
                }
                Selection::FragmentSpread(spread) => {
                    // The cost check has refused unknown fragments.
                    let Some(fragment) = self.fragments.get(&spread.node.fragment_name.node) else {
                        continue;
                    };
                    let on = Some(&fragment.node.type_condition);
                    (on, &fragment.node.selection_set.node)
                }
            };
            if on.is_some_and(|on| on.node.on.node != self.root) {
                return Err(coded(
                    code::GRAPHQL_VALIDATION_FAILED,
                    format!("A fragment at the root must be on {}", self.root),
                    Some(item.pos),
                ));
            }
            self.nested = true;
            self.flatten(inner)?;
        }
        Ok(())
    }
}

fn is_conditional(directives: &[Positioned<Directive>]) -> bool {
    directives
        .iter()
        .any(|directive| matches!(directive.node.name.node.as_str(), "skip" | "include"))
}

/// Joins fields of one response key; the merge rule has already found them to be the same.
fn merge(fields: Vec<&Positioned<Field>>) -> Vec<Positioned<Field>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut merged: Vec<Positioned<Field>> = Vec::new();
    for field in fields {
        let key = field.node.response_key().node.as_str();
        let place = *places.entry(key).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(first) => {
                debug_assert!(same(&first.node, &field.node), "checked before");
                let items = field.node.selection_set.node.items.iter().cloned();
                first.node.selection_set.node.items.extend(items);
            }
            None => merged.push(field.clone()),
        }
    }
    merged
}

/// Drops the fragments that were inlined and are used nowhere else, which would be refused as
/// unused.
fn drop_unused(document: &mut ExecutableDocument) {
    let mut used = HashSet::new();
    for (_, operation) in document.operations.iter() {
        mark(document, &operation.node.selection_set.node, &mut used);
    }
    document.fragments.retain(|name, _| used.contains(name));
}

fn mark(document: &ExecutableDocument, set: &SelectionSet, used: &mut HashSet<Name>) {
    for item in &set.items {
        match &item.node {
            Selection::Field(field) => mark(document, &field.node.selection_set.node, used),
            Selection::InlineFragment(fragment) => {
                mark(document, &fragment.node.selection_set.node, used);
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if let Some(fragment) = document.fragments.get(name)
                    && used.insert(name.clone())
                {
                    mark(document, &fragment.node.selection_set.node, used);
                }
            }
        }
    }
}
