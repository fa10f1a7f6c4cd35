//! Applications: whom a call of an endpoint is told to, as Bandwidth names them. Endpoints refer to them.

use crate::{AccountId, ApplicationId, Timestamp};

/// The longest name of an application, in characters.
pub const APPLICATION_NAME_MAX: usize = 255;
/// The longest callback URL, in characters.
pub const CALLBACK_URL_MAX: usize = 2048;
/// The most applications that an account may have; as many as a page lists.
pub const APPLICATIONS_MAX: u32 = 1000;

/// A method of HTTP by which a callback is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HttpMethod {
    /// Values in the query string.
    Get,
    /// Values in the body.
    #[default]
    Post,
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// Its owner.
    pub account: AccountId,
    /// Its name, for people.
    pub name: String,
    /// Whom it calls back, an absolute http or https URL.
    pub callback_url: Option<String>,
    /// By which method.
    pub callback_method: HttpMethod,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its changes, from 1.
    pub version: i64,
}
