//! `sipgraph check`.

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring;

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
    let schema = match (&found.key_id, found.pending.as_slice()) {
        (None, _) => "empty; the first start prepares it".to_owned(),
        (Some(_), []) => "has this version's schema".to_owned(),
        (Some(_), pending) => format!("the next start runs {}", pending.join(", ")),
    };
    let file = config.key_file();
    let key = match key {
        Some(key) => format!("{} holds the key {}", file.display(), key.id_text()),
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
