//! Domains and the names that lead to them.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Nullable, Text},
};
use sipgraph_core::{digest::DigestAlgorithm, domain::Domain};

use super::Corrupt;
use crate::{
    schema::domains,
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

columns! {
    /// A domain without its aliases.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = domains)]
    pub(crate) struct DomainRow {
        account_id: DbId => Id,
        id: DbId => Id,
        name: Text => String,
        description: Nullable<Text> => Option<String>,
        digest_algorithms: Text => String,
        record_internal_messages: Bool => bool,
        created_at: DbTime => Time,
        version: BigInt => i64,
    }

    /// A name or alias; unique in the instance.
    #[derive(Debug)]
    pub(crate) struct DomainNameRow {
        name: Text => String,
        account_id: DbId => Id,
        domain_id: DbId => Id,
        is_alias: Bool => bool,
    }
}

impl DomainRow {
    /// Splits a domain into its row and the rows of its names.
    pub(crate) fn split(domain: Domain) -> (Self, Vec<DomainNameRow>) {
        let Domain {
            id,
            account,
            name,
            aliases,
            description,
            digest_algorithms,
            record_internal_messages,
            created_at,
            version,
        } = domain;
        let name_row = |name: String, is_alias| DomainNameRow {
            name,
            account_id: account.into(),
            domain_id: id.into(),
            is_alias,
        };
        let mut names = vec![name_row(name.clone(), false)];
        names.extend(aliases.into_iter().map(|alias| name_row(alias, true)));
        let row = Self {
            account_id: account.into(),
            id: id.into(),
            name,
            description,
            digest_algorithms: digest_algorithms_text(&digest_algorithms),
            record_internal_messages,
            created_at: created_at.into(),
            version,
        };
        (row, names)
    }

    /// Joins the domain with its aliases, which are sorted here.
    pub(crate) fn with_aliases(self, mut aliases: Vec<String>) -> Result<Domain, Corrupt> {
        let Self {
            account_id,
            id,
            name,
            description,
            digest_algorithms: algorithms,
            record_internal_messages,
            created_at,
            version,
        } = self;
        aliases.sort();
        Ok(Domain {
            id: id.into(),
            account: account_id.into(),
            name,
            aliases,
            description,
            digest_algorithms: digest_algorithms(&algorithms)?,
            record_internal_messages,
            created_at: created_at.into(),
            version,
        })
    }
}

/// Writes algorithms in their order.
pub(crate) fn digest_algorithms_text(algorithms: &[DigestAlgorithm]) -> String {
    let names: Vec<&str> = algorithms.iter().map(|a| a.token()).collect();
    names.join(",")
}

/// Reads algorithms in their order.
pub(crate) fn digest_algorithms(text: &str) -> Result<Vec<DigestAlgorithm>, Corrupt> {
    text.split(',')
        .map(|name| {
            DigestAlgorithm::parse(name)
                .ok_or_else(|| Corrupt::new(format!("digest algorithm {name}")))
        })
        .collect()
}
