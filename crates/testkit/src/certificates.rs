//! A certificate authority for TLS tests; its keys exist only in the memory and temporary folders of one test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A certificate authority that signs server certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A server certificate and its private key, both as PEM text.
pub struct ServerCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

impl Authority {
    /// Makes a new authority with a key of its own.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "sipgraph test authority");
        let key = KeyPair::generate().expect("a key pair is made");
        let issuer = CertifiedIssuer::self_signed(params, key)
            .expect("an authority signs its own certificate");
        Self { issuer }
    }

    /// The authority's own certificate as PEM text: what a client is told to trust.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a server certificate for `names` (host names or IP addresses).
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> ServerCertificate {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().expect("a key pair is made");
        let certificate = CertificateParams::new(names)
            .expect("test names are valid")
            .signed_by(&key, &self.issuer)
            .expect("the authority signs");
        ServerCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
