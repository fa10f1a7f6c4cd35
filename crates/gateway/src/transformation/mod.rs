//! Transformations of telephone numbers.

mod input;
mod query;
mod types;

pub(crate) use query::TransformationQuery;
