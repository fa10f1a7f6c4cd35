//! Endpoints: names that are unique by canonical form, passwords that are kept only as HA1 values, and settings that
//! depend on the type.

mod create;
mod delete;
mod import;
mod numbers;
mod settings;
mod update;

pub use create::{CreatedEndpoint, EndpointsSnapshot, NewEndpoint, create, create_all};
pub use delete::{Waiting, deletable, delete, fail_some};
pub use import::{ImportRow, ImportSnapshot, Imported, Met, StoredEndpoint, import as import_rows};
pub use numbers::{Numbers, limit_set, release};
pub use settings::{AddressSettings, EndpointSettings, NewCredentials, TransformationSettings};
pub use update::{
    EndpointChange, EndpointReplacement, UpdateSnapshot, UpdatedEndpoint, replace, update,
};

use crate::address::violation;
use crate::endpoint::EndpointType;
use crate::error::{Problem, ProblemCode};
use settings::not_updatable;
pub(super) use settings::send_as;
use sip_validate::Violation;
use std::borrow::Cow;

/// Checks a name against the grammar and the product's policy and returns its canonical form.
///
/// # Errors
/// Every violation at field `name`, in the order of the places, up to 32.
pub fn name(text: &str) -> Result<String, Vec<Problem>> {
    /// So many that a person sees what is wrong with any name; a text of a megabyte has as many as letters.
    const TOLD_MAX: usize = 32;
    let told = |v: Violation| violation("name", text, &v);
    let problems: Vec<_> = sip_validate::endpoint_name_violations(text)
        .take(TOLD_MAX)
        .map(told)
        .collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    sip_validate::aor_user(text)
        .map(Cow::into_owned)
        .map_err(|v| vec![told(v)])
}

/// Returns the problem of a name that is taken.
#[must_use]
pub fn name_taken(text: &str) -> Problem {
    Problem::new(
        ProblemCode::Conflict,
        "name",
        format!(
            "The domain already has an endpoint with the name {text}, or one that means the same."
        ),
    )
}

/// Returns the problem of a name that is taken in an account whose names are unique in all of it.
#[must_use]
pub fn name_taken_in_account(text: &str) -> Problem {
    Problem::new(
        ProblemCode::Conflict,
        "name",
        format!(
            "Another domain of the account has an endpoint with the name {text}, or one that means the same, and names \
             are unique in all of the account."
        ),
    )
}

/// Returns the problem of changing or deleting the operator's gateway.
fn system_gateway() -> Problem {
    not_updatable(
        EndpointType::SystemGateway,
        "id",
        "A system gateway is the operator's: it can't be changed or deleted.",
    )
}
