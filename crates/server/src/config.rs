//! The configuration: compiled-in defaults, then a TOML file, then the environment.
//!
//! `config.default.toml` is default and documentation at once: a key exists because it stands there. This module is
//! the only one that reads the environment. It knows no database and opens nothing.

use crate::failure::Failure;
use crate::tls;
use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::{Deserializer, Error as _, IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, de};
use sip_validate::Host;
use sipgraph_core::defence::Source;
use sipgraph_gateway::Origins;
use sipgraph_sip_edge::Network;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The text of `config.default.toml`.
pub(crate) const DEFAULTS: &str = include_str!("../config.default.toml");

/// What every variable of the environment begins with.
const PREFIX: &str = "SIPGRAPH_";

/// The whole configuration, validated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the instance key is; `None` means beside the database.
    #[serde(deserialize_with = "optional")]
    pub(crate) secret_key_file: Option<PathBuf>,
    /// Where commands find the running server; `None` means beside the instance key.
    #[serde(deserialize_with = "optional")]
    control_socket: Option<PathBuf>,
    /// What is logged.
    pub(crate) log: String,
    /// The database.
    pub(crate) database: Database,
    /// GraphQL and GraphiQL.
    pub(crate) http: Http,
    /// Devices.
    pub(crate) sip: Sip,
    /// Messages.
    pub(crate) messages: Messages,
    /// The event log.
    pub(crate) events: Events,
    /// What wakes readers.
    pub(crate) bus: Bus,
    /// Metrics.
    pub(crate) metrics: Metrics,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// Its address.
    pub(crate) url: DatabaseUrl,
    /// The most pages of an SQLite file; 0 for no limit.
    pub(crate) sqlite_pages_max: u32,
    /// Connections to Postgres for reads.
    pub(crate) postgres_pool_size: usize,
    /// Connections to Postgres for commits.
    pub(crate) postgres_writers: usize,
    /// Start although Postgres may lose acknowledged data.
    pub(crate) allow_data_loss: bool,
}

/// The HTTP listeners.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Where to listen.
    #[serde(deserialize_with = "addresses")]
    pub(crate) listen: Vec<SocketAddr>,
    #[serde(deserialize_with = "optional")]
    tls_cert: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    tls_key: Option<PathBuf>,
    /// Origins whose pages may call.
    #[serde(deserialize_with = "texts")]
    pub(crate) cors_origins: Vec<String>,
    #[serde(deserialize_with = "texts")]
    trusted_proxies: Vec<String>,
    /// Further host names of loopback listeners.
    #[serde(deserialize_with = "texts")]
    pub(crate) hosts: Vec<String>,
    /// The most open connections.
    pub(crate) connections_max: usize,
}

/// The SIP listeners.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sip {
    /// Where to listen on UDP.
    #[serde(deserialize_with = "addresses")]
    pub(crate) udp_listen: Vec<SocketAddr>,
    /// Where to listen on TCP.
    #[serde(deserialize_with = "addresses")]
    pub(crate) tcp_listen: Vec<SocketAddr>,
    /// Where to listen for TLS.
    #[serde(deserialize_with = "addresses")]
    pub(crate) tls_listen: Vec<SocketAddr>,
    #[serde(deserialize_with = "optional")]
    tls_cert: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    tls_key: Option<PathBuf>,
    /// The host that Via names.
    #[serde(deserialize_with = "optional")]
    pub(crate) advertised_host: Option<String>,
    /// The shortest registration, in seconds.
    pub(crate) expires_s_min: u32,
    /// The usual registration, in seconds.
    pub(crate) expires_s_default: u32,
    /// The longest registration, in seconds.
    pub(crate) expires_s_max: u32,
    /// The most open connections.
    pub(crate) connections_max: usize,
    /// The most open connections of one source.
    pub(crate) connections_per_source_max: usize,
    /// How long a connection may stay without an authenticated request.
    #[serde(rename = "authenticate_timeout_s", deserialize_with = "seconds")]
    pub(crate) authenticate_timeout: Duration,
    /// How long a connection may be silent.
    #[serde(rename = "idle_timeout_s", deserialize_with = "seconds")]
    pub(crate) idle_timeout: Duration,
    /// How often each device is asked whether it is there; `None` asks none.
    #[serde(rename = "qualify_s", deserialize_with = "seconds_or_never")]
    pub(crate) qualify: Option<Duration>,
    /// How often a WebSocket is pinged.
    #[serde(rename = "websocket_ping_s", deserialize_with = "seconds")]
    pub(crate) websocket_ping: Duration,
    /// The most requests a second of one source that prove nobody.
    pub(crate) unauthenticated_per_s: u32,
    /// Sources that are neither limited nor banned.
    #[serde(deserialize_with = "sources")]
    pub(crate) trusted_sources: Vec<Source>,
    /// Inner networks in which addresses of trunks may lie.
    #[serde(deserialize_with = "networks")]
    pub(crate) trunk_networks: Vec<Network>,
    /// Whether requests for other domains get no answer.
    pub(crate) strict_domain: bool,
}

/// Messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Messages {
    /// How long delivery is tried by default.
    #[serde(rename = "expiry_s", deserialize_with = "seconds")]
    pub(crate) expiry: Duration,
    /// How long a sender may ask for.
    #[serde(rename = "expiry_s_max", deserialize_with = "seconds")]
    pub(crate) expiry_max: Duration,
    /// Whether they wait for a device.
    pub(crate) store_and_forward: bool,
    /// How long events carry the text of those that no chat keeps.
    #[serde(rename = "unrecorded_text_s", deserialize_with = "seconds")]
    pub(crate) unrecorded_text: Duration,
    /// How long they are kept, in seconds; 0 is for ever.
    retention_s: u64,
}

/// The event log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Events {
    /// How long it is kept.
    #[serde(rename = "retention_s", deserialize_with = "seconds")]
    pub(crate) retention: Duration,
}

/// What wakes readers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bus {
    #[serde(deserialize_with = "optional")]
    url: Option<BusUrl>,
}

/// Metrics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    /// Where to listen.
    #[serde(deserialize_with = "addresses")]
    pub(crate) listen: Vec<SocketAddr>,
}

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A server; the whole address, which may hold a password.
    Postgres(String),
}

impl DatabaseUrl {
    /// Returns the backend's name as the ready line has it.
    pub(crate) fn backend(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Returns the address as the store takes it. It may hold a password.
    pub(crate) fn expose(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// Shows the address without its password.
///
/// Whoever forgets to escape a password may have any sign in it, so that an address can be read in two ways. What is a
/// part of the password in either is left out.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
                // The driver takes everything up to an @ as user and password, also a / or a ?.
                let (credentials, place) = match rest.rsplit_once('@') {
                    Some((credentials, place)) => (Some(credentials), place),
                    None => (None, rest),
                };
                write!(f, "{scheme}://")?;
                if let Some(credentials) = credentials {
                    let user = credentials.split([':', '/', '?', '@']).next();
                    write!(f, "{}@", user.unwrap_or_default())?;
                    // A parameter may hold a password, and that an @.
                    if credentials.contains(['?', '@']) {
                        return f.write_str("...");
                    }
                }
                f.write_str(place.split('?').next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DatabaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            // `sqlite:///var/lib/x.db` is how other programs write `sqlite:/var/lib/x.db`.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err("name a file: sqlite:PATH");
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        // The text itself is not repeated: it may hold a password.
        Err("write sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/NAME")
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Which bus wakes readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BusUrl {
    /// One process.
    Local,
    /// Several processes on one Postgres.
    Postgres,
}

impl FromStr for BusUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "local:" => Ok(Self::Local),
            "postgres:" => Ok(Self::Postgres),
            _ if text.starts_with("nats:") => {
                Err("the NATS bus is not in this version; write local: or postgres:")
            }
            _ => Err("write local: or postgres:"),
        }
    }
}

impl Config {
    /// Loads the configuration of this process.
    ///
    /// # Errors
    /// [`Failure::Usage`] that names the key.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // A name that is no Unicode is none of ours; a value that is none is refused by its key.
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        Self::layered(file, variables)
    }

