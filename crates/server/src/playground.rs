//! What the demo has in its folder: an account, a domain, alice, bob and an echo, and the file of their passwords.
//!
//! The domain's name is `127.0.0.1`. A softphone asks for user, password and domain, and sends to the host of that
//! domain: with an address as name nothing else has to be typed. A name such as `demo.example` would need a proxy
//! setting or an entry in the hosts file. On the local network the machine's address there is an alias of the domain.

use crate::failure::Failure;
use crate::files;
use serde::{Deserialize, Serialize};
use sipgraph_core::access::{Caller, Scope};
use sipgraph_core::account::Account;
use sipgraph_core::app::App;
use sipgraph_core::decide::domains::NewDomain;
use sipgraph_core::decide::endpoints::{EndpointSettings, NewCredentials, NewEndpoint};
use sipgraph_core::decide::tokens::NewToken;
use sipgraph_core::domain::{ALIASES_MAX, Domain};
use sipgraph_core::endpoint::{EndpointType, Simulation};
use sipgraph_core::keyring::Secret;
use sipgraph_core::ports::store::EndpointKey;
use sipgraph_core::{DomainId, ErrorKind};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;

const ACCOUNT: &str = "demo";
/// The name of the demo's domain; see the module's text.
pub(crate) const DOMAIN: &str = "127.0.0.1";

/// What is in the folder.
pub(crate) struct Playground {
    /// A token that may do everything in the account.
    pub(crate) token: String,
    /// The password of alice.
    pub(crate) alice: String,
    /// The password of bob.
    pub(crate) bob: String,
}

/// The file that lets a later run print the same again. It is the demo's alone: elsewhere no password is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secrets {
    alice: String,
    bob: String,
    token: Option<String>,
}

/// Makes what is missing and keeps what is there.
///
/// # Errors
/// A folder whose passwords are lost; those of the database.
pub(crate) async fn prepare(
    app: &App,
    folder: &Path,
    lan: Option<IpAddr>,
) -> Result<Playground, Failure> {
    let file = folder.join("demo.json");
    let (account, mut secrets) = account(app, &file).await?;
    let caller = match caller(app, secrets.token.as_deref()).await? {
        Some(caller) if caller.account == account.id => caller,
        _ => {
            let token = token(app, &account).await?;
            let text = token.expose().to_owned();
            secrets.token = Some(text.clone());
            secrets.write(&file)?;
            app.token_check(&text).await?
        }
    };
    let domain = domain(app, &caller, folder, lan).await?;
    let person = |name: &str, label: &str, password: &str| NewEndpoint {
        domain: domain.id,
        name: name.to_owned(),
        kind: EndpointType::SipUser,
        settings: EndpointSettings {
            credentials: NewCredentials::password(password).into(),
            display_name: label.to_owned().into(),
            ..EndpointSettings::default()
        },
    };
    endpoint(app, &caller, person("alice", "Alice", &secrets.alice)).await?;
    endpoint(app, &caller, person("bob", "Bob", &secrets.bob)).await?;
    endpoint(app, &caller, echo(domain.id)).await?;
    let Secrets { alice, bob, token } = secrets;
    Ok(Playground {
        token: token.unwrap_or_default(),
        alice,
        bob,
    })
}

