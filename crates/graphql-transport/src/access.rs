//! Who may call from a browser, and by which host name: layers around a whole router.
//!
//! No cookie is ever used, so that cross-origin requests carry no rights of the user; the rules
//! here keep a foreign page from using a token that it does not have, and from reaching a listener
//! on the loopback address through a name of its own (DNS rebinding).

use std::{fmt, net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};

use crate::{code, http::error_response};

/// Methods and headers that a page of an allowed origin may use.
const PREFLIGHT: [(HeaderName, HeaderValue); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST"),
    ),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, authorization, content-type"),
    ),
    // Seconds. Two hours are the most that browsers keep it.
    (
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("7200"),
    ),
];

/// Origins that browsers may call from. The default allows none but a server's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// `scheme://host`, lower case.
    site: String,
    port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    /// `:*`
    Any,
    /// `:8080`, or the scheme's own without one.
    Is(Option<String>),
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOrigin(String);

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no origin: write scheme://host, scheme://host:port or scheme://host:*",
            self.0
        )
    }
}

impl std::error::Error for InvalidOrigin {}

impl Origins {
    /// Returns the list of `texts`, each an origin (RFC 6454 6.2) whose port may be `*`.
    ///
    /// # Errors
    /// The first text that is no origin.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidOrigin> {
        texts
            .into_iter()
            .map(|text| pattern(text).ok_or_else(|| InvalidOrigin(text.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns whether a page of `origin`, as the browser wrote it, may call.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        pattern(origin).is_some_and(|origin| {
            self.0.iter().any(|allowed| {
                allowed.site == origin.site
                    && (allowed.port == Port::Any || allowed.port == origin.port)
            })
        })
    }

    /// Returns whether a request with these headers may open a WebSocket: it comes from no browser, from a page of
    /// this server, or from an allowed origin.
    #[must_use]
    pub fn may_open(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let own = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .zip(origin.split_once("://"))
            .is_some_and(|(host, (_, authority))| host.eq_ignore_ascii_case(authority));
        own || self.allows(origin)
    }
}

fn pattern(text: &str) -> Option<Pattern> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let (host, port) = split_port(authority)?;
    let scheme_ok = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let host_ok = !host.is_empty()
        && host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        });
    let port = match (port, scheme) {
        (Some("*"), _) => Port::Any,
        (Some("80"), "http") | (Some("443"), "https") | (None, _) => Port::Is(None),
        (Some(port), _) if port.parse::<u16>().is_ok() => Port::Is(Some(port.to_owned())),
        (Some(_), _) => return None,
    };
    (scheme_ok && host_ok).then(|| Pattern {
        site: format!("{scheme}://{host}"),
        port,
    })
}

/// Splits `host:port`; the host of `[::1]:80` keeps its brackets.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (head, tail) = authority.split_at_checked(bracket)?;
    match tail.split_once(':') {
        Some((host, port)) if head.is_empty() => Some((host, Some(port))),
        Some(("", port)) => Some((head, Some(port))),
        Some(_) => None,
        None if head.is_empty() => Some((tail, None)),
        None => tail.is_empty().then_some((head, None)),
    }
}

/// Answers preflight requests and lets pages of allowed origins read answers (Fetch standard 3.2).
///
/// Credentials mode is never allowed. A page of another origin gets 403 to its preflight, and no
/// headers otherwise, so that its browser keeps the answer from it.
pub fn cors<S: Clone + Send + Sync + 'static>(router: Router<S>, origins: Origins) -> Router<S> {
    router.layer(from_fn_with_state(Arc::new(origins), cors_layer))
}

async fn cors_layer(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| origin.to_str().is_ok_and(|text| origins.allows(text)));
    let preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (preflight, &allowed) {
        (true, Some(_)) => (StatusCode::NO_CONTENT, PREFLIGHT).into_response(),
        (true, None) => error_response(
            StatusCode::FORBIDDEN,
            code::ORIGIN_NOT_ALLOWED,
            "This origin may not call; the operator can allow it",
        ),
        (false, _) => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// Host names that a loopback listener answers besides the loopback ones: that of a reverse proxy
/// on the same machine, for example.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Returns the list of `names`, without ports.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(
            names
                .into_iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
        )
    }

    /// Returns whether `host`, the value of a `Host` header, is a loopback name or one of the list.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let Some((name, port)) = split_port(host) else {
            return false;
        };
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return false;
        }
        let name = name.to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || name == "[::1]"
            || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
            || self.0.contains(&name)
    }
}

/// Makes a router for a loopback listener: it answers loopback host names and `others` alone, with
/// 421 to all else, so that a foreign name that resolves to 127.0.0.1 reaches nothing.
pub fn loopback_hosts_only<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    others: Hosts,
) -> Router<S> {
    router.layer(from_fn_with_state(Arc::new(others), host_layer))
}

async fn host_layer(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| hosts.allows(host)) {
        next.run(request).await
    } else {
        error_response(
            StatusCode::MISDIRECTED_REQUEST,
            code::MISDIRECTED_REQUEST,
            "This listener answers loopback host names only",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let origins = Origins::parse([
            "http://localhost:*",
            "https://app.example",
            "http://[::1]:8080",
        ])
        .unwrap();
        let table = [
            ("http://localhost:3000", true),
            ("http://localhost", true),
            ("HTTP://LOCALHOST:1", true),
            ("https://localhost:3000", false),
            ("http://localhost.evil.example:3000", false),
            ("https://app.example", true),
            ("https://app.example:443", true),
            ("https://app.example:444", false),
            ("https://app.example.evil", false),
            ("http://[::1]:8080", true),
            ("http://[::1]", false),
            ("null", false),
            ("", false),
        ];
        for (origin, expected) in table {
            assert_eq!(origins.allows(origin), expected, "{origin}");
        }
        assert!(!Origins::default().allows("http://localhost"));
        for text in [
            "*",
            "example.com",
            "http://",
            "http://a:b",
            "http://a/b",
            "://a",
        ] {
            assert_eq!(Origins::parse([text]), Err(InvalidOrigin(text.into())));
        }
    }

    #[test]
    fn loopback_names_are_allowed() {
        let hosts = Hosts::new(["Sip.Example".to_owned()]);
        let table = [
            ("localhost", true),
            ("LOCALHOST:4000", true),
            ("app.localhost:1", true),
            ("127.0.0.1:4000", true),
            ("127.8.9.1", true),
            ("[::1]:4000", true),
            ("sip.example:443", true),
            ("evil.example:4000", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost:x", false),
            ("10.0.0.1", false),
            ("", false),
        ];
        for (host, expected) in table {
            assert_eq!(hosts.allows(host), expected, "{host}");
        }
    }
}
