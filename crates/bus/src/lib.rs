//! Wakes readers of the event log: in process, or over Postgres.
//!
//! A wake only says that an account's log reaches at least to a number; the log itself is the
//! truth. So a bus may lose, repeat or reorder wakes, and nothing here stores or retries one. It
//! knows no event and no SQL but `LISTEN` and `NOTIFY`.

mod local;
mod postgres;

pub use local::LocalBus;
pub use postgres::{Connect, Connection, PostgresBus};

/// Which bus an address asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    /// `local:`: one node.
    Local,
    /// `postgres:`: the nodes that share a Postgres database.
    Postgres,
}

impl BusKind {
    /// Reads `local:` or `postgres:`; `None` for anything else, `nats:` included.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        match url {
            "local:" => Some(Self::Local),
            "postgres:" => Some(Self::Postgres),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BusKind;

    #[test]
    fn addresses() {
        assert_eq!(BusKind::parse("local:"), Some(BusKind::Local));
        assert_eq!(BusKind::parse("postgres:"), Some(BusKind::Postgres));
        for other in ["", "local", "nats://h:4222", "postgres://h/x"] {
            assert_eq!(BusKind::parse(other), None, "{other}");
        }
    }
}
