//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760): challenges, and the check of an answer.
//!
//! It must not know who the users are: it gets HA1 values, or none for a user that does not exist, and
//! does the same work for both, however many tokens there are. A nonce carries its own proof, so that any node can check it; what is
//! remembered is only which counts of a nonce were used, to stop replays.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sip_validate::message::Credentials;
use sip_validate::message::write::Quoted;
use sipgraph_core::digest::{DigestAlgorithm, Ha1, PasswordCharset};
use sipgraph_core::endpoint_token::{LIVE_MAX, TokenCredentials};
use sipgraph_core::keyring::{KeyUse, Keyring};
use subtle::ConstantTimeEq as _;

/// How long a nonce may be used, in seconds; an answer to an older one is `stale`.
const NONCE_S_MAX: u64 = 300;
/// How much later than our clock a nonce may be dated: another node made it.
const NONCE_SKEW_S_MAX: u64 = 60;
/// The most nonces whose counts are remembered: 200 logins/s for the life of a nonce.
const NONCES_MAX: usize = 64 * 1024;

const SALT_BYTES: usize = 8;
const MAC_BYTES: usize = 16;
const NONCE_BYTES: usize = 8 + SALT_BYTES + MAC_BYTES;

/// What an answer to a challenge is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is right, by the password or by the token at this place.
    Right(Option<usize>),
    /// It proves the password, but its nonce is too old, not ours, or was used with this count: challenge
    /// again with `stale=true`, so that the device need not ask its user.
    Stale {
        /// Whether the nonce is ours and merely too old, as happens to every device.
        has_expired: bool,
    },
    /// It proves nothing.
    Wrong(Mistake),
}

/// What is wrong with an answer that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The response does not fit the user's passwords, or there is no such user.
    Response,
    /// The algorithm is not offered, or there is no HA1 for it.
    Algorithm,
    /// Its parameters do not go together.
    Parameters,
}

/// Whose nonce an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nonce {
    /// Ours for this realm and source, with its MAC and its time.
    Fresh([u8; MAC_BYTES], u64),
    /// Ours, but too old.
    Expired,
    /// Not ours, or not for this realm and source.
    Foreign,
}

/// Who is asked: the realm of a domain, and how it asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Challenge<'a> {
    /// The domain's name.
    pub(crate) realm: &'a str,
    /// The algorithms of the domain, most preferred first.
    pub(crate) algorithms: &'a [DigestAlgorithm],
    /// The address of the peer on UDP, to which a nonce is bound; `None` on streams, which a third party
    /// cannot write into.
    pub(crate) source: Option<IpAddr>,
    /// Seconds since 1970.
    pub(crate) now_s: u64,
}

/// The request that carries an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Its method.
    pub(crate) method: &'a str,
    /// What it is known by, when it may come again with the same answer: doing it twice does nothing more.
    /// `None` where every use of a count must be the first.
    pub(crate) identity: Option<u64>,
    /// Its body, which `auth-int` covers.
    pub(crate) body: &'a [u8],
}

/// The passwords of a user; both empty for one that does not exist.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Passwords<'a> {
    /// The HA1 values of the user's password.
    pub(crate) ha1: &'a [Ha1],
    /// The user's live tokens, at most [`LIVE_MAX`].
    pub(crate) tokens: &'a [TokenCredentials],
}

/// Makes and checks nonces.
pub(crate) struct Authenticator {
    keyring: Keyring,
    salt: Mutex<[u8; SALT_BYTES]>,
    used: Mutex<Used>,
}

impl Authenticator {
    /// `salt` is random; it makes the nonces of two nodes and of two runs different.
    pub(crate) fn new(keyring: Keyring, salt: [u8; SALT_BYTES]) -> Self {
        Self {
            keyring,
            salt: Mutex::new(salt),
            used: Mutex::default(),
        }
    }

    /// The values of WWW-Authenticate, one for each algorithm, most preferred first (RFC 8760 section 2.2).
    pub(crate) fn challenge(&self, challenge: &Challenge<'_>, stale: bool) -> Vec<String> {
        let nonce = self.nonce(challenge);
        let value = |algorithm: &DigestAlgorithm| {
            let realm = Quoted(challenge.realm);
            let stale = if stale { ", stale=true" } else { "" };
            format!(
                "Digest realm={realm}, nonce=\"{nonce}\", qop=\"auth\", algorithm={}{stale}",
                algorithm.token()
            )
        };
        challenge.algorithms.iter().map(value).collect()
    }

