//! A field of a partial update: absent, null and a value are three different things.

/// A field that a caller may give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// Not given: what is there stays.
    #[default]
    Absent,
    /// Given as null: what is there is cleared, which means its default.
    Null,
    /// Given.
    Value(T),
}

impl<T> Field<T> {
    /// Returns whether the caller named the field.
    #[must_use]
    pub fn is_given(&self) -> bool {
        !matches!(self, Field::Absent)
    }

    /// Returns the value that was given; `None` for an absent field and for null.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Field::Value(value) => Some(value),
            Field::Absent | Field::Null => None,
        }
    }

    /// Converts the value.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Absent => Field::Absent,
            Field::Null => Field::Null,
            Field::Value(value) => Field::Value(convert(value)),
        }
    }
}

impl<T: Clone> Field<T> {
    /// Returns what becomes of a value that may be missing: null clears it.
    #[must_use]
    pub fn over(&self, old: &Option<T>) -> Option<T> {
        match self {
            Field::Absent => old.clone(),
            Field::Null => None,
            Field::Value(value) => Some(value.clone()),
        }
    }

    /// Returns what becomes of a value that is always there: null makes it the default.
    #[must_use]
    pub fn over_default(&self, old: &T, default: T) -> T {
        match self {
            Field::Absent => old.clone(),
            Field::Null => default,
            Field::Value(value) => value.clone(),
        }
    }
}

impl<T> From<T> for Field<T> {
    fn from(value: T) -> Self {
        Field::Value(value)
    }
}
