//! Accounts, which the operator makes from the command line.

use super::App;
use crate::access::Caller;
use crate::account::Account;
use crate::address::violation;
use crate::error::{Problem, ProblemCode};
use crate::{AccountId, Error, Fault};

/// The longest name of an account, in characters.
const ACCOUNT_NAME_MAX: usize = 128;

impl App {
    /// Makes an account.
    ///
    /// # Errors
    /// `Validation` for an empty or long name, `Conflict` for one that is taken.
    pub async fn account_create(&self, name: &str) -> Result<Account, Fault> {
        let is_printable = !name.contains(char::is_control);
        if name.trim().is_empty() || name.chars().count() > ACCOUNT_NAME_MAX || !is_printable {
            return Err(Problem::validation(
                "name",
                format!("An account's name has 1 to {ACCOUNT_NAME_MAX} printable characters."),
            )
            .into());
        }
        let mint = self.mint();
        self.store
            .account_create(mint.id(AccountId::new), name.to_owned(), mint.now)
            .await?
            .ok_or_else(|| {
                Problem::new(
                    ProblemCode::Conflict,
                    "name",
                    format!("There is already an account with the name {name}."),
                )
                .into()
            })
    }

    /// Returns an account by its name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn account_by_name(&self, name: &str) -> Result<Account, Error> {
        self.store
            .account_by_name(name.to_owned())
            .await?
            .ok_or_else(|| Error::not_found("account"))
    }

    /// Returns the caller's account.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn account(&self, caller: &Caller) -> Result<Account, Error> {
        self.store
            .account(caller.account)
            .await?
            .ok_or_else(|| Error::not_found("account"))
    }

    /// Assigns telephone numbers to an account, all or none; numbers that it has already stay.
    ///
    /// # Errors
    /// `Validation` for each that is no E.164 number, `Conflict` for each that another account has.
    pub async fn numbers_assign(
        &self,
        account: AccountId,
        numbers: &[String],
    ) -> Result<(), Fault> {
        let mut canonical = Vec::new();
        let mut problems = Vec::new();
        for (i, text) in numbers.iter().enumerate() {
            match sip_validate::e164(text) {
                Ok(number) => canonical.push(number.into_owned()),
                Err(v) => problems.push(violation(&format!("numbers.{i}"), text, &v)),
            }
        }
        if problems.is_empty() {
            let taken = self
                .store
                .numbers_assign(account, canonical.clone())
                .await?;
            problems.extend(taken.iter().map(|number| {
                let i = canonical.iter().position(|n| n == number).unwrap_or(0);
                Problem::new(
                    ProblemCode::Conflict,
                    &format!("numbers.{i}"),
                    format!("The number {number} belongs to another account."),
                )
            }));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Fault::Refused(problems))
        }
    }

    /// Raises the epoch of every log; a restore does it, so that no client goes on silently.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn epoch_raise(&self) -> Result<(), Error> {
        self.store.epoch_raise().await
    }
}