    /// Loads the configuration from a file and from given variables.
    ///
    /// # Errors
    /// [`Failure::Usage`] that names the key.
    pub(crate) fn layered(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let known = keys_of(&defaults);
        let mut layers = defaults;
        if let Some(path) = file {
            if !path.exists() {
                return Err(Failure::key(
                    "--config",
                    format_args!("there is no file {}", path.display()),
                ));
            }
            let file = Figment::from(File::read(path)?);
            for key in keys_of(&file).keys() {
                if !known.contains_key(key) {
                    return Err(Failure::key(
                        key,
                        format_args!("unknown key in {}", path.display()),
                    ));
                }
            }
            layers = layers.merge(file);
        }
        let environment = Environment::read(&known, variables)?;
        let config: Self = layers
            .merge(environment)
            .extract()
            .map_err(|error| refusal(&error))?;
        config.validated()
    }

    /// Checks what no single key shows.
    fn validated(self) -> Result<Self, Failure> {
        let (http, sip) = (&self.http, &self.sip);
        let sip_tls = !sip.tls_listen.is_empty();
        for (key, asked, why) in [
            (
                "http.tls_cert",
                http.tls_cert.is_none() && http.tls_key.is_some(),
                "http.tls_key needs its certificate",
            ),
            (
                "http.tls_key",
                http.tls_key.is_none() && http.tls_cert.is_some(),
                "http.tls_cert needs its key",
            ),
            (
                "sip.tls_cert",
                sip.tls_cert.is_none() && (sip_tls || sip.tls_key.is_some()),
                "sip.tls_listen and sip.tls_key need a certificate",
            ),
            (
                "sip.tls_key",
                sip.tls_key.is_none() && (sip_tls || sip.tls_cert.is_some()),
                "sip.tls_listen and sip.tls_cert need a key",
            ),
            (
                "http.trusted_proxies",
                !self.http.trusted_proxies.is_empty(),
                "trusted proxies are not in this version",
            ),
            (
                "http.listen",
                self.http.listen.is_empty(),
                "name at least one address",
            ),
            (
                "database.postgres_pool_size",
                self.database.postgres_pool_size == 0,
                "must be at least 1",
            ),
            (
                "database.postgres_writers",
                self.database.postgres_writers == 0,
                "must be at least 1",
            ),
            (
                "http.connections_max",
                self.http.connections_max == 0,
                "must be at least 1",
            ),
            (
                "sip.connections_max",
                self.sip.connections_max == 0,
                "must be at least 1",
            ),
            (
                "sip.connections_per_source_max",
                self.sip.connections_per_source_max == 0,
                "must be at least 1",
            ),
            (
                "sip.unauthenticated_per_s",
                self.sip.unauthenticated_per_s == 0,
                "must be at least 1",
            ),
            (
                // RFC 3261 section 10.3 step 7: a registrar must not refuse an hour or more.
                "sip.expires_s_min",
                !(1..3600).contains(&self.sip.expires_s_min),
                "must be from 1 to 3599 seconds",
            ),
            (
                "sip.expires_s_default",
                self.sip.expires_s_default < self.sip.expires_s_min,
                "must not be shorter than sip.expires_s_min",
            ),
            (
                "sip.expires_s_max",
                self.sip.expires_s_max < self.sip.expires_s_default,
                "must not be shorter than sip.expires_s_default",
            ),
            (
                "messages.expiry_s_max",
                self.messages.expiry_max < self.messages.expiry,
                "must not be shorter than messages.expiry_s",
            ),
            (
                "bus.url",
                self.bus.url == Some(BusUrl::Postgres)
                    && matches!(self.database.url, DatabaseUrl::Sqlite(_)),
                "postgres: needs a Postgres database",
            ),
        ] {
            if asked {
                return Err(Failure::key(key, why));
            }
        }
        Origins::parse(self.http.cors_origins.iter().map(String::as_str))
            .map_err(|error| Failure::key("http.cors_origins", error))?;
        for (key, host) in std::iter::empty()
            .chain(self.http.hosts.iter().map(|host| ("http.hosts", host)))
            .chain(
                self.sip
                    .advertised_host
                    .iter()
                    .map(|host| ("sip.advertised_host", host)),
            )
        {
            Host::parse(host).map_err(|violation| {
                Failure::key(
                    key,
                    format_args!("{host:?} is no host name or address without port: {violation}"),
                )
            })?;
        }
        Ok(self)
    }

