//! Who calls, and what it may do.

use crate::{AccountId, EndpointId, Error, ErrorKind, Timestamp, TokenId};
use std::sync::Arc;

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident $text:literal $manage:ident;)*) => {
        /// A right that a token carries: `<resource>.<create|read|update|delete|manage>`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope { $($(#[$doc])* $name,)* }

        impl Scope {
            /// Every scope, in the order of the documentation.
            pub const ALL: &'static [Scope] = &[$(Scope::$name,)*];

            /// Returns the scope's name in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Scope::$name => $text,)* }
            }

            /// Returns the scope that implies this one: its resource's `manage`, or itself.
            #[must_use]
            pub fn manage(self) -> Scope {
                match self { $(Scope::$name => Scope::$manage,)* }
            }
        }
    };
}

scopes! {
    /// Create endpoints.
    EndpointsCreate "endpoints.create" EndpointsManage;
    /// Read endpoints, their domain, account and contacts.
    EndpointsRead "endpoints.read" EndpointsManage;
    /// Change endpoints.
    EndpointsUpdate "endpoints.update" EndpointsManage;
    /// Delete endpoints.
    EndpointsDelete "endpoints.delete" EndpointsManage;
    /// All that concerns endpoints, but no secrets.
    EndpointsManage "endpoints.manage" EndpointsManage;
    /// Read the secrets of endpoints that can be read. Nothing else implies it.
    EndpointsSecrets "endpoints.secrets" EndpointsSecrets;
    /// Send messages.
    MessagesCreate "messages.create" MessagesManage;
    /// Read messages.
    MessagesRead "messages.read" MessagesManage;
    /// Mark messages.
    MessagesUpdate "messages.update" MessagesManage;
    /// Delete messages.
    MessagesDelete "messages.delete" MessagesManage;
    /// All that concerns messages.
    MessagesManage "messages.manage" MessagesManage;
    /// Read chats.
    ChatsRead "chats.read" ChatsManage;
    /// Mark chats.
    ChatsUpdate "chats.update" ChatsManage;
    /// Delete chats.
    ChatsDelete "chats.delete" ChatsManage;
    /// All that concerns chats.
    ChatsManage "chats.manage" ChatsManage;
    /// Create domains.
    DomainsCreate "domains.create" DomainsManage;
    /// Read domains.
    DomainsRead "domains.read" DomainsManage;
    /// Change domains.
    DomainsUpdate "domains.update" DomainsManage;
    /// Delete domains.
    DomainsDelete "domains.delete" DomainsManage;
    /// All that concerns domains.
    DomainsManage "domains.manage" DomainsManage;
    /// Create applications.
    ApplicationsCreate "applications.create" ApplicationsManage;
    /// Read applications.
    ApplicationsRead "applications.read" ApplicationsManage;
    /// Change applications.
    ApplicationsUpdate "applications.update" ApplicationsManage;
    /// Delete applications.
    ApplicationsDelete "applications.delete" ApplicationsManage;
    /// All that concerns applications.
    ApplicationsManage "applications.manage" ApplicationsManage;
    /// Read the SIP profile.
    ProfileRead "profile.read" ProfileManage;
    /// Change the SIP profile.
    ProfileUpdate "profile.update" ProfileManage;
    /// All that concerns the SIP profile.
    ProfileManage "profile.manage" ProfileManage;
    /// Change the account's settings.
    AccountUpdate "account.update" AccountManage;
    /// All that concerns the account.
    AccountManage "account.manage" AccountManage;
    /// See why registrations failed.
    RegistrationsRead "registrations.read" RegistrationsRead;
    /// Lift bans.
    BansManage "bans.manage" BansManage;
    /// Mint tokens.
    TokensCreate "tokens.create" TokensManage;
    /// List tokens; their secrets are never readable.
    TokensRead "tokens.read" TokensManage;
    /// Revoke tokens.
    TokensDelete "tokens.delete" TokensManage;
    /// All that concerns tokens.
    TokensManage "tokens.manage" TokensManage;
}

impl Scope {
    /// Reads a scope's name; `voice` is another name of `endpoints.manage`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Scope> {
        if text == "voice" {
            return Some(Scope::EndpointsManage);
        }
        Scope::ALL
            .iter()
            .copied()
            .find(|scope| scope.as_str() == text)
    }
}

/// The holder of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account whose objects it sees; all others do not exist for it.
    pub account: AccountId,
    /// Its token.
    pub token: TokenId,
    /// The token's name.
    pub token_name: Arc<str>,
    /// The scopes as granted, sorted.
    pub scopes: Arc<[Scope]>,
    /// The only endpoints that it sees and acts as; `None` means all of the account. Sorted.
    pub endpoints: Option<Arc<[EndpointId]>>,
    /// When the token ends; `None` means never.
    pub expires_at: Option<Timestamp>,
}

impl Caller {
    /// Returns whether it has a scope, itself or by the resource's `manage`.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&scope.manage())
    }

    /// Refuses with `FORBIDDEN`, naming the scopes that would do, unless it has the scope.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] without the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.has(scope) {
            return Ok(());
        }
        let mut needed = vec![scope];
        if scope.manage() != scope {
            needed.push(scope.manage());
        }
        let names: Vec<&str> = needed.iter().map(|scope| scope.as_str()).collect();
        let message = format!("This token lacks a scope: {}.", names.join(" or "));
        Err(Error::new(ErrorKind::Forbidden(needed), message))
    }

    /// Refuses as [`Caller::require`] does, and a token bound to endpoints as though `what` were not there: that belongs to the
    /// whole account, and such a token sees of it what its endpoints have.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] without the scope, [`ErrorKind::NotFound`] for a bound token.
    pub fn require_whole(&self, scope: Scope, what: &'static str) -> Result<(), Error> {
        self.require(scope)?;
        if self.endpoints.is_some() {
            return Err(Error::not_found(what));
        }
        Ok(())
    }

    /// Returns whether it may see and act as an endpoint of its account.
    #[must_use]
    pub fn sees(&self, endpoint: EndpointId) -> bool {
        self.endpoints
            .as_ref()
            .is_none_or(|bound| bound.binary_search(&endpoint).is_ok())
    }
}
