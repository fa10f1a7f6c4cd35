//! Fields of a partial update: absent, null and a value are three different things, also through variables.

use async_graphql::MaybeUndefined;
use sipgraph_core::patch::Field;

/// Returns a field as core takes it, its value converted.
pub(crate) fn field<T, U>(given: &MaybeUndefined<T>, convert: impl FnOnce(&T) -> U) -> Field<U> {
    match given {
        MaybeUndefined::Undefined => Field::Absent,
        MaybeUndefined::Null => Field::Null,
        MaybeUndefined::Value(value) => Field::Value(convert(value)),
    }
}
