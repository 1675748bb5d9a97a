//! TLS of a connection to a broker or a platform: verification of the other side, and the gateway's
//! own certificate.
//!
//! In: an upstream's certificates and key. Out: rumqttc's transport, the end of each certificate's
//! validity, and an explanation for people why a broker was not trusted. Touches: the files that
//! the configuration names, and the operating system's store of authorities.
//!
//! Verification is strict even if the clock is wrong. A gateway whose clock fell back to 1970
//! trusts no broker until the clock is right, and its message names the clock as a possible cause.
//! An authority that has expired causes a warning only, because rustls trusts it without a check of
//! its validity.

#[cfg(test)]
mod tests;
mod words;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rumqttc::{TlsConfiguration, Transport};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::state::{Certificate, CertificateOf};
use crate::config::{Broker, PlatformUrl, Secret, SecretError, Tls};

/// Maximum size of a file of certificates. The operating system's whole store has about 250 KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{key} {}: {fault}", path.display())]
    File { key: &'static str, path: PathBuf, fault: FileFault },
    #[error("key: {0}")]
    Secret(#[from] SecretError),
    // The message does not show the file's content, because that may be the key.
    #[error(
        "key {place}: holds no private key that can be used; it must be PEM (PKCS#8, PKCS#1 or SEC1) without a \
         passphrase, RSA, ECDSA or Ed25519"
    )]
    NoKey { place: String },
    #[error("key {place} does not belong to cert {}: set a key and a certificate that were made together", cert.display())]
    Mismatch { place: String, cert: PathBuf },
    #[error(
        "the operating system trusts no authority: install ca-certificates, or name the broker's authority with ca"
    )]
    NoAuthority,
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("{0}; put the file there, readable by the daemon")]
    Unreadable(#[from] io::Error),
    #[error("more than {MAX_FILE_BYTES} bytes; name a file of certificates")]
    TooLarge,
    #[error(
        "holds no certificate in PEM; it must have a complete -----BEGIN CERTIFICATE----- block"
    )]
    NoCertificate,
    #[error("certificate {number} in it is damaged; copy the file again")]
    Damaged { number: usize },
}

impl FileFault {
    fn of(self, key: &'static str, path: &Path) -> TlsError {
        TlsError::File { key, path: path.to_owned(), fault: self }
    }
}

/// The other side of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// It is a platform that does not speak MQTT, and no broker.
    pub is_platform: bool,
}

impl From<&Broker> for Peer {
    fn from(broker: &Broker) -> Peer {
        let Broker { host, port, tls } = broker.clone();
        Peer { host, port, tls, is_platform: false }
    }
}

impl From<&PlatformUrl> for Peer {
    fn from(url: &PlatformUrl) -> Peer {
        Peer { host: url.host(), port: url.port(), tls: url.tls(), is_platform: true }
    }
}

/// The TLS of one upstream's connections. It remembers the broker's last certificate.
pub struct Safety {
    tls: Tls,
    shown: Arc<Mutex<Option<Shown>>>,
}

/// A broker's certificate from the last handshake.
#[derive(Clone, Debug)]
struct Shown {
    until: Timestamp,
    from: Timestamp,
    issuer: String,
    /// Whether it names itself as its issuer.
    own_issuer: bool,
    /// Whether a trusted authority signed it, also if it has expired since.
    trusted: bool,
}

impl Safety {
    pub fn new(tls: &Tls) -> Safety {
        Safety { tls: tls.clone(), shown: Arc::default() }
    }

    /// Returns the transport of a connection to `broker`. The files are read each time, so that a
    /// renewed certificate needs no restart.
    pub fn transport(&self, broker: &Broker) -> Result<Transport, TlsError> {
        Ok(match self.config(broker.tls)? {
            Some(config) => Transport::tls_with_config(TlsConfiguration::Rustls(config)),
            None => Transport::tcp(),
        })
    }

    /// Returns rustls' configuration; `None` for a connection without TLS.
    pub fn config(&self, tls: bool) -> Result<Option<Arc<ClientConfig>>, TlsError> {
        if !tls {
            return Ok(None);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let roots = Arc::new(self.roots()?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let verifier = verifier.map_err(|_| TlsError::NoAuthority)?;
        let verifier = RecordingVerifier { verifier, shown: self.shown.clone() };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &self.tls.own {
            None => builder.with_no_client_auth(),
            Some((cert, secret)) => {
                let (place, key) = private_key(secret)?;
                let chain = certificates_in("cert", cert)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(_) => {
                        TlsError::Mismatch { place, cert: cert.clone() }
                    }
                    rustls::Error::InvalidCertificate(_) => {
                        FileFault::Damaged { number: 1 }.of("cert", cert)
                    }
                    _ => TlsError::NoKey { place },
                })?
            }
        };
        Ok(Some(Arc::new(config)))
    }

