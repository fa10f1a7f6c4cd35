//! Applications: made, changed, deleted.

use super::Mint;
use super::domains::text_limit;
use crate::application::{
    APPLICATION_NAME_MAX, APPLICATIONS_MAX, Application, CALLBACK_URL_MAX, HttpMethod,
};
use crate::commit::{Commit, Precondition, Write};
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::patch::Field;
use crate::{AccountId, ApplicationId};

/// What an application is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApplication {
    /// Its name.
    pub name: String,
    /// Whom it calls back.
    pub callback_url: Option<String>,
    /// By which method.
    pub callback_method: HttpMethod,
}

/// What is to change of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationPatch {
    /// Its name, which can't be cleared.
    pub name: Field<String>,
    /// Whom it calls back.
    pub callback_url: Field<String>,
    /// By which method; null means POST.
    pub callback_method: Field<HttpMethod>,
}

/// A changed application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedApplication {
    /// The application as it is now.
    pub application: Application,
    /// The names of the fields that changed, as the API has them.
    pub changed: Vec<&'static str>,
}

/// Decides on a new application; `count` is how many the account has.
///
/// # Errors
/// All that is wrong with it.
pub fn create(
    mint: &Mint<'_>,
    account: AccountId,
    new: &NewApplication,
    count: i64,
) -> Result<(Commit, Application), Vec<Problem>> {
    let mut problems: Vec<Problem> = name_problem("name", &new.name).into_iter().collect();
    if let Some(url) = &new.callback_url {
        problems.extend(url_problem("callbackUrl", url));
    }
    if count >= i64::from(APPLICATIONS_MAX) {
        problems.push(
            Problem::new(
                ProblemCode::LimitReached,
                "name",
                format!("An account has at most {APPLICATIONS_MAX} applications."),
            )
            .with_detail(ProblemDetail {
                limit: Some(i64::from(APPLICATIONS_MAX)),
                actual: Some(count),
                ..ProblemDetail::default()
            }),
        );
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let application = Application {
        id: mint.id(ApplicationId::new),
        account,
        name: new.name.clone(),
        callback_url: new.callback_url.clone(),
        callback_method: new.callback_method,
        created_at: mint.now,
        version: 1,
    };
    let commit = Commit {
        preconditions: vec![Precondition::ApplicationsBelow(APPLICATIONS_MAX)],
        writes: vec![Write::ApplicationInsert(application.clone())],
        ..Commit::empty(account, mint.now)
    };
    Ok((commit, application))
}

/// Decides on changing an application. `None` for the commit means that nothing changes.
///
/// # Errors
/// All that is wrong with the patch, below `patch`.
pub fn update(
    mint: &Mint<'_>,
    old: &Application,
    patch: &ApplicationPatch,
) -> Result<(Option<Commit>, UpdatedApplication), Vec<Problem>> {
    let mut problems = Vec::new();
    match &patch.name {
        Field::Absent => {}
        Field::Null => problems.push(Problem::validation(
            "patch.name",
            "An application has a name.",
        )),
        Field::Value(name) => problems.extend(name_problem("patch.name", name)),
    }
    if let Field::Value(url) = &patch.callback_url {
        problems.extend(url_problem("patch.callbackUrl", url));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut application = Application {
        name: patch.name.value().unwrap_or(&old.name).clone(),
        callback_url: patch.callback_url.over(&old.callback_url),
        callback_method: patch
            .callback_method
            .over_default(&old.callback_method, HttpMethod::default()),
        ..old.clone()
    };
    let changed: Vec<&'static str> = [
        (
            "callbackMethod",
            application.callback_method != old.callback_method,
        ),
        ("callbackUrl", application.callback_url != old.callback_url),
        ("name", application.name != old.name),
    ]
    .into_iter()
    .filter_map(|(name, is_changed)| is_changed.then_some(name))
    .collect();
    if changed.is_empty() {
        let unchanged = UpdatedApplication {
            application,
            changed,
        };
        return Ok((None, unchanged));
    }
    application.version += 1;
    let commit = Commit {
        preconditions: vec![Precondition::ApplicationAt(old.id, old.version)],
        writes: vec![Write::ApplicationUpdate(application.clone())],
        ..Commit::empty(old.account, mint.now)
    };
    let updated = UpdatedApplication {
        application,
        changed,
    };
    Ok((Some(commit), updated))
}

/// Decides on deleting an application; `is_used` says whether an endpoint refers to it.
///
/// # Errors
/// `Conflict` while one does: without its application an endpoint's calls would be rejected.
pub fn delete(
    mint: &Mint<'_>,
    application: &Application,
    is_used: bool,
) -> Result<Commit, Problem> {
    if is_used {
        return Err(Problem::new(
            ProblemCode::Conflict,
            "id",
            "Endpoints refer to this application; give them another one, or none, first.",
        ));
    }
    Ok(Commit {
        preconditions: vec![
            Precondition::ApplicationAt(application.id, application.version),
            Precondition::ApplicationUnused(application.id),
        ],
        writes: vec![Write::ApplicationDelete(application.id)],
        ..Commit::empty(application.account, mint.now)
    })
}

fn name_problem(field: &str, name: &str) -> Option<Problem> {
    if name.trim().is_empty() || name.contains(char::is_control) {
        return Some(Problem::validation(
            field,
            "A name has at least one character that shows, and no control characters.",
        ));
    }
    text_limit(field, name, APPLICATION_NAME_MAX)
}

fn url_problem(field: &str, url: &str) -> Option<Problem> {
    text_limit(field, url, CALLBACK_URL_MAX).or_else(|| super::http_url(field, url).err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::decide::testing::Seeded;

    fn new(name: &str, url: Option<&str>) -> NewApplication {
        NewApplication {
            name: name.into(),
            callback_url: url.map(str::to_owned),
            callback_method: HttpMethod::Post,
        }
    }

    #[test]
    fn what_is_wrong_comes_together() {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1), &entropy);
        let account = AccountId([1; 16]);
        let wrong = new(" ", Some("ftp://x"));
        let problems = create(&mint, account, &wrong, 1000).unwrap_err();
        let fields: Vec<String> = problems.iter().map(|p| p.field.join(".")).collect();
        assert_eq!(fields, ["name", "callbackUrl", "name"]);
        assert_eq!(problems[2].code, ProblemCode::LimitReached);
        for url in [
            "",
            "http://",
            "example.com",
            "https:///x",
            "http://a b/",
            "mailto:x@y",
        ] {
            assert!(
                create(&mint, account, &new("x", Some(url)), 0).is_err(),
                "{url}"
            );
        }
        let url = Some("https://example.com:8443/hook?x=1");
        let (commit, made) = create(&mint, account, &new("x", url), 0).unwrap();
        assert_eq!((commit.writes.len(), made.version), (1, 1));
    }

    #[test]
    fn a_change_of_nothing_is_no_commit() {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1), &entropy);
        let (_, old) = create(&mint, AccountId([1; 16]), &new("x", None), 0).unwrap();
        let same = ApplicationPatch {
            name: "x".to_owned().into(),
            callback_url: Field::Null,
            callback_method: Field::Null,
        };
        let (commit, updated) = update(&mint, &old, &same).unwrap();
        assert!(commit.is_none());
        assert_eq!(
            (updated.application, updated.changed.len()),
            (old.clone(), 0)
        );
        let patch = ApplicationPatch {
            name: Field::Null,
            ..ApplicationPatch::default()
        };
        assert_eq!(update(&mint, &old, &patch).unwrap_err().len(), 1);
        let patch = ApplicationPatch {
            callback_method: HttpMethod::Get.into(),
            ..ApplicationPatch::default()
        };
        let (commit, updated) = update(&mint, &old, &patch).unwrap();
        assert!(commit.is_some());
        assert_eq!(
            (updated.application.version, updated.changed),
            (2, vec!["callbackMethod"])
        );
    }
}