    /// Each nonce is another one: `time || salt || MAC(time, salt, realm, source)`. Without the salt, two
    /// devices that ask in the same second would share one and disturb each other's counts.
    fn nonce(&self, challenge: &Challenge<'_>) -> String {
        let salt = {
            let mut salt = self.salt.lock().unwrap_or_else(PoisonError::into_inner);
            *salt = u64::from_be_bytes(*salt).wrapping_add(1).to_be_bytes();
            *salt
        };
        let time = challenge.now_s.to_be_bytes();
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&time);
        nonce[8..8 + SALT_BYTES].copy_from_slice(&salt);
        let source = source_text(challenge);
        let mac = (self.keyring).mac(KeyUse::Nonce, &covered(challenge, &time, &salt, &source));
        nonce[8 + SALT_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(nonce)
    }

    /// Whether an answer has a nonce that this very source was given: it receives what it is sent.
    pub(crate) fn is_proven(
        &self,
        credentials: &Credentials<'_>,
        challenge: &Challenge<'_>,
    ) -> bool {
        matches!(self.open(&credentials.nonce, challenge), Nonce::Fresh(..))
    }

    /// Checks an answer. The work for a wrong one is the same whether the user exists or not, for one or two
    /// encodings of a password, and for any number of tokens.
    pub(crate) fn check(
        &self,
        credentials: &Credentials<'_>,
        challenge: &Challenge<'_>,
        request: &Request<'_>,
        passwords: &Passwords<'_>,
    ) -> Verdict {
        let count = match (
            credentials.qop.as_deref(),
            &credentials.nc,
            &credentials.cnonce,
        ) {
            // Old phones know no qop (RFC 2069); then each nonce is good for one request.
            (None, ..) => Some(None),
            (Some(qop), Some(nc), Some(_)) if is_known_qop(qop) && nc.len() == 8 => {
                u32::from_str_radix(nc, 16)
                    .ok()
                    .filter(|count| *count > 0)
                    .map(Some)
            }
            _ => None,
        };
        let Some(count) = count.filter(|_| credentials.realm == challenge.realm) else {
            return Verdict::Wrong(Mistake::Parameters);
        };
        let named = credentials.algorithm.as_deref();
        let algorithm = named.map_or(Some(DigestAlgorithm::Md5), DigestAlgorithm::parse);
        let Some(algorithm) = algorithm.filter(|a| challenge.algorithms.contains(a)) else {
            return Verdict::Wrong(Mistake::Algorithm);
        };
        let right = match answered(algorithm, credentials, request, passwords) {
            Ok(right) => right,
            Err(mistake) => return Verdict::Wrong(mistake),
        };
        match self.open(&credentials.nonce, challenge) {
            Nonce::Fresh(nonce, time) => {
                let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
                used.expire(challenge.now_s);
                if used.allows(nonce, time, count, request.identity) {
                    Verdict::Right(right)
                } else {
                    Verdict::Stale { has_expired: false }
                }
            }
            nonce => Verdict::Stale {
                has_expired: nonce == Nonce::Expired,
            },
        }
    }

    /// Tells whose nonce it is.
    fn open(&self, nonce: &str, challenge: &Challenge<'_>) -> Nonce {
        let parts = || {
            let nonce = URL_SAFE_NO_PAD.decode(nonce).ok()?;
            let (time, rest) = nonce.split_first_chunk::<8>()?;
            let (salt, mac) = rest.split_first_chunk::<SALT_BYTES>()?;
            let mac: [u8; MAC_BYTES] = mac.try_into().ok()?;
            Some((*time, *salt, mac))
        };
        let Some((time, salt, mac)) = parts() else {
            return Nonce::Foreign;
        };
        let source = source_text(challenge);
        let parts = covered(challenge, &time, &salt, &source);
        let is_ours = self.keyring.verify(KeyUse::Nonce, &parts, &mac);
        let time = u64::from_be_bytes(time);
        if !is_ours || time > challenge.now_s.saturating_add(NONCE_SKEW_S_MAX) {
            Nonce::Foreign
        } else if time.saturating_add(NONCE_S_MAX) <= challenge.now_s {
            Nonce::Expired
        } else {
            Nonce::Fresh(mac, time)
        }
    }
}

fn source_text(challenge: &Challenge<'_>) -> String {
    let source = challenge.source.map(|source| source.to_string());
    source.unwrap_or_default()
}

