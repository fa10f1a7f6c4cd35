//! Accounts, which the operator makes from the command line, and of which a tenant can change some settings.

use super::settle::Decision;
use super::{App, Outcome};
use crate::access::{Caller, Scope};
use crate::account::Account;
use crate::address::violation;
use crate::decide::accounts::{AccountPatch, UpdatedAccount, update};
use crate::decide::endpoints::release;
use crate::endpoint::Endpoint;
use crate::error::{Problem, ProblemCode};
use crate::patch::Field;
use crate::ports::store::{EndpointKey, Found};
use crate::{AccountId, EndpointId, Error, Fault};

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

    /// Changes the caller's account, or with `dry_run` only says what would come of it. Scope: `account.update`; not for a token
    /// bound to endpoints.
    ///
    /// # Errors
    /// All that is wrong with the patch: `Conflict` when names are to be unique and two endpoints have one. In a replay no
    /// field is told as changed.
    pub async fn account_update(
        &self,
        caller: &Caller,
        patch: &AccountPatch,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<UpdatedAccount>, Fault> {
        caller.require(Scope::AccountUpdate)?;
        if caller.endpoints.is_some() {
            return Err(Error::not_found("account").into());
        }
        let input = format!("{patch:?}");
        let idempotency = self.idempotency(caller, "updateAccount", key, &[input.as_bytes()])?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let account = self.account(caller).await?;
                let twice = match patch.unique_names {
                    Field::Value(true) => self.store.endpoint_name_twice(caller.account).await?,
                    Field::Value(false) | Field::Null | Field::Absent => None,
                };
                let (commit, updated) = update(&self.mint(), &account, patch, twice.as_deref())
                    .map_err(Fault::Refused)?;
                Ok(Decision {
                    commit,
                    gives: Vec::new(),
                    value: updated,
                })
            },
            move |_| async move {
                Ok(UpdatedAccount {
                    account: self.account(caller).await?,
                    changed: Vec::new(),
                })
            },
        );
        Ok(settled.await?.into())
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
        let canonical = canonical_numbers(numbers)?;
        let taken = self
            .store
            .numbers_assign(account, canonical.clone())
            .await?;
        let problems: Vec<Problem> = taken
            .iter()
            .map(|number| {
                let i = canonical.iter().position(|n| n == number).unwrap_or(0);
                Problem::new(
                    ProblemCode::Conflict,
                    &format!("numbers.{i}"),
                    format!("The number {number} belongs to another account."),
                )
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Fault::Refused(problems))
        }
    }

    /// Returns an account's numbers, sorted, each with the endpoint that has it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn numbers(
        &self,
        account: AccountId,
    ) -> Result<Vec<(String, Option<Endpoint>)>, Error> {
        let numbers = self.store.numbers(account, None).await?;
        let ids = numbers.iter().filter_map(|(_, id)| *id).collect();
        let endpoints = self.store.endpoints_by_ids(account, ids).await?;
        let find = |id: EndpointId| endpoints.iter().find(|e| e.id == id).cloned();
        Ok(numbers
            .into_iter()
            .map(|(number, id)| (number, id.and_then(find)))
            .collect())
    }

    /// Takes telephone numbers from an account, and off the endpoints that have them. Each goes in a commit of its own.
    ///
    /// # Errors
    /// `Validation` for each that is no E.164 number, `NotFound` for each that the account does not have; then none goes.
    pub async fn numbers_release(
        &self,
        account: AccountId,
        numbers: &[String],
    ) -> Result<(), Fault> {
        let canonical = canonical_numbers(numbers)?;
        let known = self.store.numbers(account, Some(canonical.clone())).await?;
        let is_known = |number: &String| known.iter().any(|(has, _)| has == number);
        let missing = canonical.iter().enumerate();
        let missing: Vec<Problem> = missing
            .filter(|(_, number)| !is_known(number))
            .map(|(i, _)| Problem::not_found(&format!("numbers.{i}"), "number of the account"))
            .collect();
        if !missing.is_empty() {
            return Err(Fault::Refused(missing));
        }
        for number in canonical {
            self.number_release(account, &number).await?;
        }
        Ok(())
    }

    async fn number_release(&self, account: AccountId, number: &str) -> Result<(), Fault> {
        self.operate(move || async move {
            let named = vec![number.to_owned()];
            let found = self.store.numbers(account, Some(named)).await?;
            let Some((_, holder)) = found.into_iter().next() else {
                return Ok((None, ()));
            };
            let holder = match holder {
                Some(id) => match self.store.endpoint(account, EndpointKey::Id(id)).await? {
                    Found::One(endpoint) => Some(endpoint),
                    Found::None | Found::Ambiguous => None,
                },
                None => None,
            };
            let commit = release(&self.mint(), account, number, holder.as_ref());
            Ok((Some(commit), ()))
        })
        .await
    }

    /// Raises the epoch of every log; a restore does it, so that no client goes on silently.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn epoch_raise(&self) -> Result<(), Error> {
        self.store.epoch_raise().await
    }
}

/// Reads numbers as the operator writes them.
fn canonical_numbers(texts: &[String]) -> Result<Vec<String>, Fault> {
    let mut canonical = Vec::with_capacity(texts.len());
    let mut problems = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        match sip_validate::e164(text) {
            Ok(number) => canonical.push(number.into_owned()),
            Err(v) => problems.push(violation(&format!("numbers.{i}"), text, &v)),
        }
    }
    if problems.is_empty() {
        Ok(canonical)
    } else {
        Err(Fault::Refused(problems))
    }
}
