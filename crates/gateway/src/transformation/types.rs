//! What clients see of transformations.

use async_graphql::SimpleObject;

use crate::errors::UserError;

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
