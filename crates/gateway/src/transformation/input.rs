//! What clients say about transformations.

use async_graphql::{ID, InputObject, OneofObject};
use sipgraph_core::{
    TransformationId,
    decide::endpoints::TransformationSettings,
    transformation::{GivenRule, Rule},
};

use crate::id::NodeId;

/// A rule that changes, passes or rejects a telephone number.
#[derive(InputObject)]
pub(crate) struct TransformationInput {
    /// Which transformation of the endpoint is meant; absent for a new one, and in a preview.
    id: Option<ID>,
    /// The rule.
    rule: TransformationRuleInput,
}

/// One rule: exactly one of these. Patterns are regular expressions that run in linear time (the Rust crate `regex`), at
/// most 256 characters; without `^` and `$` they match anywhere in the number.
#[derive(OneofObject)]
pub(crate) enum TransformationRuleInput {
    /// Replaces each match of a pattern.
    Rewrite(RewriteRuleInput),
    /// Takes a number in place of the one given.
    Set(SetRuleInput),
    /// Lets the rules behind it apply only when a pattern matches.
    Condition(ConditionRuleInput),
    /// Rejects the number when a pattern matches.
    Reject(RejectRuleInput),
    /// CarrierX's rule that asks a foreign service. It is always refused, with VALIDATION.
    Lookup(String),
}

/// Replaces each match of a pattern.
#[derive(InputObject)]
pub(crate) struct RewriteRuleInput {
    /// What is replaced.
    pattern: String,
    /// What takes its place, at most 128 characters: `$0` is the match, `$1` to `$9` its groups, `${name}` a named group,
    /// `$$` a dollar sign.
    replace: String,
}

/// Takes a number in place of the one given.
#[derive(InputObject)]
pub(crate) struct SetRuleInput {
    /// The number: 1 to 128 printable ASCII characters.
    value: String,
}

/// Lets the rules behind it apply only when a pattern matches; otherwise the number stays as it is.
#[derive(InputObject)]
pub(crate) struct ConditionRuleInput {
    /// What must match.
    pattern: String,
    /// Whether it must not match instead.
    #[graphql(default)]
    negate: bool,
}

/// Rejects the number when a pattern matches.
#[derive(InputObject)]
pub(crate) struct RejectRuleInput {
    /// What is rejected.
    pattern: String,
}

impl TransformationInput {
    pub(super) fn to_core(&self) -> GivenRule {
        GivenRule::Rule(match &self.rule {
            TransformationRuleInput::Rewrite(rule) => Rule::Rewrite {
                pattern: rule.pattern.clone(),
                replace: rule.replace.clone(),
            },
            TransformationRuleInput::Set(rule) => Rule::Set {
                value: rule.value.clone(),
            },
            TransformationRuleInput::Condition(rule) => Rule::Condition {
                pattern: rule.pattern.clone(),
                negate: rule.negate,
            },
            TransformationRuleInput::Reject(rule) => Rule::Reject {
                pattern: rule.pattern.clone(),
            },
            TransformationRuleInput::Lookup(_) => return GivenRule::Lookup,
        })
    }

    pub(crate) fn to_settings(&self) -> TransformationSettings {
        TransformationSettings {
            id: self.id.as_ref().map(TransformationId::of),
            rule: self.to_core(),
        }
    }
}

/// Rules to try out on a number.
#[derive(InputObject)]
pub(crate) struct PreviewTransformationsInput {
    /// The rules in their order, at most 32.
    pub(super) transformations: Vec<TransformationInput>,
    /// The number as it would arrive: 1 to 128 printable ASCII characters.
    pub(super) number: String,
}
