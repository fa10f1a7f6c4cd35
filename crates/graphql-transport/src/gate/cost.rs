//! What a document costs when it is expanded, found without expanding it.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned, ServerError,
    parser::types::{Directive, ExecutableDocument, Selection, SelectionSet},
};

use crate::{GateLimits, code, coded};

/// What a selection set costs with its fragments expanded; all counts saturate.
#[derive(Clone, Copy, Default)]
struct Cost {
    fields: u64,
    /// Spreads and inline fragments.
    fragments: u64,
    depth: u64,
    aliases: u64,
    directives: u64,
    /// Introspection lists on the longest path.
    lists: u64,
}

impl Cost {
    fn beside(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            fragments: self.fragments.saturating_add(other.fragments),
            depth: self.depth.max(other.depth),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            lists: self.lists.max(other.lists),
        }
    }

    fn of_fragment(self) -> Self {
        Self {
            fragments: self.fragments.saturating_add(1),
            ..self
        }
    }

    fn with_directives(mut self, directives: &[Positioned<Directive>]) -> Self {
        let count = u64::try_from(directives.len()).unwrap_or(u64::MAX);
        self.directives = self.directives.saturating_add(count);
        self
    }
}

/// Refuses a document whose operations together cost too much, one that spreads a fragment that is
/// not there or in a cycle, and one with unused fragments (these would be validated without having
/// been counted).
pub(super) fn check(document: &ExecutableDocument, limits: &GateLimits) -> Result<(), ServerError> {
    let mut meter = Meter {
        document,
        limits,
        fragments: HashMap::new(),
    };
    let mut total = Cost::default();
    for (_, operation) in document.operations.iter() {
        let cost = meter
            .set(&operation.node.selection_set.node)?
            .with_directives(&operation.node.directives);
        total = total.beside(cost);
    }
    let unused = document
        .fragments
        .iter()
        .find(|(name, _)| !meter.fragments.contains_key(*name));
    if let Some((name, fragment)) = unused {
        return Err(coded(
            code::GRAPHQL_VALIDATION_FAILED,
            format!("Fragment \"{name}\" is never used"),
            Some(fragment.pos),
        ));
    }
    let table = [
        (total.fields, limits.fields_max, "selects more fields than"),
        (
            total.fragments,
            limits.fragments_max,
            "spreads more fragments than",
        ),
        (total.depth, limits.depth_max, "nests fields too deep:"),
        (total.aliases, limits.aliases_max, "has more aliases than"),
        (
            total.directives,
            limits.directives_max,
            "has more directives than",
        ),
    ];
    for (value, max, what) in table {
        if value > max {
            return Err(coded(
                code::QUERY_TOO_COMPLEX,
                format!("The document {what} {max}"),
                None,
            ));
        }
    }
    Ok(())
}

enum Fragment {
    /// Its own spreads are being measured: meeting it again is a cycle.
    Open,
    Measured(Cost),
}

struct Meter<'a> {
    document: &'a ExecutableDocument,
    limits: &'a GateLimits,
    fragments: HashMap<&'a Name, Fragment>,
}

impl<'a> Meter<'a> {
    /// Recursion is bounded: by the lexer's brackets inside a fragment, and from fragment to
    /// fragment by the document's tokens, at least seven for each.
    fn set(&mut self, set: &'a SelectionSet) -> Result<Cost, ServerError> {
        let mut total = Cost::default();
        for item in &set.items {
            let cost = match &item.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let below = self.set(&field.selection_set.node)?;
                    let name = field.name.node.as_str();
                    if matches!(name, "__schema" | "__type")
                        && below.lists > self.limits.introspection_lists_max
                    {
                        return Err(coded(
                            code::QUERY_TOO_COMPLEX,
                            "The introspection has too many lists in each other",
                            Some(item.pos),
                        ));
                    }
                    let list = matches!(
                        name,
                        "fields" | "interfaces" | "possibleTypes" | "inputFields"
                    );
                    Cost {
                        fields: below.fields.saturating_add(1),
                        fragments: below.fragments,
                        depth: below.depth.saturating_add(1),
                        aliases: below.aliases.saturating_add(field.alias.is_some().into()),
                        directives: below.directives,
                        lists: below.lists.saturating_add(list.into()),
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.set(&fragment.node.selection_set.node)?.of_fragment()
                }
                Selection::FragmentSpread(spread) => self
                    .fragment(&spread.node.fragment_name.node, item)?
                    .of_fragment(),
            };
            total = total.beside(cost.with_directives(item.node.directives()));
        }
        Ok(total)
    }

    fn fragment(
        &mut self,
        name: &'a Name,
        spread: &Positioned<Selection>,
    ) -> Result<Cost, ServerError> {
        match self.fragments.get(name) {
            Some(Fragment::Measured(cost)) => return Ok(*cost),
            Some(Fragment::Open) => {
                return Err(coded(
                    code::GRAPHQL_VALIDATION_FAILED,
                    format!("Fragment \"{name}\" spreads itself in a cycle"),
                    Some(spread.pos),
                ));
            }
            None => {}
        }
        let Some(definition) = self.document.fragments.get(name) else {
            return Err(coded(
                code::GRAPHQL_VALIDATION_FAILED,
                format!("Unknown fragment: \"{name}\""),
                Some(spread.pos),
            ));
        };
        self.fragments.insert(name, Fragment::Open);
        let cost = self
            .set(&definition.node.selection_set.node)?
            .with_directives(&definition.node.directives);
        self.fragments.insert(name, Fragment::Measured(cost));
        Ok(cost)
    }
}
