//! Queries for transformations.

use async_graphql::{Context, Object};
use sipgraph_core::Fault;

use super::{
    input::{PreviewTransformationsInput, TransformationInput},
    types::TransformationPreview,
};
use crate::{
    errors::{Nullable, UserError, error},
    view::View,
};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct TransformationQuery;

#[Object]
impl TransformationQuery {
    /// What rules would make of a number, step by step. Nothing is stored. Needs the scope endpoints.read.
    async fn preview_transformations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rules and the number.")] input: PreviewTransformationsInput,
    ) -> Nullable<TransformationPreview> {
        let view = View::of(ctx);
        let rules = input.transformations.iter();
        let rules: Vec<_> = rules.map(TransformationInput::to_core).collect();
        let tried = view
            .app()
            .transformations_preview(view.caller(), &rules, &input.number);
        Some(match tried {
            Ok(done) => Ok(TransformationPreview {
                rejected: done.result.is_none(),
                result: done.result,
                steps: done.steps.iter().map(ToString::to_string).collect(),
                user_errors: Vec::new(),
            }),
            Err(Fault::Refused(problems)) => Ok(TransformationPreview {
                result: None,
                rejected: false,
                steps: Vec::new(),
                user_errors: problems.into_iter().map(UserError::from).collect(),
            }),
            Err(Fault::Error(fault)) => Err(error(fault)),
        })
    }
}
