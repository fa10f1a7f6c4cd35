//! How a connection to Postgres is made: address, TLS and session settings.
//!
//! `tokio-postgres` knows three of libpq's TLS modes and no root certificate, so the address's
//! `sslmode` and `sslrootcert` are read here and turned into a rustls configuration. This module
//! knows nothing of tables.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use futures_util::{StreamExt as _, stream::BoxStream};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio_postgres::{
    AsyncMessage, Client,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::AddressError;

/// A new connection is given this long, name look-up and TLS included: long enough for a busy
/// server, short enough that a caller still gets UNAVAILABLE before its own deadline.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What every session of ours sets. A frozen node must not hold an account row: its server
/// session is ended after 5 s idle in a transaction, and a peer that acknowledges nothing for
/// 10 s is given up, by both ends. A batch takes milliseconds, so 4 s behind a lock means a fault.
const SESSION: &str = "\
SET idle_in_transaction_session_timeout = '5s';\
SET lock_timeout = '4s';\
SET statement_timeout = '20s';\
SET tcp_keepalives_idle = 5;\
SET tcp_keepalives_interval = 2;\
SET tcp_keepalives_count = 3;\
SET tcp_user_timeout = '10s'";

/// How the server's certificate is checked; libpq's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    /// Never TLS.
    Disable,
    /// TLS when the server has it, whoever it is.
    Prefer,
    /// Always TLS, whoever the server is (with `sslrootcert`: as [`Tls::VerifyCa`]).
    Require,
    /// The certificate must come from a trusted authority; the host name is not compared.
    VerifyCa,
    /// The certificate must come from a trusted authority and be for this host.
    VerifyFull,
}

/// The notifications and notices of a session, in the order of their arrival; reading them drives the session.
pub type PostgresMessages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

/// Makes connections to one Postgres database, with TLS as its address asks for it.
#[derive(Clone)]
pub struct PostgresConnector {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

impl PostgresConnector {
    /// Reads an address of the form `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=FILE`.
    ///
    /// `sslmode` is one of `disable`, `prefer` (the default), `require`, `verify-ca` and `verify-full`, with libpq's meaning.
    /// `sslrootcert` is a PEM file, or `system` (the default) for the system's authorities.
    ///
    /// # Errors
    /// The address is malformed, asks for a mode that is not there, or names a file that holds no certificate.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut mode = None;
        let mut root_file = None;
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" => mode = Some(parse_mode(value)?),
                "sslrootcert" if value == "system" => {}
                "sslrootcert" => root_file = Some(PathBuf::from(percent_decode(value)?)),
                "sslcert" | "sslkey" | "sslcrl" => {
                    return Err(AddressError::new(format!("{name} is not supported")));
                }
                _ => rest.push(pair),
            }
        }
        let url = if rest.is_empty() {
            base.to_owned()
        } else {
            format!("{base}?{}", rest.join("&"))
        };
        let mut config: tokio_postgres::Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| AddressError::new(describe(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(AddressError::new("it names no host".to_owned()));
        }
        let mode = match mode.unwrap_or(Tls::Prefer) {
            // As in libpq: a root certificate would be pointless if nothing were compared with it.
            Tls::Require if root_file.is_some() => Tls::VerifyCa,
            mode => mode,
        };
        // A Unix socket never has TLS, whatever the mode says; so does libpq. A hostaddr is what is connected to.
        let local = config.get_hostaddrs().is_empty()
            && config
                .get_hosts()
                .iter()
                .all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(match mode {
            _ if local => SslMode::Disable,
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyCa | Tls::VerifyFull => SslMode::Require,
        });
        config
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10));
        if config.get_application_name().is_none() {
            config.application_name("sipgraph");
        }
        let tls = MakeRustlsConnect::new(tls_config(mode, root_file)?);
        Ok(Self { config, tls })
    }

    /// Opens a connection with our session settings, for a listener: the client, and the stream that drives it.
    ///
    /// # Errors
    /// The database does not answer in time, refuses us, or its certificate is not the expected one.
    pub async fn connect(&self) -> Result<(Client, PostgresMessages), tokio_postgres::Error> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
        let messages =
            futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        Ok((client, messages.boxed()))
    }

    /// Opens a connection for the store, its session set up.
    pub(crate) async fn open(&self) -> Result<Session, String> {
        let connecting = async {
            let (client, connection) = self
                .config
                .connect(self.tls.clone())
                .await
                .map_err(|error| describe(&error))?;
            let closed = Arc::new(AtomicBool::new(false));
            let driver_closed = Arc::clone(&closed);
            // Its end, good or bad, is seen by the flag before the session is used again, and by whoever waits for an answer.
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(error = %describe(&error), "a database connection ended");
                }
                driver_closed.store(true, Ordering::Release);
            });
            let mut connection = AsyncPgConnection::try_from(client)
                .await
                .map_err(|error| describe(&error))?;
            connection
                .batch_execute(SESSION)
                .await
                .map_err(|error| describe(&error))?;
            Ok(Session {
                connection,
                closed,
                in_use: false,
            })
        };
        // The driver's own timeout covers the TCP connect alone: a frozen server accepts and says nothing.
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err("the database did not answer in time".to_owned()))
    }
}