    /// Returns how long messages are kept; none is for ever.
    pub(crate) fn message_retention(&self) -> Option<Duration> {
        let seconds = self.messages.retention_s;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Returns where the certificate of the HTTP listeners is; none without TLS.
    pub(crate) fn http_certificate(&self) -> Option<tls::Files> {
        certificate("http", &self.http.tls_cert, &self.http.tls_key)
    }

    /// Returns where the certificate of the SIP listeners for TLS is; none without them.
    pub(crate) fn sip_certificate(&self) -> Option<tls::Files> {
        let files = certificate("sip", &self.sip.tls_cert, &self.sip.tls_key);
        files.filter(|_| !self.sip.tls_listen.is_empty())
    }

    /// Returns the bus: the one asked for, or the one that fits the database.
    pub(crate) fn bus(&self) -> BusUrl {
        self.bus.url.unwrap_or(match self.database.url {
            DatabaseUrl::Sqlite(_) => BusUrl::Local,
            DatabaseUrl::Postgres(_) => BusUrl::Postgres,
        })
    }

    /// Returns where the instance key is.
    pub(crate) fn key_file(&self) -> PathBuf {
        match (&self.secret_key_file, &self.database.url) {
            (Some(path), _) => path.clone(),
            (None, DatabaseUrl::Sqlite(path)) => beside(path, ".key"),
            (None, DatabaseUrl::Postgres(_)) => PathBuf::from("sipgraph.key"),
        }
    }

    /// Returns where commands find the running server.
    pub(crate) fn control_socket(&self) -> PathBuf {
        let given = self.control_socket.clone();
        given.unwrap_or_else(|| beside(&self.key_file(), ".socket"))
    }
}

fn certificate(
    table: &'static str,
    cert: &Option<PathBuf>,
    key: &Option<PathBuf>,
) -> Option<tls::Files> {
    Some(tls::Files {
        table,
        cert: cert.clone()?,
        key: key.clone()?,
    })
}

/// Returns a path with an ending added to its file name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Returns the leaves of a layer by their dotted names.
fn keys_of(layer: &Figment) -> std::collections::BTreeMap<String, Value> {
    fn walk(prefix: &str, dict: &Dict, keys: &mut std::collections::BTreeMap<String, Value>) {
        for (name, value) in dict {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                Value::Dict(_, inner) => walk(&key, inner, keys),
                leaf => {
                    keys.insert(key, leaf.clone());
                }
            }
        }
    }
    let mut keys = std::collections::BTreeMap::new();
    let data = layer.data().unwrap_or_default();
    for dict in data.values() {
        walk("", dict, &mut keys);
    }
    keys
}

fn refusal(error: &figment::Error) -> Failure {
    let key = error.path.join(".");
    let from = match &error.metadata {
        Some(metadata) if metadata.name == ENVIRONMENT => {
            format!(
                " (in {PREFIX}{})",
                key.to_ascii_uppercase().replace('.', "_")
            )
        }
        Some(metadata) if metadata.name != DEFAULT_NAME => format!(" (in {})", source(metadata)),
        _ => String::new(),
    };
    Failure::key(&key, format_args!("{}{from}", error.kind))
}

