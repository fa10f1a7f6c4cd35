//! The rules as pure functions: what was read and what is asked, to a commit or a refusal. They await nothing and take
//! time and randomness as values, so that a run can be repeated.

pub mod accounts;
pub mod applications;
pub mod chats;
pub mod delivery;
pub mod domains;
pub mod endpoint_tokens;
pub mod endpoints;
pub mod messages;
pub mod mint;
pub mod presence;
pub mod routing;
pub mod sip_profiles;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod trunks;
pub mod variables;

pub use mint::Mint;

use crate::error::Problem;

/// Keeps what a device says fit for storage and display: no control characters, at most 256 characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

/// Checks that a text is an absolute URL of HTTP that names a host.
fn http_url(field: &str, text: &str) -> Result<(), Problem> {
    let host = |text: &str| -> Option<String> {
        let (scheme, rest) = text.split_once("://")?;
        if !["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return None;
        }
        let authority = rest.split(['/', '?', '#']).next()?;
        let place = authority
            .rsplit_once('@')
            .map_or(authority, |(_, place)| place);
        Some(match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                sip_validate::port(port).ok()?;
                host.to_owned()
            }
            _ => place.to_owned(),
        })
    };
    let is_good = !text.contains(|c: char| c.is_control() || c.is_whitespace())
        && host(text).is_some_and(|host| sip_validate::Host::parse(&host).is_ok());
    if is_good {
        return Ok(());
    }
    Err(Problem::validation(
        field,
        "Give an absolute URL that starts with http:// or https:// and names a host.",
    ))
}