    /// Returns the certificates in files and, after the first handshake, the broker's own, each
    /// with the end of its validity. An unreadable file is left out. [`Safety::transport`] says
    /// why.
    pub fn certificates(&self) -> Vec<Certificate> {
        let Tls { ca, own } = &self.tls;
        let (ca, cert) = (ca.as_ref(), own.as_ref().map(|(cert, _)| cert));
        let ends_in = |key, path: Option<&PathBuf>| Some(ends(&certificates_in(key, path?).ok()?));
        // Of several authorities in a file, the last end counts. In the gateway's file
        // the first certificate is its own, and the authorities that signed it follow.
        let authority = ends_in("ca", ca).and_then(|ends| ends.into_iter().max());
        let gateway = ends_in("cert", cert).and_then(|ends| ends.into_iter().next());
        let broker = self.shown().filter(|shown| shown.trusted).map(|shown| shown.until);
        let all = [
            (CertificateOf::Authority, ca, authority),
            (CertificateOf::Gateway, cert, gateway),
            (CertificateOf::Broker, None, broker),
        ];
        let known = all.into_iter().filter_map(|(whose, path, until)| {
            Some(Certificate { whose, path: path.cloned(), until: until? })
        });
        known.collect()
    }

    fn shown(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let Some(ca) = &self.tls.ca else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return if roots.is_empty() { Err(TlsError::NoAuthority) } else { Ok(roots) };
        };
        for (i, certificate) in certificates_in("ca", ca)?.into_iter().enumerate() {
            let damaged = |_| FileFault::Damaged { number: i + 1 }.of("ca", ca);
            roots.add(certificate).map_err(damaged)?;
        }
        Ok(roots)
    }
}

/// Returns all certificates of a file, at least one.
fn certificates_in(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates(path).map_err(|fault| fault.of(key, path))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let mut pem = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut pem)?;
    if pem.len() as u64 > MAX_FILE_BYTES {
        return Err(FileFault::TooLarge);
    }
    let mut all = Vec::new();
    for (i, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let certificate = certificate.ok().filter(|der| X509Certificate::from_der(der).is_ok());
        all.push(certificate.ok_or(FileFault::Damaged { number: i + 1 })?);
    }
    if all.is_empty() { Err(FileFault::NoCertificate) } else { Ok(all) }
}

/// Returns the path of a private key, and the key.
fn private_key(secret: &Secret) -> Result<(String, PrivateKeyDer<'static>), TlsError> {
    let place = secret.path()?.map(|path| path.display().to_string()).unwrap_or_default();
    let pem = secret.read()?;
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
        Ok(key) => Ok((place, key)),
        Err(_) => Err(TlsError::NoKey { place }),
    }
}

/// Returns the end of validity of each certificate.
fn ends(all: &[CertificateDer<'_>]) -> Vec<Timestamp> {
    all.iter().filter_map(|der| Shown::of(der, false)).map(|c| c.until).collect()
}

impl Shown {
    /// Reads a certificate. Returns `None` if it cannot be parsed.
    fn of(der: &CertificateDer<'_>, trusted: bool) -> Option<Shown> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        // The end of the year 9999 means no end (RFC 5280). jiff's maximum is some hours earlier.
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        // An unknown issuer may contain control characters, which would steer a terminal.
        let issuer = certificate.issuer().to_string();
        let issuer = issuer.chars().filter(|c| !c.is_control()).take(100).collect();
        Some(Shown {
            until: time(validity.not_after.timestamp()),
            from: time(validity.not_before.timestamp()),
            issuer,
            own_issuer: certificate.issuer() == certificate.subject(),
            trusted,
        })
    }
}

/// Verifies as rustls does, and records the broker's certificate.
#[derive(Debug)]
struct RecordingVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    shown: Arc<Mutex<Option<Shown>>>,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let mut shown = Shown::of(end_entity, found.is_ok());
        if let Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) = &found
            && let Some(shown) = &mut shown
        {
            // rustls checks the validity before the signature. So the signature of an expired
            // certificate is verified at a time when it was valid.
            let while_valid = u64::try_from(shown.until.as_second()).unwrap_or_default();
            let then = UnixTime::since_unix_epoch(Duration::from_secs(while_valid));
            let (names, ocsp) = (server_name, ocsp_response);
            let verified =
                self.verifier.verify_server_cert(end_entity, intermediates, names, ocsp, then);
            shown.trusted = verified.is_ok();
        }
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        found
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