/// The name of the layer of the environment.
const ENVIRONMENT: &str = "the environment";
/// The name that figment gives to a TOML text.
const DEFAULT_NAME: &str = "TOML source string";

fn source(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ => metadata.name.to_string(),
    }
}

/// A TOML file.
struct File<'a> {
    path: &'a Path,
    values: Dict,
}

impl<'a> File<'a> {
    /// Reads and parses a file. What figment and toml say themselves about a wrong one shows the line, which may hold a
    /// password.
    fn read(path: &'a Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::key("--config", format_args!("{}: {error}", path.display()))
        })?;
        let values = Toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let (line, column) = position(before.unwrap_or_default());
            let why = error.message().replace('\n', ", ");
            Failure::key(
                "--config",
                format_args!("{}: line {line}, column {column}: {why}", path.display()),
            )
        })?;
        Ok(Self { path, values })
    }
}

impl Provider for File<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("TOML file", self.path)
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// Returns line and column of what follows a text, both from 1.
fn position(before: &str) -> (usize, usize) {
    let lines = before.matches('\n').count();
    let last = before.rsplit('\n').next().unwrap_or_default();
    (lines + 1, last.chars().count() + 1)
}

/// The variables of the environment that are keys.
struct Environment {
    values: Dict,
}

impl Environment {
    /// Sorts variables to keys.
    fn read(
        known: &std::collections::BTreeMap<String, Value>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let mut values = Dict::new();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let found = known.iter().find(|(key, _)| {
                let capitals = key.to_ascii_uppercase();
                rest == capitals.replace('.', "_") || rest == capitals.replace('.', "__")
            });
            match found {
                Some((key, default)) => {
                    figment::util::nest(key, typed(default, text))
                        .into_dict()
                        .into_iter()
                        .for_each(|nested| merge(&mut values, nested));
                }
                None if is_service_link(rest) => {}
                None => return Err(Failure::key(&name, "unknown variable")),
            }
        }
        Ok(Self { values })
    }
}

/// Kubernetes gives each container of a namespace with a service `sipgraph` variables such as `SIPGRAPH_SERVICE_HOST`
/// and `SIPGRAPH_PORT_4000_TCP_ADDR`; they are not ours and must not refuse the start.
fn is_service_link(rest: &str) -> bool {
    rest == "PORT"
        || rest.starts_with("PORT_")
        || rest.starts_with("SERVICE_HOST")
        || rest.starts_with("SERVICE_PORT")
}

/// Reads a text as the type that the default has; what can't be read stays a text and is refused by its key.
fn typed(default: &Value, text: String) -> Value {
    match default {
        Value::Num(..) => text
            .parse::<u64>()
            .map_or_else(|_| Value::from(text), Value::from),
        Value::Bool(..) => text
            .parse::<bool>()
            .map_or_else(|_| Value::from(text), Value::from),
        _ => Value::from(text),
    }
}

fn merge(into: &mut Dict, from: Dict) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Dict(_, old)), Value::Dict(_, new)) => merge(old, new),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(ENVIRONMENT)
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// Reads a list: an array of texts, or one text with commas.
struct List<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts, or one text with commas")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| parsed(item))
            .collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<String>()? {
            list.push(parsed(item.trim())?);
        }
        Ok(list)
    }
}

fn parsed<T: FromStr<Err: fmt::Display>, E: de::Error>(text: &str) -> Result<T, E> {
    text.parse()
        .map_err(|why| E::custom(format_args!("{text:?}: {why}")))
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(List(PhantomData))
}

/// An address to listen on.
struct Listen(SocketAddr);

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| "write an IP address and a port, such as 127.0.0.1:5060 or [::1]:5060")
    }
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let list: Vec<Listen> = deserializer.deserialize_any(List(PhantomData))?;
    Ok(list.into_iter().map(|Listen(address)| address).collect())
}