/// What the MAC of a nonce covers.
fn covered<'p>(
    challenge: &'p Challenge<'_>,
    time: &'p [u8],
    salt: &'p [u8],
    source: &'p str,
) -> [&'p [u8]; 4] {
    [time, salt, challenge.realm.as_bytes(), source.as_bytes()]
}

fn is_known_qop(qop: &str) -> bool {
    qop.eq_ignore_ascii_case("auth") || is_auth_int(qop)
}

fn is_auth_int(qop: &str) -> bool {
    qop.eq_ignore_ascii_case("auth-int")
}

/// Finds the password that an answer proves: the user's own, or the token at a place.
fn answered(
    algorithm: DigestAlgorithm,
    credentials: &Credentials<'_>,
    request: &Request<'_>,
    passwords: &Passwords<'_>,
) -> Result<Option<usize>, Mistake> {
    // Stands for an HA1 that is not there, so that the work is the same.
    let dummy = "0".repeat(algorithm.hash_chars());
    let given = credentials.response.to_ascii_lowercase();
    let of_algorithm = |ha1: &&Ha1| ha1.algorithm == algorithm;
    let ha2 = ha2(algorithm, credentials, request);
    let fits = |known: Option<&Ha1>| -> bool {
        let value = known.map_or(dummy.as_str(), |ha1| ha1.value.expose());
        let expected = response(algorithm, value, credentials, &ha2);
        let is_known = subtle::Choice::from(u8::from(known.is_some()));
        (expected.as_bytes().ct_eq(given.as_bytes()) & is_known).into()
    };
    let mut charsets = [PasswordCharset::Utf8, PasswordCharset::Latin1].into_iter();
    let is_password = charsets.any(|charset| {
        let of_charset = |ha1: &&Ha1| ha1.charset == charset;
        let mut known = passwords.ha1.iter().filter(of_algorithm);
        fits(known.find(of_charset))
    });
    if is_password {
        return Ok(None);
    }
    let most = usize::try_from(LIVE_MAX).unwrap_or(usize::MAX);
    let mut right = None;
    for place in 0..most {
        let token = passwords.tokens.get(place);
        let known = token.and_then(|token| token.ha1.iter().find(of_algorithm));
        if fits(known) {
            right = Some(place);
        }
    }
    let tokens = passwords.tokens.iter().flat_map(|token| &token.ha1);
    let has_any = passwords.ha1.iter().chain(tokens).any(|h| of_algorithm(&h));
    match right {
        Some(place) => Ok(Some(place)),
        None if has_any => Err(Mistake::Response),
        None => Err(Mistake::Algorithm),
    }
}

/// The hash of what is asked (RFC 7616 section 3.4.3).
fn ha2(algorithm: DigestAlgorithm, credentials: &Credentials<'_>, request: &Request<'_>) -> String {
    let asked = [request.method, &credentials.uri].join(":");
    if credentials.qop.as_deref().is_some_and(is_auth_int) {
        let body = algorithm.hash(request.body);
        algorithm.hash(format!("{asked}:{body}").as_bytes())
    } else {
        algorithm.hash(asked.as_bytes())
    }
}

/// The response to expect for an HA1 (RFC 7616 section 3.4.1; without qop as RFC 2069 had it).
fn response(
    algorithm: DigestAlgorithm,
    ha1: &str,
    credentials: &Credentials<'_>,
    ha2: &str,
) -> String {
    let nonce = &credentials.nonce;
    let text = match (&credentials.qop, &credentials.nc, &credentials.cnonce) {
        (Some(qop), Some(nc), Some(cnonce)) => [ha1, nonce, nc, cnonce, qop, ha2].join(":"),
        _ => [ha1, nonce, ha2].join(":"),
    };
    algorithm.hash(text.as_bytes())
}

/// The counts that were used with each live nonce.
#[derive(Default)]
struct Used {
    windows: HashMap<[u8; MAC_BYTES], Window>,
    /// In the order of first use, with the time of the nonce, to forget them.
    order: VecDeque<(u64, [u8; MAC_BYTES])>,
}

/// Which of the last 64 counts were used: over UDP requests overtake each other.
struct Window {
    highest: u32,
    seen: u64,
    /// The latest counts whose request may come again, with what it is known by; places by count. Most nonces are used for a
    /// REGISTER, which may not.
    repeatable: Option<Box<Repeatable>>,
}

/// How many of the latest requests with a nonce may come again: a device has one or two under way.
const REPEATABLE: usize = 4;

