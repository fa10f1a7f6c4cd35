//! SIP messages as text, and digests, written and read as a stranger would: nothing here is shared with the product.

use md5::Md5;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A SIP message: a first line, headers and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sip {
    /// The request or status line.
    pub(crate) first: String,
    /// The headers in order, names as sent.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Sip {
    /// Begins a request. `Content-Length` is added when it is written.
    pub(crate) fn request(method: &str, uri: &str) -> Self {
        Self {
            first: format!("{method} {uri} SIP/2.0"),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// Answers a request as RFC 3261 section 8.2.6.2 says.
    pub(crate) fn answer(&self, status: u16, reason: &str, to_tag: &str) -> Self {
        let mut answer = Self {
            first: format!("SIP/2.0 {status} {reason}"),
            headers: Vec::new(),
            body: String::new(),
        };
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            match lower.as_str() {
                "via" | "v" | "from" | "f" | "call-id" | "i" | "cseq" => {
                    answer.headers.push((name.clone(), value.clone()));
                }
                "to" | "t" if !value.contains(";tag=") => {
                    answer
                        .headers
                        .push((name.clone(), format!("{value};tag={to_tag}")));
                }
                "to" | "t" => answer.headers.push((name.clone(), value.clone())),
                _ => {}
            }
        }
        answer
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Replaces a header, or removes it.
    pub(crate) fn set(mut self, name: &str, value: Option<&str>) -> Self {
        let place = self
            .headers
            .iter()
            .position(|(n, _)| n.eq_ignore_ascii_case(name));
        match (place, value) {
            (Some(i), Some(value)) => value.clone_into(&mut self.headers[i].1),
            (Some(i), None) => drop(self.headers.remove(i)),
            (None, Some(value)) => self.headers.push((name.to_owned(), value.to_owned())),
            (None, None) => {}
        }
        self
    }

    /// Writes it. Without a `Content-Length` of its own it gets the right one.
    pub(crate) fn write(&self) -> String {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if self.get("Content-Length").is_none() {
            let _ = write!(text, "Content-Length: {}\r\n", self.body.len());
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text
    }

    /// Reads a whole message.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no end of the head in {text:?}"));
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line
                    .split_once(':')
                    .unwrap_or_else(|| panic!("no header: {line:?}"));
                (name.trim().to_owned(), value.trim().to_owned())
            })
            .collect();
        Self {
            first,
            headers,
            body: body.to_owned(),
        }
    }

    /// A header's value, by its name or its compact form as given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// A header that must be there.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The method of a request; nothing for an answer.
    pub(crate) fn method(&self) -> Option<&str> {
        let word = self.first.split(' ').next().unwrap_or_default();
        (word != "SIP/2.0").then_some(word)
    }

    /// The status of an answer; 0 for a request.
    pub(crate) fn status(&self) -> u16 {
        match self.first.strip_prefix("SIP/2.0 ") {
            Some(rest) => rest.get(..3).and_then(|s| s.parse().ok()).unwrap_or(0),
            None => 0,
        }
    }

    /// The branch of the topmost Via.
    pub(crate) fn branch(&self) -> String {
        let via = self.get("Via").or_else(|| self.get("v")).unwrap_or("");
        via.split(";branch=")
            .nth(1)
            .unwrap_or("")
            .split([';', ','])
            .next()
            .unwrap_or("")
            .to_owned()
    }
}

/// Returns a text that no other call returns, in this process or another.
pub(crate) fn unique() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    format!("{now:x}{:x}{number:x}", std::process::id())
}

/// The algorithms of RFC 8760 that the product knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// MD5.
    Md5,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// The token in a challenge.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn hash(self, bytes: &[u8]) -> String {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(String::new(), |hex, b| format!("{hex}{b:02x}"))
        };
        match self {
            Algorithm::Md5 => hex(&Md5::digest(bytes)),
            Algorithm::Sha256 => hex(&Sha256::digest(bytes)),
        }
    }
}

/// A challenge of RFC 7616, one header's worth.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    /// The realm.
    pub(crate) realm: String,
    /// The nonce.
    pub(crate) nonce: String,
    /// The algorithm.
    pub(crate) algorithm: Algorithm,
    /// Whether only the nonce was too old.
    pub(crate) stale: bool,
}

impl Challenge {
    /// Reads the first challenge of an answer with an algorithm.
    pub(crate) fn of(answer: &Sip, algorithm: Algorithm) -> Option<Self> {
        answer
            .headers
            .iter()
            .filter(|(name, _)| {
                name.eq_ignore_ascii_case("WWW-Authenticate")
                    || name.eq_ignore_ascii_case("Proxy-Authenticate")
            })
            .filter_map(|(_, value)| Self::read(value))
            .find(|challenge| challenge.algorithm == algorithm)
    }

    fn read(value: &str) -> Option<Self> {
        let rest = value.strip_prefix("Digest ")?;
        let field = |name: &str| {
            rest.split(',').find_map(|part| {
                let (key, value) = part.split_once('=')?;
                (key.trim().eq_ignore_ascii_case(name))
                    .then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        let algorithm = match field("algorithm").as_deref() {
            None | Some("MD5") => Algorithm::Md5,
            Some("SHA-256") => Algorithm::Sha256,
            Some(_) => return None,
        };
        Some(Self {
            realm: field("realm")?,
            nonce: field("nonce")?,
            algorithm,
            stale: field("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
        })
    }

    /// Computes the answer of RFC 7616 section 3.4.1 with `qop=auth`.
    pub(crate) fn response(
        &self,
        user: &str,
        password: &[u8],
        method: &str,
        uri: &str,
        nc: u32,
    ) -> String {
        let Self {
            realm,
            nonce,
            algorithm,
            stale: _,
        } = self;
        let mut secret = format!("{user}:{realm}:").into_bytes();
        secret.extend_from_slice(password);
        let ha1 = algorithm.hash(&secret);
        let ha2 = algorithm.hash(format!("{method}:{uri}").as_bytes());
        let cnonce = unique();
        let response =
            algorithm.hash(format!("{ha1}:{nonce}:{nc:08x}:{cnonce}:auth:{ha2}").as_bytes());
        let token = algorithm.token();
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={token}, cnonce=\"{cnonce}\", qop=auth, nc={nc:08x}"
        )
    }
}

#[test]
fn digests_are_those_of_the_rfc() {
    // RFC 7616 section 3.9.1: both algorithms, with a fixed cnonce; here only HA1 and HA2 are checked against it.
    assert_eq!(
        Algorithm::Md5.hash(b"Mufasa:http-auth@example.org:Circle of Life"),
        "3d78807defe7de2157e2b0b6573a855f"
    );
    assert_eq!(
        Algorithm::Sha256.hash(b"GET:/dir/index.html"),
        "9a3fdae9a622fe8de177c24fa9c070f2b181ec85e15dcbdc32e10c82ad450b04"
    );
}