/// A source that is trusted.
struct Trusted(Source);

impl FromStr for Trusted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let source = Source::parse(text);
        source.map(Self).ok_or("write an IP address")
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    deserializer.deserialize_any(List(PhantomData))
}

fn sources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Source>, D::Error> {
    let list: Vec<Trusted> = deserializer.deserialize_any(List(PhantomData))?;
    Ok(list.into_iter().map(|Trusted(source)| source).collect())
}

/// Reads a text of which the empty one means that the key is not set.
fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    // Not repeated in the refusal: it may hold a password.
    text.parse().map(Some).map_err(D::Error::custom)
}

/// Reads a number of seconds: at least one, at most ten years, which every database can add to a time.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;
    let seconds = u64::deserialize(deserializer)?;
    if !(1..=TEN_YEARS).contains(&seconds) {
        return Err(D::Error::custom(format_args!(
            "must be from 1 to {TEN_YEARS} seconds, not {seconds}"
        )));
    }
    Ok(Duration::from_secs(seconds))
}

/// Reads a number of seconds as [`seconds`] does, or 0 for never.
fn seconds_or_never<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    match seconds {
        0 => Ok(None),
        _ => self::seconds(seconds.into_deserializer()).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, variables: &[(&str, &str)]) -> Result<Config, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sipgraph.toml");
        std::fs::write(&path, toml).unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::layered(Some(&path), variables)
    }

    #[track_caller]
    fn refused(toml: &str, variables: &[(&str, &str)], key: &str) -> String {
        match load(toml, variables) {
            Err(Failure::Usage(text)) => {
                assert!(text.starts_with(&format!("{key}: ")), "{text}");
                text
            }
            other => panic!("{key} was not refused: {other:?}"),
        }
    }

    #[test]
    fn the_defaults_hold_exactly_the_keys_of_the_structs() {
        let config = Config::layered(None, []).unwrap();
        assert_eq!(config.database.url.expose(), "sqlite:sipgraph.db");
        assert_eq!(config.http.listen, ["127.0.0.1:4000".parse().unwrap()]);
        assert_eq!(config.sip.udp_listen, ["127.0.0.1:5060".parse().unwrap()]);
        assert_eq!(config.bus(), BusUrl::Local);
        assert_eq!(config.key_file(), Path::new("sipgraph.db.key"));

        // No field of the structs has a default of its own, so that each missing key is refused; and every key that
        // is not a field is refused. Both together: the file and the structs have the same keys.
        let keys: Vec<String> = keys_of(&Figment::from(Toml::string(DEFAULTS)))
            .into_keys()
            .collect();
        assert!(keys.len() > 20);
        for gone in &keys {
            let mut data = Figment::from(Toml::string(DEFAULTS)).data().unwrap();
            let dict = data.get_mut(&Profile::Default).unwrap();
            match gone.split_once('.') {
                Some((section, name)) => match dict.get_mut(section).unwrap() {
                    Value::Dict(_, inner) => inner.remove(name).unwrap(),
                    other => panic!("{other:?}"),
                },
                None => dict.remove(gone).unwrap(),
            };
            let rest = Figment::from(figment::providers::Serialized::defaults(dict.clone()));
            let error = rest.extract::<Config>().unwrap_err().to_string();
            assert!(error.contains("missing field"), "{gone}: {error}");
        }
    }

    #[test]
    fn every_key_is_documented_with_its_variable() {
        // Keys that share a comment are named in it by what differs.
        for key in keys_of(&Figment::from(Toml::string(DEFAULTS))).keys() {
            let variable = format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "_"));
            let short = variable.rsplit_once('_').unwrap().1;
            assert!(
                DEFAULTS.contains(&variable) || DEFAULTS.contains(&format!("..._{short}")),
                "{variable}"
            );
        }
    }

    #[test]
    fn the_file_replaces_defaults_and_the_environment_replaces_both() {
        let toml = "[database]\nurl = 'sqlite:file.db'\n[sip]\nudp_listen = '127.0.0.1:1, [::1]:2'\ntcp_listen = []";
        let config = load(toml, &[]).unwrap();
        assert_eq!(config.database.url, DatabaseUrl::Sqlite("file.db".into()));
        assert_eq!(
            config.sip.udp_listen,
            ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]
        );
        assert_eq!(config.sip.tcp_listen, []);

        let config = load(
            toml,
            &[
                ("SIPGRAPH_DATABASE_URL", "postgres://u:secret@h/db"),
                ("SIPGRAPH_SIP__UDP_LISTEN", "127.0.0.1:0"),
                ("SIPGRAPH_SIP_CONNECTIONS_MAX", "7"),
                (
                    "SIPGRAPH_HTTP_CORS_ORIGINS",
                    "http://localhost:*,https://a.example",
                ),
                ("SIPGRAPH_SECRET_KEY_FILE", "/k"),
                ("SIPGRAPH_SIP_ADVERTISED_HOST", "192.0.2.1"),
                ("SIPGRAPH_SERVICE_PORT_HTTP", "4000"),
                ("OTHER", "x"),
            ],
        )
        .unwrap();
        assert_eq!(config.database.url.backend(), "postgres");
        assert_eq!(config.bus(), BusUrl::Postgres);
        assert_eq!(config.sip.udp_listen, ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(config.sip.connections_max, 7);
        assert_eq!(config.http.cors_origins.len(), 2);
        assert_eq!(config.key_file(), Path::new("/k"));
        assert_eq!(config.sip.advertised_host.as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn what_is_wrong_is_refused_by_its_key() {
        for (toml, variables, key) in [
            ("nosuch = 1", &[][..], "nosuch"),
            ("[sip]\nudp_lisen = []", &[], "sip.udp_lisen"),
            (
                "[sip]\nudp_listen = ['localhost:5060']",
                &[],
                "sip.udp_listen",
            ),
            ("[sip]\nexpires_s_min = 'x'", &[], "sip.expires_s_min"),
            ("[sip]\nexpires_s_min = 0", &[], "sip.expires_s_min"),
            ("[sip]\nexpires_s_max = 3599", &[], "sip.expires_s_max"),
            ("[sip]\nidle_timeout_s = 0", &[], "sip.idle_timeout_s"),
            ("[http]\nlisten = []", &[], "http.listen"),
            ("[database]\nurl = 'mysql://x'", &[], "database.url"),
            ("not toml", &[], "--config"),
            ("", &[("SIPGRAPH_NOSUCH", "1")], "SIPGRAPH_NOSUCH"),
            (
                "",
                &[("SIPGRAPH_SIP_CONNECTIONS_MAX", "-1")],
                "sip.connections_max",
            ),
            ("", &[("SIPGRAPH_HTTP_LISTEN", "4000")], "http.listen"),
            (
                "",
                &[("SIPGRAPH_DATABASE_ALLOW_DATA_LOSS", "maybe")],
                "database.allow_data_loss",
            ),
            (
                "",
                &[("SIPGRAPH_HTTP_CORS_ORIGINS", "*")],
                "http.cors_origins",
            ),
            (
                "",
                &[("SIPGRAPH_HTTP_HOSTS", "a.example, b.example:443")],
                "http.hosts",
            ),
            ("", &[("SIPGRAPH_BUS_URL", "postgres:")], "bus.url"),
            ("", &[("SIPGRAPH_BUS_URL", "nats://h")], "bus.url"),
            ("", &[("SIPGRAPH_HTTP_TLS_CERT", "a.pem")], "http.tls_key"),
            ("", &[("SIPGRAPH_HTTP_TLS_KEY", "a.pem")], "http.tls_cert"),
            ("", &[("SIPGRAPH_SIP_TLS_CERT", "a.pem")], "sip.tls_key"),
            (
                "",
                &[("SIPGRAPH_SIP_TLS_LISTEN", "127.0.0.1:5061")],
                "sip.tls_cert",
            ),
            (
                "[sip]\ntls_listen = [\"127.0.0.1:5061\"]\ntls_cert = \"a.pem\"\n",
                &[],
                "sip.tls_key",
            ),
            ("", &[("SIPGRAPH_METRICS_LISTEN", "9464")], "metrics.listen"),
            (
                "",
                &[("SIPGRAPH_HTTP_TRUSTED_PROXIES", "10.0.0.0/8")],
                "http.trusted_proxies",
            ),
        ] {
            refused(toml, variables, key);
        }
        let missing = Config::layered(Some(Path::new("/nonexistent.toml")), []).unwrap_err();
        assert!(missing.to_string().starts_with("--config: "), "{missing}");
    }

    #[test]
    fn only_a_host_without_port_is_advertised() {
        for host in [
            "192.0.2.1:5060",
            "sip:sip.example",
            "2001:db8::1",
            "sip.example ",
            "sip .example",
            "<sip.example>",
        ] {
            let variables = [("SIPGRAPH_SIP_ADVERTISED_HOST", host)];
            refused("", &variables, "sip.advertised_host");
        }
        for host in ["192.0.2.1", "[2001:db8::1]", "sip.example"] {
            let config = load("", &[("SIPGRAPH_SIP_ADVERTISED_HOST", host)]).unwrap();
            assert_eq!(config.sip.advertised_host.as_deref(), Some(host));
        }
    }

    #[test]
    fn a_file_that_is_no_toml_is_refused_by_its_place_without_its_text() {
        for (toml, place) in [
            (
                "[database]\nurl = postgres://u:secret@h/db",
                "line 2, column 7: ",
            ),
            (
                "[database]\nurl = 'postgres://u:secret@h/db",
                "line 2, column ",
            ),
            ("database.url: 'secret'", "line 1, column 13: "),
        ] {
            let text = refused(toml, &[], "--config");
            assert!(text.contains(place), "{text}");
            assert!(!text.contains("secret") && !text.contains('\n'), "{text}");
        }
        assert_eq!(position(""), (1, 1));
        assert_eq!(position("a\nbä"), (2, 3));
    }

    #[test]
    fn a_password_in_the_address_is_never_shown() {
        for (url, shown) in [
            (
                "postgres://u:secret@h:5432/db?x=secret",
                "postgres://u@h:5432/db",
            ),
            ("postgres://u:se/cret@h/db", "postgres://u@h/db"),
            ("postgres://u:se?cret@h/db", "postgres://u@..."),
            ("postgresql://u:se@cret@h/db", "postgresql://u@..."),
            ("postgres://u:s/e@c?cret@h/db", "postgres://u@..."),
            ("postgres://u:x@h/db?password=se@cret", "postgres://u@..."),
            ("postgres://h/db?password=se@cret", "postgres://h@..."),
            ("postgres://h/db", "postgres://h/db"),
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("cret"));
        }
        let text = refused(
            "",
            &[("SIPGRAPH_DATABASE_URL", "postgre://u:secret@h")],
            "database.url",
        );
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn the_common_spellings_of_an_sqlite_address_name_the_same_file() {
        for (url, path) in [
            ("sqlite:a.db", "a.db"),
            ("sqlite:/v/a.db", "/v/a.db"),
            ("sqlite:///v/a.db", "/v/a.db"),
            ("sqlite://a.db", "a.db"),
        ] {
            assert_eq!(url.parse(), Ok(DatabaseUrl::Sqlite(path.into())));
        }
        for url in ["sqlite:", "sqlite::memory:", "a.db"] {
            assert!(url.parse::<DatabaseUrl>().is_err(), "{url}");
        }
    }
}
