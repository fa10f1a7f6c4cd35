//! Transformations of telephone numbers.

mod input;
mod query;
mod types;

pub(crate) use input::TransformationInput;
pub(crate) use query::TransformationQuery;
pub(crate) use types::Transformation;
