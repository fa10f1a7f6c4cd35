//! The client's side of TLS: it trusts one authority of the test, and shows which certificate it got.

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use sipgraph_testkit::certificates::Authority;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Any connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The name in the certificates of the tests.
pub(crate) const NAME: &str = "sip.example.test";

/// Whom a client trusts.
#[derive(Clone)]
pub(crate) struct Trust(TlsConnector);

impl Trust {
    /// Trusts an authority and nobody else.
    pub(crate) fn in_authority(authority: &Authority) -> Self {
        let pem = authority.certificate_pem();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Shakes hands over a connection.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(NAME).unwrap();
        self.0.connect(name, stream).await
    }

    /// The certificate that a listener shows now.
    pub(crate) async fn certificate(&self, listener: SocketAddr) -> Vec<u8> {
        let stream = self
            .connect(TcpStream::connect(listener).await.unwrap())
            .await
            .unwrap();
        let (_, session) = stream.get_ref();
        session.peer_certificates().unwrap()[0].to_vec()
    }
}

/// Writes a fresh certificate and key for [`NAME`] and this machine as `cert.pem` and `key.pem`, the authority's as `ca.pem`.
pub(crate) fn put_certificate(authority: &Authority, folder: &Path) {
    let issued = authority.issue(&[NAME, "localhost", "127.0.0.1"]);
    for (file, text) in [
        ("ca.pem", authority.certificate_pem()),
        ("cert.pem", issued.certificate_pem),
        ("key.pem", issued.key_pem),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
}
