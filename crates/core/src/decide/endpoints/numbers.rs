//! The numbers of endpoints: which may stand on one, and what moves when they change; and what the operator alone sets.
//!
//! A number is assigned to an account by the operator, and is on one endpoint at most.

use crate::address::violation;
use crate::commit::{Commit, CredentialsChange, Precondition, Write};
use crate::decide::Mint;
use crate::endpoint::{Endpoint, EndpointField, NUMBERS_MAX};
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::event::{EventBody, Subjects};
use crate::patch::Field;
use crate::{AccountId, EndpointId};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers that an account has, each with the endpoint that has it.
pub type Numbers = BTreeMap<String, Option<EndpointId>>;

const FIELD: &str = "numbers";

/// Reads the numbers given for an endpoint; null means none.
pub(super) fn numbers(
    given: &Field<Vec<String>>,
    before: &[String],
) -> Result<Vec<String>, Vec<Problem>> {
    let texts = match given {
        Field::Absent => return Ok(before.to_vec()),
        Field::Null => return Ok(Vec::new()),
        Field::Value(texts) => texts,
    };
    if texts.len() > NUMBERS_MAX {
        let message = format!("An endpoint has at most {NUMBERS_MAX} numbers.");
        let problem = Problem::validation(FIELD, message).with_detail(ProblemDetail {
            limit: i64::try_from(NUMBERS_MAX).ok(),
            actual: i64::try_from(texts.len()).ok(),
            ..ProblemDetail::default()
        });
        return Err(vec![problem]);
    }
    let mut problems = Vec::new();
    let mut numbers: Vec<String> = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let field = format!("{FIELD}.{i}");
        match sip_validate::e164(text) {
            Ok(number) if numbers.iter().any(|earlier| *earlier == number) => {
                problems.push(Problem::validation(&field, "This number is given twice."));
            }
            Ok(number) => numbers.push(number.into_owned()),
            Err(v) => problems.push(violation(&field, text, &v)),
        }
    }
    if problems.is_empty() {
        Ok(numbers)
    } else {
        Err(problems)
    }
}

/// Returns the problems of numbers that an endpoint can't have: those that the account does not have, whoever has them,
/// and those of other endpoints.
pub(super) fn taken(
    endpoint: EndpointId,
    numbers: &[String],
    known: &Numbers,
    batch: &BTreeSet<String>,
) -> Vec<Problem> {
    let conflict = |i: usize, message: String| {
        Problem::new(ProblemCode::Conflict, &format!("{FIELD}.{i}"), message)
    };
    let problem = |(i, number): (usize, &String)| match known.get(number) {
        None => Some(conflict(
            i,
            format!("The number {number} is not assigned to your account."),
        )),
        Some(None) if !batch.contains(number) => None,
        Some(Some(has)) if *has == endpoint => None,
        Some(_) => Some(conflict(
            i,
            format!("Another endpoint has the number {number}."),
        )),
    };
    numbers.iter().enumerate().filter_map(problem).collect()
}

/// Adds to a commit what becomes of the numbers of an endpoint.
pub(super) fn put(commit: &mut Commit, endpoint: EndpointId, before: &[String], after: &[String]) {
    for number in before.iter().filter(|number| !after.contains(number)) {
        commit.writes.push(Write::NumberSet {
            number: number.clone(),
            endpoint: None,
        });
    }
    for number in after.iter().filter(|number| !before.contains(number)) {
        commit
            .preconditions
            .push(Precondition::NumberFor(number.clone(), endpoint));
        commit.writes.push(Write::NumberSet {
            number: number.clone(),
            endpoint: Some(endpoint),
        });
    }
}

/// Decides on taking a number from an account: off the endpoint that has it, too.
#[must_use]
pub fn release(
    mint: &Mint<'_>,
    account: AccountId,
    number: &str,
    endpoint: Option<&Endpoint>,
) -> Commit {
    let mut commit = Commit::empty(account, mint.now);
    // Nobody has the id of nothing: without an endpoint the number must be free.
    let holder = endpoint.map_or(EndpointId([0; 16]), |endpoint| endpoint.id);
    let held = Precondition::NumberFor(number.to_owned(), holder);
    commit.preconditions.push(held);
    if let Some(endpoint) = endpoint {
        let version = Precondition::EndpointAt(endpoint.id, endpoint.version);
        commit.preconditions.push(version);
        let mut after = endpoint.clone();
        after.numbers.retain(|kept| kept != number);
        change(mint, &mut commit, after, EndpointField::Numbers.as_str());
    }
    commit.writes.push(Write::NumberRelease(number.to_owned()));
    commit
}

/// Decides on the operator's limit of messages a second; nothing is written when it is as it was.
#[must_use]
pub fn limit_set(mint: &Mint<'_>, endpoint: &Endpoint, limit: Option<i32>) -> (Commit, Endpoint) {
    let mut commit = Commit {
        preconditions: vec![Precondition::EndpointAt(endpoint.id, endpoint.version)],
        ..Commit::empty(endpoint.account, mint.now)
    };
    let mut after = endpoint.clone();
    after.cps_limit = limit;
    if endpoint.cps_limit != limit {
        after = change(mint, &mut commit, after, "cpsLimit");
    }
    (commit, after)
}

/// Adds the operator's change of a field of an endpoint to a commit.
fn change(mint: &Mint<'_>, commit: &mut Commit, mut after: Endpoint, field: &str) -> Endpoint {
    after.version += 1;
    after.updated_at = mint.now;
    commit.events.push(mint.event(
        Subjects::of(&after),
        EventBody::EndpointUpdated {
            changed_fields: vec![field.to_owned()],
        },
    ));
    commit.writes.push(Write::EndpointUpdate {
        endpoint: Box::new(after.clone()),
        credentials: CredentialsChange::Keep,
        secrets: Vec::new(),
    });
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(texts: &[&str]) -> Field<Vec<String>> {
        Field::Value(texts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn numbers_are_kept_in_one_form_and_once() {
        let read = numbers(&given(&["+1 (212) 555-0100", "+442079460000"]), &[]);
        assert_eq!(read.unwrap(), ["+12125550100", "+442079460000"]);
        let wrong = numbers(&given(&["+12", "+1-2", "12"]), &[]).unwrap_err();
        let fields: Vec<String> = wrong.iter().map(|p| p.field.join(".")).collect();
        assert_eq!(fields, ["numbers.1", "numbers.2"]);
        let before = ["+12".to_owned()];
        assert_eq!(numbers(&Field::Absent, &before).unwrap(), before);
        assert!(numbers(&Field::Null, &before).unwrap().is_empty());
    }

    #[test]
    fn h153_a_number_is_the_accounts_and_on_one_endpoint() {
        let (own, other) = (EndpointId([1; 16]), EndpointId([2; 16]));
        let known = Numbers::from([
            ("+11".to_owned(), None),
            ("+12".to_owned(), Some(own)),
            ("+13".to_owned(), Some(other)),
            ("+15".to_owned(), None),
        ]);
        let numbers: Vec<String> = ["+11", "+12", "+13", "+14", "+15"].map(String::from).into();
        let batch = BTreeSet::from(["+15".to_owned()]);
        let problems = taken(own, &numbers, &known, &batch);
        let fields: Vec<String> = problems.iter().map(|p| p.field.join(".")).collect();
        assert_eq!(fields, ["numbers.2", "numbers.3", "numbers.4"]);
        assert!(problems.iter().all(|p| p.code == ProblemCode::Conflict));
    }
}
