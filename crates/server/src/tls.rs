//! The certificates of the TLS listeners: read at the start, and again when their files change or SIGHUP comes, so
//! that a renewed certificate needs no restart.
//!
//! It must not know what is served: it makes the server's side of TLS for whoever listens.

use crate::failure::Failure;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the files are read again: soon for who renews one, and nothing beside all else that runs.
const LOOK: Duration = Duration::from_secs(5);
/// The largest file of a certificate chain or key; real ones have a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the HTTP listeners speak, for clients that ask (RFC 7301). Phones are not held to any name.
const HTTP: &[u8] = b"http/1.1";

/// Returns the client's side of TLS, towards trunks: certificates of the authorities that the system trusts (or those of
/// `SSL_CERT_FILE`), which must have the host of the address.
///
/// # Panics
/// Never: the provider knows the versions that it is built with.
pub(crate) fn client() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the versions of rustls");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Where a certificate chain and its key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// The configuration's table: `http` or `sip`.
    pub(crate) table: &'static str,
    /// The chain, the server's own certificate first.
    pub(crate) cert: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
}

impl Files {
    /// Reads a pair that fits.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the configuration key of the file that is wrong.
    pub(crate) fn load(&self) -> Result<Arc<CertifiedKey>, Failure> {
        self.read().and_then(|contents| self.parse(&contents))
    }

    fn read(&self) -> Result<Contents, Failure> {
        Ok(Contents {
            cert: self.read_one("tls_cert", &self.cert)?,
            key: self.read_one("tls_key", &self.key)?,
        })
    }

    fn read_one(&self, name: &str, path: &Path) -> Result<Vec<u8>, Failure> {
        let mut octets = Vec::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut octets));
        match read.map(u64::try_from) {
            Ok(Ok(0..=FILE_BYTES_MAX)) => Ok(octets),
            Ok(_) => Err(self.wrong(name, path, "is too large")),
            Err(error) => Err(self.wrong(name, path, format_args!("can't be read: {error}"))),
        }
    }

    fn parse(&self, contents: &Contents) -> Result<Arc<CertifiedKey>, Failure> {
        let wrong_cert = |what: &dyn fmt::Display| self.wrong("tls_cert", &self.cert, what);
        let wrong_key = |what: &dyn fmt::Display| self.wrong("tls_key", &self.key, what);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&contents.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong_cert(&format_args!("is no PEM: {error}")))?;
        if chain.is_empty() {
            return Err(wrong_cert(&"holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            // The error may repeat a part of the file.
            .map_err(|_| wrong_key(&"holds no private key in PEM"))?;
        CertifiedKey::from_der(chain, key, &provider())
            .map(Arc::new)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => wrong_key(&format_args!(
                    "does not belong to the certificate in {}",
                    self.cert.display()
                )),
                rustls::Error::InvalidCertificate(_) => {
                    wrong_cert(&format_args!("can't be used: {error}"))
                }
                _ => wrong_key(&format_args!("can't be used: {error}")),
            })
    }

    fn wrong(&self, name: &str, path: &Path, what: impl fmt::Display) -> Failure {
        Failure::key(
            &format!("{}.{name}", self.table),
            format_args!("{} {what}", path.display()),
        )
    }
}

/// What both files hold.
#[derive(Hash)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Contents {
    /// Tells one content from another, without keeping the key.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// A certificate that is in use, and its files.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: Files,
    /// What new connections get, and what it was made of.
    current: RwLock<(u64, Arc<CertifiedKey>)>,
}

impl Certificate {
    /// Loads it.
    ///
    /// # Errors
    /// Those of [`Files::load`].
    pub(crate) fn load(files: Files) -> Result<Arc<Self>, Failure> {
        let contents = files.read()?;
        let pair = files.parse(&contents)?;
        Ok(Arc::new(Self {
            files,
            current: RwLock::new((contents.fingerprint(), pair)),
        }))
    }

    /// Makes the server's side of TLS 1.2 and 1.3 for HTTP. It always has the newest certificate.
    ///
    /// # Errors
    /// When the cryptographic back end offers no version of TLS.
    pub(crate) fn http(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Failure> {
        let mut server = self.server()?;
        server.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Arc::new(server))
    }

    /// Makes the same for SIP.
    ///
    /// # Errors
    /// Those of [`Certificate::http`].
    pub(crate) fn sip(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Failure> {
        self.server().map(Arc::new)
    }

    fn server(self: &Arc<Self>) -> Result<ServerConfig, Failure> {
        let server = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::failed("TLS", error))?;
        let resolver: Arc<dyn ResolvesServerCert> = self.clone();
        Ok(server.with_no_client_auth().with_cert_resolver(resolver))
    }

