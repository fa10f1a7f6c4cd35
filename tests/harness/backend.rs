//! The database as a parameter: each body runs on SQLite and on Postgres.

pub(crate) use sipgraph_testkit::{Backend, Database, both_backends};

/// Waits until `look` gives something, for at most [`super::STEP`].
#[track_caller]
pub(crate) fn eventually<'a, T, F>(
    what: &'a str,
    look: impl FnMut() -> F + 'a,
) -> impl Future<Output = T> + 'a
where
    F: Future<Output = Option<T>>,
    T: 'a,
{
    sipgraph_testkit::eventually(what, super::STEP, look)
}

/// Returns `sqlite` or `postgres`, as the ready line names it.
pub(crate) fn name(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    }
}
