//! Endpoints: names that are unique by canonical form, passwords that are kept only as HA1 values, and settings that
//! depend on the type.

mod create;
mod delete;
mod numbers;
mod settings;
mod update;

pub use create::{CreatedEndpoint, EndpointsSnapshot, NewEndpoint, create, create_all};
pub use delete::{Waiting, deletable, delete, fail_some};
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

/// Checks a name against the grammar and the product's policy and returns its canonical form.
///
/// # Errors
/// The first violation, at field `name`.
pub fn name(text: &str) -> Result<String, Problem> {
    sip_validate::endpoint_name(text)
        .and_then(|()| sip_validate::aor_user(text))
        .map(std::borrow::Cow::into_owned)
        .map_err(|v| violation("name", text, &v))
}

/// Returns the violations of the rules for names, in the order of their places; none exactly when [`name`] accepts it.
#[must_use]
pub fn name_problems(text: &str) -> Vec<Problem> {
    /// So many that a person sees what is wrong with any name; a text of a megabyte has as many as letters.
    const TOLD_MAX: usize = 32;
    sip_validate::endpoint_name_violations(text)
        .take(TOLD_MAX)
        .map(|v| violation("name", text, &v))
        .collect()
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