    /// Reads the files again; gives whether there was something new.
    ///
    /// # Errors
    /// Those of [`Files::load`]; the old certificate stays in use.
    fn reload(&self) -> Result<bool, Failure> {
        let contents = self.files.read()?;
        let fingerprint = contents.fingerprint();
        let is_known = {
            let current = self.current.read();
            current.unwrap_or_else(PoisonError::into_inner).0 == fingerprint
        };
        if is_known {
            return Ok(false);
        }
        let pair = self.files.parse(&contents)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = (fingerprint, pair);
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.1))
    }
}

/// The signal by which an operator asks for new certificates. Without it SIGHUP would end the program.
///
/// # Errors
/// When the system refuses it.
pub(crate) fn hang_up() -> Result<Signal, Failure> {
    signal(SignalKind::hangup()).map_err(|error| Failure::failed("SIGHUP can't be received", error))
}

/// Reads the files again and again, until the stop. Each new trouble is told once.
pub(crate) async fn watch(
    certificates: Vec<Arc<Certificate>>,
    mut hang_up: Signal,
    stop: CancellationToken,
) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut troubles = vec![None; certificates.len()];
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // Who asks is told again what is wrong.
            _ = hang_up.recv() => troubles.fill(None),
            _ = ticks.tick() => {}
        }
        for (certificate, trouble) in certificates.iter().zip(&mut troubles) {
            let certificate = Arc::clone(certificate);
            let path = certificate.files.cert.clone();
            // A file may be on a slow disk.
            let reloaded = tokio::task::spawn_blocking(move || certificate.reload()).await;
            let failure = match reloaded {
                Ok(Ok(is_new)) => {
                    if is_new {
                        tracing::info!(certificate = %path.display(), "a new certificate is in use");
                    }
                    None
                }
                Ok(Err(failure)) => Some(failure),
                Err(error) => Some(Failure::failed("Reading a certificate", error)),
            };
            if let Some(failure) = &failure
                && trouble.as_ref() != Some(failure)
            {
                tracing::error!(%failure, "a new certificate can't be used; the old one stays in use");
            }
            *trouble = failure;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipgraph_testkit::certificates::Authority;
    use tempfile::TempDir;

    fn folder() -> (TempDir, Files) {
        let folder = TempDir::with_prefix("sipgraph-tls").unwrap();
        let files = Files {
            table: "sip",
            cert: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        (folder, files)
    }

    fn put(files: &Files, authority: &Authority) {
        let issued = authority.issue(&["sip.example"]);
        std::fs::write(&files.cert, issued.certificate_pem).unwrap();
        std::fs::write(&files.key, issued.key_pem).unwrap();
    }

    #[test]
    fn a_wrong_file_is_named_by_its_key() {
        let (_folder, files) = folder();
        let authority = Authority::new();
        let refused = |key: &str, why: &str| {
            let failure = files.load().unwrap_err();
            let text = failure.to_string();
            assert!(matches!(failure, Failure::Usage(_)), "{failure:?}");
            assert!(text.starts_with(key) && text.contains(why), "{text}");
        };
        refused("sip.tls_cert: ", "can't be read");
        put(&files, &authority);
        assert!(files.load().is_ok());
        let good = std::fs::read(&files.cert).unwrap();
        for (content, why) in [
            (&b""[..], "holds no certificate"),
            (b"hello", "holds no certificate"),
            (
                b"-----BEGIN CERTIFICATE-----\nMDA=\n-----END CERTIFICATE-----\n",
                "can't be used",
            ),
            (&vec![b'\n'; 1024 * 1024 + 1], "is too large"),
        ] {
            std::fs::write(&files.cert, content).unwrap();
            refused("sip.tls_cert: ", why);
        }
        std::fs::write(&files.cert, good).unwrap();
        std::fs::write(&files.key, authority.issue(&["sip.example"]).key_pem).unwrap();
        refused("sip.tls_key: ", "does not belong to the certificate");
        std::fs::write(&files.key, "hello").unwrap();
        refused("sip.tls_key: ", "holds no private key");
    }

    #[test]
    fn a_new_pair_is_taken_and_a_broken_one_is_not() {
        let (_folder, files) = folder();
        let authority = Authority::new();
        put(&files, &authority);
        let certificate = Certificate::load(files.clone()).unwrap();
        let first = certificate.current.read().unwrap().1.clone();
        let in_use = || certificate.current.read().unwrap().1.clone();
        assert_eq!(certificate.reload(), Ok(false));
        std::fs::write(&files.key, "hello").unwrap();
        assert!(certificate.reload().is_err());
        assert!(Arc::ptr_eq(&in_use(), &first));
        put(&files, &authority);
        assert_eq!(certificate.reload(), Ok(true));
        assert_ne!(in_use().cert, first.cert);
        assert_eq!(certificate.reload(), Ok(false));
    }
}
