//! Counters of operations, for the operator; docs/metrics.md says what each means.

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ran {
    kind: &'static str,
    outcome: &'static str,
}

/// The counters. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    operations: Family<Ran, Counter>,
}

impl Meters {
    /// Puts the counters under their names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "graphql_operations",
            "GraphQL operations that ran; a subscription when it begins",
            self.operations.clone(),
        );
    }

    pub(crate) fn ran(&self, kind: &'static str, has_errors: bool) {
        let outcome = if has_errors { "errors" } else { "ok" };
        self.operations.get_or_create(&Ran { kind, outcome }).inc();
    }
}

/// Names the kind of the operation that a document runs.
pub(crate) fn kind(document: &ExecutableDocument, name: Option<&str>) -> &'static str {
    let operation = match &document.operations {
        DocumentOperations::Single(operation) => Some(operation),
        DocumentOperations::Multiple(all) => name.and_then(|name| all.get(name)),
    };
    match operation.map(|operation| operation.node.ty) {
        Some(OperationType::Query) => "query",
        Some(OperationType::Mutation) => "mutation",
        Some(OperationType::Subscription) => "subscription",
        None => "unknown",
    }
}