/// Counts, each with what its request is known by.
type Repeatable = [Option<(u32, u64)>; REPEATABLE];

impl Used {
    /// Forgets nonces that are refused by their age already.
    fn expire(&mut self, now_s: u64) {
        while self
            .order
            .front()
            .is_some_and(|(time, _)| time + NONCE_S_MAX <= now_s)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, nonce)) = self.order.pop_front() {
            self.windows.remove(&nonce);
        }
    }

    /// Marks a count as used and returns whether it may be: it was not used before, or by this same request.
    /// Without a count (no qop) the first request uses the nonce up.
    fn allows(
        &mut self,
        nonce: [u8; MAC_BYTES],
        time: u64,
        count: Option<u32>,
        identity: Option<u64>,
    ) -> bool {
        if !self.windows.contains_key(&nonce) {
            if self.order.len() == NONCES_MAX {
                self.drop_oldest();
            }
            self.order.push_back((time, nonce));
        }
        let window = self.windows.entry(nonce).or_insert(Window {
            highest: 0,
            seen: 0,
            repeatable: None,
        });
        let is_first = window.first_use(count);
        let count = count.unwrap_or(0);
        let place = usize::try_from(count).unwrap_or(0) % REPEATABLE;
        let known = identity.map(|identity| (count, identity));
        if !is_first {
            return known.is_some()
                && (window.repeatable.as_ref()).is_some_and(|places| places[place] == known);
        }
        if known.is_some() || window.repeatable.is_some() {
            window.repeatable.get_or_insert_default()[place] = known;
        }
        true
    }
}

impl Window {
    fn first_use(&mut self, count: Option<u32>) -> bool {
        let Some(count) = count else {
            let is_unused = self.highest == 0;
            (self.highest, self.seen) = (u32::MAX, u64::MAX);
            return is_unused;
        };
        if let Some(ahead) = count.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.highest = count;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            return true;
        }
        let Some(bit) = 1_u64.checked_shl(self.highest - count) else {
            return false;
        };
        let is_first = self.seen & bit == 0;
        self.seen |= bit;
        is_first
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use sipgraph_core::digest::ha1_values;
    use sipgraph_core::{EndpointTokenId, Timestamp};

    const BOTH: &[DigestAlgorithm] = &[DigestAlgorithm::Sha256, DigestAlgorithm::Md5];

