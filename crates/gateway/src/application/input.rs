//! What clients say about applications.

use async_graphql::{ID, InputObject, MaybeUndefined};
use sipgraph_core::decide::applications::{ApplicationPatch, NewApplication};

use super::types::HttpMethod;
use crate::patch::field;

/// An application to make.
#[derive(InputObject)]
pub(crate) struct CreateApplicationInput {
    /// Its name, for people: 1 to 255 characters. Several may have the same.
    name: String,
    /// Whom it calls back: an absolute `http:` or `https:` URL of at most 2048 characters.
    callback_url: Option<String>,
    /// By which method it calls back.
    #[graphql(default_with = "HttpMethod::Post")]
    callback_method: HttpMethod,
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl CreateApplicationInput {
    pub(super) fn to_core(&self) -> NewApplication {
        NewApplication {
            name: self.name.clone(),
            callback_url: self.callback_url.clone(),
            callback_method: self.callback_method.into(),
        }
    }
}

/// What is to change of an application: an absent field stays as it is, null clears it where that is possible.
#[derive(InputObject)]
#[graphql(name = "ApplicationPatch")]
pub(crate) struct ApplicationPatchInput {
    /// Its name, which cannot be cleared: 1 to 255 characters.
    name: MaybeUndefined<String>,
    /// Whom it calls back: an absolute `http:` or `https:` URL of at most 2048 characters.
    callback_url: MaybeUndefined<String>,
    /// By which method it calls back; null means POST.
    callback_method: MaybeUndefined<HttpMethod>,
}

impl ApplicationPatchInput {
    pub(super) fn to_core(&self) -> ApplicationPatch {
        ApplicationPatch {
            name: field(&self.name, String::clone),
            callback_url: field(&self.callback_url, String::clone),
            callback_method: field(&self.callback_method, |method| (*method).into()),
        }
    }
}

/// An application to change.
#[derive(InputObject)]
pub(crate) struct UpdateApplicationInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// What is to change.
    pub(super) patch: ApplicationPatchInput,
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

/// An application to delete.
#[derive(InputObject)]
pub(crate) struct DeleteApplicationInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}