async fn account(app: &App, file: &Path) -> Result<(Account, Secrets), Failure> {
    let kept = Secrets::read(file)?;
    match (app.account_by_name(ACCOUNT).await, kept) {
        (Ok(account), Some(secrets)) => Ok((account, secrets)),
        (Ok(_), None) => Err(Failure::Failed(format!(
            "The demo's passwords are lost: {} is gone. Remove its folder to begin anew.",
            file.display()
        ))),
        (Err(error), kept) if error.kind == ErrorKind::NotFound => {
            // The passwords are on disk before anything has them, so that no crash between can lose them.
            let secrets = match kept {
                Some(secrets) => secrets,
                None => Secrets::new(file)?,
            };
            Ok((app.account_create(ACCOUNT).await?, secrets))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Returns the holder of a token; none when there is none or it ended.
async fn caller(app: &App, token: Option<&str>) -> Result<Option<Caller>, Failure> {
    let Some(token) = token else { return Ok(None) };
    match app.token_check(token).await {
        Ok(caller) => Ok(Some(caller)),
        Err(error) if error.kind == ErrorKind::Unauthenticated => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn token(app: &App, account: &Account) -> Result<Secret, Failure> {
    let new = NewToken {
        name: "demo".to_owned(),
        scopes: Scope::ALL
            .iter()
            .filter(|scope| scope.manage() == **scope)
            .map(|scope| scope.as_str().to_owned())
            .collect(),
        endpoints: None,
        expires_in_s: None,
    };
    app.token_issue(account.id, &new)
        .await?
        .secret
        .ok_or_else(|| Failure::Failed("The token's secret was not given.".to_owned()))
}

async fn domain(
    app: &App,
    caller: &Caller,
    folder: &Path,
    lan: Option<IpAddr>,
) -> Result<Domain, Failure> {
    let lan = lan.map(host);
    let domain = match app.domain_by_name(caller, DOMAIN).await {
        Ok(domain) => domain,
        Err(error) if error.kind == ErrorKind::NotFound => {
            let new = NewDomain {
                name: DOMAIN.to_owned(),
                aliases: std::iter::once("localhost".to_owned())
                    .chain(lan.clone())
                    .collect(),
                description: Some("The domain of the demo.".to_owned()),
                digest_algorithms: None,
                record_internal_messages: true,
            };
            app.domain_create(caller, &new, false, None).await?.value
        }
        Err(error) => return Err(error.into()),
    };
    match lan {
        Some(alias) if !domain.aliases.contains(&alias) && domain.aliases.len() >= ALIASES_MAX => {
            Err(Failure::key(
                "--lan",
                format_args!(
                    "the demo was at {} addresses before {alias}, and its domain takes no more aliases; remove {} to \
                     begin anew",
                    // The other one is localhost.
                    ALIASES_MAX - 1,
                    folder.display()
                ),
            ))
        }
        Some(alias) if !domain.aliases.contains(&alias) => {
            Ok(app.domain_alias_add(caller, domain.id, &alias).await?)
        }
        _ => Ok(domain),
    }
}

/// Writes an address as the host of a SIP URI.
pub(crate) fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn echo(domain: DomainId) -> NewEndpoint {
    NewEndpoint {
        domain,
        name: "echo".to_owned(),
        kind: EndpointType::SipUser,
        settings: EndpointSettings {
            display_name: "Echo".to_owned().into(),
            description: "Answers each message with its own text.".to_owned().into(),
            simulation: Simulation::Echo.into(),
            ..EndpointSettings::default()
        },
    }
}

async fn endpoint(app: &App, caller: &Caller, new: NewEndpoint) -> Result<(), Failure> {
    let key = EndpointKey::Name {
        domain: Some(DOMAIN.to_owned()),
        canonical: new.name.clone(),
    };
    match app.endpoint(caller, key).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::NotFound => {
            app.endpoint_create(caller, &new, false, None).await?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

impl Secrets {
    /// Makes passwords and writes them down.
    fn new(file: &Path) -> Result<Self, Failure> {
        let secrets = Self {
            alice: password()?,
            bob: password()?,
            token: None,
        };
        secrets.write(file)?;
        Ok(secrets)
    }

    fn read(file: &Path) -> Result<Option<Self>, Failure> {
        match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| unreadable(file, error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(file, error)),
        }
    }

    /// Replaces the file in one step, readable by its owner alone.
    fn write(&self, file: &Path) -> Result<(), Failure> {
        let new = crate::config::beside(file, ".new");
        let written = || {
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            files::remove(&new)?;
            let mut out = files::create(&new)?;
            out.write_all(&text)?;
            out.sync_all()?;
            std::fs::rename(&new, file)?;
            files::sync_folder(file)
        };
        written().map_err(|error: std::io::Error| {
            Failure::failed(format_args!("{} can't be written", file.display()), error)
        })
    }
}

fn unreadable(file: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::failed(format_args!("{} can't be read", file.display()), error)
}

/// Makes a password that can be typed on a phone: four groups of five out of 32 characters without similar ones, which
/// is 100 random bits.
fn password() -> Result<String, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0_u8; 20];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::failed("The system gives no random bytes", error))?;
    let letters: Vec<char> = random
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect();
    let groups: Vec<String> = letters
        .chunks(5)
        .map(|group| group.iter().collect())
        .collect();
    Ok(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn passwords_are_kept_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("demo.json");
        assert!(Secrets::read(&file).unwrap().is_none());
        let made = Secrets::new(&file).unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Secrets::read(&file).unwrap().unwrap();
        assert_eq!((&read.alice, &read.bob), (&made.alice, &made.bob));
        assert_ne!(made.alice, made.bob);
        assert_eq!(made.alice.len(), 23);
    }
}
