//! Many endpoints, put into the store's own table by one statement: the store would write the same rows, in minutes
//! instead of seconds.

use std::fmt::Write as _;

use sipgraph_core::{AccountId, DomainId};

/// Endpoints of one domain whose names have a word of known commonness and a number: `office17`.
///
/// They were made one second after another; nine of ten are enabled; none has a password.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    account: AccountId,
    domain: DomainId,
    count: u32,
}

impl Crowd {
    /// The word that half of the names have.
    pub const COMMON: &str = "office";
    /// The word that one of two hundred has.
    pub const SELDOM: &str = "tandem";
    /// The word that twenty of all have.
    pub const RARE: &str = "zebra";
    /// The word of the others.
    const OTHER: &str = "lobby";

    /// Plans them, at least 2,000.
    #[must_use]
    pub fn of(account: AccountId, domain: DomainId, count: u32) -> Self {
        Self {
            account,
            domain,
            count: count.max(2_000),
        }
    }

    /// Returns the statement that puts them into SQLite.
    #[must_use]
    pub fn sqlite(&self) -> String {
        let hex = |bytes: [u8; 16]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("a String takes any text");
                text
            })
        };
        let rows = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) ",
            self.count
        );
        let domain = hex(self.domain.0);
        self.insert(
            &rows,
            &format!(
                "x'{}', randomblob(16), x'{domain}', (SELECT name FROM domains WHERE id = x'{domain}')",
                hex(self.account.0)
            ),
            "1700000000000000 + i * 1000000",
            "n",
        )
    }

    /// Returns the statement that puts them into Postgres.
    #[must_use]
    pub fn postgres(&self) -> String {
        let id = |bytes: [u8; 16]| format!("'{:032x}'::uuid", u128::from_be_bytes(bytes));
        let domain = id(self.domain.0);
        self.insert(
            "",
            &format!(
                "{}, gen_random_uuid(), {domain}, (SELECT name FROM domains WHERE id = {domain})",
                id(self.account.0)
            ),
            "to_timestamp(1700000000 + i)",
            &format!("generate_series(1, {}) AS n(i)", self.count),
        )
    }

    fn insert(&self, with: &str, ids: &str, at: &str, rows: &str) -> String {
        let name = format!(
            "CASE WHEN i % {} = 3 THEN '{}' WHEN i % 200 = 7 THEN '{}' WHEN i % 2 = 0 THEN '{}' ELSE '{}' END || i",
            self.count / 20,
            Self::RARE,
            Self::SELDOM,
            Self::COMMON,
            Self::OTHER
        );
        // A number of their own, above those that the store allots in a test.
        format!(
            "INSERT INTO endpoints (account_id, id, domain_id, domain_name, external_id, name, canonical_name, enabled, \
             has_password, state, created_at, updated_at, version, bindings_revision) \
             {with}SELECT {ids}, 1000000 + i, {name}, {name}, i % 10 <> 0, FALSE, 0, {at}, {at}, 1, 0 FROM {rows}"
        )
    }
}
