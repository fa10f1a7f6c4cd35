//! `sipgraph check`.

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring;
use sipgraph_core::keyring::KeyId;
use sipgraph_core::rotation::{PreviousKey, behind};
use sipgraph_storage::Inspection;

/// Checks what `serve` would meet. The configuration is checked when this runs; certificates, the database and the
/// key file are looked at here, and nothing is changed.
///
/// # Errors
/// What would refuse the start.
pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    for certificate in [config.http_certificate(), config.sip_certificate()] {
        certificate.map(|files| files.load()).transpose()?;
    }
    let address = wiring::address(&config.database.url)?;
    let found = wiring::inspect(&address).await?;
    let key = wiring::known_key(config, &found)?;
    if let Some(&setting) = found.not_durable.first()
        && !config.database.allow_data_loss
    {
        return Err(wiring::refusal(sipgraph_storage::StartError::NotDurable {
            setting,
        }));
    }
    let schema = match (&found.keys, found.pending.as_slice()) {
        (None, _) => "empty; the first start prepares it".to_owned(),
        (Some(_), []) => "has this version's schema".to_owned(),
        (Some(_), pending) => format!("the next start runs {}", pending.join(", ")),
    };
    let file = config.key_file();
    let key = match key {
        Some(key) => format!("{} {}", file.display(), told(&key.ids(), &found)),
        None => format!("{} is made by the first start", file.display()),
    };
    let mut lines = format!(
        "configuration: valid\ndatabase: {}: {schema}\nkey file: {key}",
        config.database.url
    );
    if !found.search_statements.is_empty() {
        lines.push_str(
            "\nsearch: the role of sipgraph may not create the extension pg_trgm, so that a part of a name is looked for in the \
             newest endpoints alone. Have an administrator of the database run, then restart sipgraph:\n  ",
        );
        lines.push_str(&found.search_statements.join("\n  "));
    }
    super::print(&lines)
}

/// Says which keys the file holds, what each is for, and what is to be done.
fn told(file: &[KeyId], found: &Inspection) -> String {
    let holds = format!("holds {}", crate::keyfile::named(file));
    let Some(keys) = &found.keys else {
        return holds;
    };
    let current = keys.current;
    let next = match keys.previous {
        Some(PreviousKey {
            id,
            replaced_at: None,
        }) => format!(
            "{} secrets are still sealed with {id}, which {current} replaces; if `sipgraph secret rotate` does not run at this moment, \
             run it again",
            found.sealed_before
        ),
        Some(PreviousKey { id, .. }) => format!(
            "nothing is sealed with {id} any more, which {current} has replaced; `sipgraph secret forget-old` removes it"
        ),
        None => match (behind(file, current), file) {
            ([old, ..], _) => {
                format!("nothing needs {old}; `sipgraph secret forget-old` removes it")
            }
            ([], [new, _, ..]) => {
                format!("{current} is in use; `sipgraph secret rotate` puts {new} in its place")
            }
            _ => return holds,
        },
    };
    format!("{holds}; {next}")
}
