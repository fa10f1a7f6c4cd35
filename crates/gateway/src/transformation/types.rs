//! What clients see of transformations.

use async_graphql::{Enum, ID, SimpleObject};
use sipgraph_core::{endpoint, transformation::Rule};

use crate::{errors::UserError, id::NodeId};

/// What a rule does.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
pub(crate) enum TransformationKind {
    /// Replaces each match of `pattern` by `replace`.
    Rewrite,
    /// Takes `value` in place of the number.
    Set,
    /// Lets the rules behind it apply only when `pattern` matches, or, with `negate`, does not.
    Condition,
    /// Rejects the number when `pattern` matches.
    Reject,
}

/// A rule on numbers. A field is null where its kind has no use for it.
#[derive(SimpleObject)]
pub(crate) struct TransformationRule {
    /// What it does.
    kind: TransformationKind,
    /// The regular expression that is looked for; null for SET.
    pattern: Option<String>,
    /// What takes the place of a match; only for REWRITE.
    replace: Option<String>,
    /// The number that is taken; only for SET.
    value: Option<String>,
    /// Whether the pattern must not match; only for CONDITION.
    negate: Option<bool>,
}

/// A rule on the numbers of an endpoint, applied in the order of the list. Source: CarrierX.
#[derive(SimpleObject)]
pub(crate) struct Transformation {
    /// Its opaque id, by which an update names it.
    id: ID,
    /// The rule.
    rule: TransformationRule,
}

impl From<endpoint::Transformation> for Transformation {
    fn from(endpoint::Transformation { id, rule }: endpoint::Transformation) -> Self {
        let empty = TransformationRule {
            kind: TransformationKind::Set,
            pattern: None,
            replace: None,
            value: None,
            negate: None,
        };
        Self {
            id: id.to_id(),
            rule: match rule {
                Rule::Rewrite { pattern, replace } => TransformationRule {
                    kind: TransformationKind::Rewrite,
                    pattern: Some(pattern),
                    replace: Some(replace),
                    ..empty
                },
                Rule::Set { value } => TransformationRule {
                    value: Some(value),
                    ..empty
                },
                Rule::Condition { pattern, negate } => TransformationRule {
                    kind: TransformationKind::Condition,
                    pattern: Some(pattern),
                    negate: Some(negate),
                    ..empty
                },
                Rule::Reject { pattern } => TransformationRule {
                    kind: TransformationKind::Reject,
                    pattern: Some(pattern),
                    ..empty
                },
            },
        }
    }
}

/// What a number becomes.
#[derive(SimpleObject)]
pub(crate) struct TransformationPreview {
    /// The number behind the last rule; null when it was rejected or the input is wrong.
    pub(crate) result: Option<String>,
    /// Whether a rule rejected the number.
    pub(crate) rejected: bool,
    /// What each rule did, in words, in their order, up to the one that ended it.
    pub(crate) steps: Vec<String>,
    /// What is wrong with the rules, each at the index of its rule, and with the number; empty when nothing is.
    pub(crate) user_errors: Vec<UserError>,
}