    const REGISTER: Request<'static> = Request {
        method: "REGISTER",
        identity: None,
        body: b"",
    };

    fn authenticator() -> Authenticator {
        Authenticator::new(Keyring::new([7; 32]), [0; 8])
    }

    fn challenge(now_s: u64) -> Challenge<'static> {
        Challenge {
            realm: "example.com",
            algorithms: BOTH,
            source: Some([192, 0, 2, 1].into()),
            now_s,
        }
    }

    /// What a device answers to the challenge for `algorithm`.
    fn answer(header: &str, password: &str, count: Option<u32>) -> Credentials<'static> {
        let given = |name: &str| {
            let value = header
                .split(", ")
                .find_map(|p| p.trim_start_matches("Digest ").strip_prefix(name));
            value.unwrap().trim_matches(['=', '"']).to_owned()
        };
        let algorithm = DigestAlgorithm::parse(&given("algorithm")).unwrap();
        let mut credentials = Credentials {
            username: "alice".into(),
            realm: given("realm").into(),
            nonce: given("nonce").into(),
            uri: "sip:example.com".into(),
            response: Cow::default(),
            algorithm: Some(given("algorithm").into()),
            cnonce: count.map(|_| "c".into()),
            qop: count.map(|_| "auth".into()),
            nc: count.map(|count| format!("{count:08x}").into()),
        };
        let ha1 = ha1_values("alice", &credentials.realm, password, &[algorithm]);
        credentials.response = answer_by(&ha1[0], &credentials).into();
        credentials
    }

    fn known() -> Vec<Ha1> {
        ha1_values("alice", "example.com", "Secret1", BOTH)
    }

    fn answer_by(ha1: &Ha1, credentials: &Credentials<'_>) -> String {
        let ha2 = ha2(ha1.algorithm, credentials, &REGISTER);
        response(ha1.algorithm, ha1.value.expose(), credentials, &ha2)
    }

    /// The passwords of a user without tokens.
    fn own(ha1: &[Ha1]) -> Passwords<'_> {
        Passwords { ha1, tokens: &[] }
    }

    #[test]
    fn responses_agree_with_the_vectors() {
        let text = include_str!("../tests/data/digest.jsonl");
        let mut checked = 0;
        for line in text.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| case[name].as_str();
            let owned = |name: &str| field(name).map(|value| value.to_owned().into());
            let algorithm = DigestAlgorithm::parse(field("alg").unwrap()).unwrap();
            let credentials = Credentials {
                nonce: owned("nonce").unwrap(),
                uri: owned("uri").unwrap(),
                cnonce: owned("cnonce"),
                qop: owned("qop"),
                nc: owned("nc"),
                ..Credentials::default()
            };
            let asked = Request {
                method: field("method").unwrap(),
                identity: None,
                body: field("body").unwrap_or_default().as_bytes(),
            };
            let [user, realm, password] = ["user", "realm", "pwd"].map(|name| field(name).unwrap());
            let ha1 = ha1_values(user, realm, password, &[algorithm]);
            let ha2 = ha2(algorithm, &credentials, &asked);
            let given = |ha1: &Ha1| response(algorithm, ha1.value.expose(), &credentials, &ha2);
            assert_eq!(Some(given(&ha1[0]).as_str()), field("response"), "{line}");
            if let Some(expected) = field("response_if_latin1") {
                assert_eq!(given(&ha1[1]), expected, "{line}");
            }
            checked += 1;
        }
        assert_eq!(checked, 120);
    }

    #[test]
    fn one_challenge_for_each_algorithm_in_order() {
        let headers = authenticator().challenge(&challenge(1000), true);
        assert_eq!(headers.len(), 2);
        assert!(
            headers[0].contains("algorithm=SHA-256, stale=true")
                && headers[1].contains("algorithm=MD5")
        );
        assert!(headers[0].starts_with("Digest realm=\"example.com\", nonce=\""));
    }

    #[test]
    fn the_right_password_passes_with_each_algorithm_and_without_qop() {
        let authenticator = authenticator();
        for count in [Some(1), None] {
            for header in authenticator.challenge(&challenge(1000), false) {
                let check = |password: &str, ha1: &[Ha1]| {
                    authenticator.check(
                        &answer(&header, password, count),
                        &challenge(1000),
                        &REGISTER,
                        &own(ha1),
                    )
                };
                assert_eq!(
                    check("secret1", &known()),
                    Verdict::Wrong(Mistake::Response)
                );
                assert_eq!(check("Secret1", &[]), Verdict::Wrong(Mistake::Algorithm));
            }
            for at in [0, 1] {
                let header = &authenticator.challenge(&challenge(1000), false)[at];
                let credentials = answer(header, "Secret1", count);
                let check = || {
                    authenticator.check(&credentials, &challenge(1000), &REGISTER, &own(&known()))
                };
                let replayed = Verdict::Stale { has_expired: false };
                assert_eq!((check(), check()), (Verdict::Right(None), replayed));
            }
        }
    }

    #[test]
    fn a_nonce_ends_after_300_seconds_and_is_bound_to_its_source_and_realm() {
        let authenticator = authenticator();
        let header = &authenticator.challenge(&challenge(1000), false)[1];
        let check = |count: u32, challenge: &Challenge<'_>| {
            authenticator.check(
                &answer(header, "Secret1", Some(count)),
                challenge,
                &REGISTER,
                &own(&known()),
            )
        };
        let (expired, foreign) = (true, false);
        let stale = |has_expired| Verdict::Stale { has_expired };
        assert_eq!(check(1, &challenge(1299)), Verdict::Right(None));
        assert_eq!(check(2, &challenge(1300)), stale(expired));
        assert_eq!(check(3, &challenge(939)), stale(foreign));
        assert_eq!(
            check(
                4,
                &Challenge {
                    source: Some([192, 0, 2, 2].into()),
                    ..challenge(1000)
                }
            ),
            stale(foreign)
        );
        assert_eq!(
            check(
                5,
                &Challenge {
                    source: None,
                    ..challenge(1000)
                }
            ),
            stale(foreign)
        );
        assert_eq!(
            check(
                6,
                &Challenge {
                    realm: "example.net",
                    ..challenge(1000)
                }
            ),
            Verdict::Wrong(Mistake::Parameters)
        );
        assert_eq!(
            check(
                7,
                &Challenge {
                    algorithms: &BOTH[..1],
                    ..challenge(1000)
                }
            ),
            Verdict::Wrong(Mistake::Algorithm)
        );
        assert_eq!(check(8, &challenge(1000)), Verdict::Right(None));
    }

    #[test]
    fn each_count_passes_once_in_a_window_of_64() {
        let mut used = Used::default();
        let mut first = |count| used.allows([1; MAC_BYTES], 1000, Some(count), None);
        assert!(first(1) && first(2) && !first(1) && !first(2));
        assert!(first(70) && first(69) && !first(69) && first(7) && !first(6) && !first(2));
        assert!(first(u32::MAX) && !first(u32::MAX));
        assert!(!used.allows([1; MAC_BYTES], 1000, None, None));
        used.expire(1300);
        assert!(used.windows.is_empty() && used.order.is_empty());
    }

    #[test]
    fn the_same_request_may_come_again_and_no_other() {
        let mut used = Used::default();
        let mut allows = |count, identity| used.allows([1; MAC_BYTES], 1000, count, identity);
        assert!(allows(Some(1), Some(7)) && allows(Some(1), Some(7)));
        assert!(!allows(Some(1), Some(8)) && !allows(Some(1), None) && allows(Some(1), Some(7)));
        assert!(allows(Some(5), Some(9)) && !allows(Some(1), Some(7)) && allows(Some(5), Some(9)));
        let mut allows = |count, identity| used.allows([2; MAC_BYTES], 1000, count, identity);
        assert!(allows(None, Some(7)) && allows(None, Some(7)));
        assert!(!allows(None, Some(8)) && !allows(Some(1), Some(7)));
    }

    #[test]
    fn remembered_nonces_are_bounded() {
        let mut used = Used::default();
        for n in 0..=NONCES_MAX {
            let mut nonce = [0; MAC_BYTES];
            nonce[..8].copy_from_slice(&n.to_be_bytes());
            assert!(used.allows(nonce, 1000, Some(1), None));
        }
        assert_eq!(
            (used.windows.len(), used.order.len()),
            (NONCES_MAX, NONCES_MAX)
        );
    }

    #[test]
    fn latin1_phones_pass_too() {
        let authenticator = authenticator();
        let ha1 = ha1_values("alice", "example.com", "passw\u{f6}rd", BOTH);
        let header = &authenticator.challenge(&challenge(1000), false)[1];
        let mut credentials = answer(header, "x", Some(1));
        let latin1 = ha1
            .iter()
            .find(|h| h.algorithm == DigestAlgorithm::Md5 && h.charset == PasswordCharset::Latin1);
        credentials.response = answer_by(latin1.unwrap(), &credentials).into();
        assert_eq!(
            authenticator.check(&credentials, &challenge(1000), &REGISTER, &own(&ha1)),
            Verdict::Right(None)
        );
    }

    #[test]
    fn any_live_token_is_a_password() {
        let authenticator = authenticator();
        let token = |n: u8| TokenCredentials {
            id: EndpointTokenId([n; 16]),
            expires_at: Timestamp(i64::MAX),
            ha1: ha1_values("alice", "example.com", &format!("token{n}"), BOTH),
        };
        let tokens: Vec<_> = (0..20).map(token).collect();
        let check = |password: &str, tokens: &[TokenCredentials]| {
            let header = &authenticator.challenge(&challenge(1000), false)[0];
            let known = known();
            let passwords = Passwords {
                ha1: &known,
                tokens,
            };
            let credentials = answer(header, password, Some(1));
            authenticator.check(&credentials, &challenge(1000), &REGISTER, &passwords)
        };
        for place in [0, 7, 19] {
            let password = format!("token{place}");
            assert_eq!(check(&password, &tokens), Verdict::Right(Some(place)));
        }
        assert_eq!(check("Secret1", &tokens), Verdict::Right(None));
        assert_eq!(check("token20", &tokens), Verdict::Wrong(Mistake::Response));
        assert_eq!(check("token1", &[]), Verdict::Wrong(Mistake::Response));
    }

    #[test]
    fn a_source_is_proven_by_a_nonce_of_its_own() {
        let authenticator = authenticator();
        let header = &authenticator.challenge(&challenge(1000), false)[0];
        let credentials = answer(header, "wrong", Some(1));
        let is_proven =
            |challenge: &Challenge<'_>| authenticator.is_proven(&credentials, challenge);
        assert!(is_proven(&challenge(1000)) && !is_proven(&challenge(1300)));
        assert!(!is_proven(&Challenge {
            source: Some([192, 0, 2, 9].into()),
            ..challenge(1000)
        }));
    }
}