/// A connection of the store.
pub(crate) struct Session {
    pub(crate) connection: AsyncPgConnection,
    closed: Arc<AtomicBool>,
    /// Set while a unit of work runs: one that ended early leaves it set, and the session is not used again.
    pub(crate) in_use: bool,
}

impl Session {
    /// Whether the session can be used: its connection is open, and no work was left half done on it.
    pub(crate) fn is_fit(&self) -> bool {
        !self.in_use && !self.closed.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for PostgresConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds the password; only where it leads to is shown.
        f.debug_struct("PostgresConnector")
            .field("hosts", &self.config.get_hosts())
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

/// The driver's text with its cause: `error connecting to server: Connection refused`.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

fn parse_mode(value: &str) -> Result<Tls, AddressError> {
    Ok(match value {
        "disable" => Tls::Disable,
        "prefer" => Tls::Prefer,
        "require" => Tls::Require,
        "verify-ca" => Tls::VerifyCa,
        "verify-full" => Tls::VerifyFull,
        _ => {
            return Err(AddressError::new(format!(
                "sslmode={value} is none of disable, prefer, require, verify-ca, verify-full"
            )));
        }
    })
}

fn percent_decode(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()]
            .into_iter()
            .flatten()
            .map(char::from)
            .collect::<String>();
        let value = u8::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| digits.len() == 2)
            .ok_or_else(|| AddressError::new(format!("{text} is not percent-encoded")))?;
        bytes.push(value);
    }
    String::from_utf8(bytes).map_err(|_| AddressError::new(format!("{text} is not UTF-8")))
}

fn tls_config(mode: Tls, root_file: Option<PathBuf>) -> Result<ClientConfig, AddressError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| AddressError::new(error.to_string()))?;
    let verifier: Arc<dyn ServerCertVerifier> = match mode {
        Tls::Disable | Tls::Prefer | Tls::Require => Arc::new(AnyServer { provider }),
        Tls::VerifyCa | Tls::VerifyFull => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(root_file)?), provider)
                    .build()
                    .map_err(|error| AddressError::new(error.to_string()))?;
            if mode == Tls::VerifyFull {
                verifier
            } else {
                Arc::new(AnyName { verifier })
            }
        }
    };
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn roots(file: Option<PathBuf>) -> Result<RootCertStore, AddressError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let wrong =
                |what: String| AddressError::new(format!("sslrootcert={}: {what}", file.display()));
            let certificates =
                CertificateDer::pem_file_iter(&file).map_err(|error| wrong(describe(&error)))?;
            for certificate in certificates {
                roots
                    .add(certificate.map_err(|error| wrong(describe(&error)))?)
                    .map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("it holds no certificate".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(AddressError::new(
                    "the system has no certificate authorities; name a file with sslrootcert"
                        .to_owned(),
                ));
            }
        }
    }
    Ok(roots)
}

/// Takes any certificate, and still checks that the server has its key (`prefer` and `require`).
#[derive(Debug)]
struct AnyServer {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Checks the chain and forgives another name (`verify-ca`).
#[derive(Debug)]
struct AnyName {
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // rustls compares the name last: this error means that the chain is good.
        match self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(url: &str, reason: &str) {
        let error = PostgresConnector::parse(url)
            .expect_err("the address is wrong")
            .to_string();
        assert!(error.contains(reason), "{url}: {error}");
    }

    #[test]
    fn an_address_is_read() {
        let connector = PostgresConnector::parse(
            "postgres://u:secret@db.example:6000/x?sslmode=require&connect_timeout=9",
        )
        .expect("a good address");
        assert_eq!(connector.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(connector.config.get_ports(), [6000]);
        assert!(!format!("{connector:?}").contains("secret"));
    }

    #[test]
    fn a_unix_socket_has_no_tls() {
        let connector =
            PostgresConnector::parse("postgres:///x?host=/run/pg&user=u&sslmode=verify-full")
                .or_else(|_| PostgresConnector::parse("postgres://u@%2Frun%2Fpg/x?sslmode=require"))
                .expect("a good address");
        assert_eq!(connector.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn wrong_addresses_are_refused_with_their_reason() {
        refused("postgres://u@h/x?sslmode=maybe", "sslmode=maybe");
        refused(
            "postgres://u@h/x?sslmode=verify-full&sslrootcert=/nonexistent.pem",
            "sslrootcert=/nonexistent.pem",
        );
        refused("postgres://u@h/x?sslcert=c.pem", "sslcert is not supported");
        refused("postgres://u@h/x?nonsense=1", "nonsense");
        refused("postgres:///x", "no host");
    }
}
