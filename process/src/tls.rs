//! TLS for listeners that mail clients connect to, with certificates that are read again when they change.
//!
//! TLS 1.2 and 1.3 only (RFC 8997 deprecates older ones for mail).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider, sign};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot use {path}: {message}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Certificate and key do not go together, or TLS cannot be set up.
    #[error("cannot set up TLS with {path}: {source}")]
    Setup {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// A certificate with its key, read again when the files change.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads certificate chain and key, both PEM.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Arc::new(Self {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            current,
        }))
    }

    /// Reads the files again whenever they change, until cancelled. What cannot be used is logged, and the certificate
    /// that works stays.
    pub async fn follow(self: Arc<Self>, cancel: CancellationToken) {
        let mut seen = self.stamp();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now = self.stamp();
            if now != seen {
                seen = now;
                self.reload();
            }
        }
    }

    /// Reads the files again.
    pub fn reload(&self) {
        match read(&self.certificate, &self.key) {
            Ok(key) => {
                *self.current.write() = Arc::new(key);
                tracing::info!(certificate = %self.certificate.display(), "certificate read again");
            }
            Err(error) => tracing::error!(%error, "the new certificate cannot be used; the old one stays"),
        }
    }

    /// When the certificate ends that is in use now, unix seconds.
    pub fn ends(&self) -> Option<i64> {
        crate::certificates::ends(self.current.read().cert.first()?)
    }

    fn stamp(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|held| held.modified()).ok())
    }

    /// What listeners accept connections with.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|source| TlsError::Setup {
                path: self.certificate.clone(),
                source,
            })?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        // A client that comes back is spared the signature, which costs most of a handshake.
        config.ticketer = Ticketer::new().map_err(|source| TlsError::Setup {
            path: self.certificate.clone(),
            source,
        })?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let failed = |path: &Path, message: String| TlsError::Pem {
        path: path.to_path_buf(),
        message,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| failed(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(certificate, "there is no certificate in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let setup = |source| TlsError::Setup {
        path: certificate.to_path_buf(),
        source,
    };
    let signing = sign::any_supported_type(&private).map_err(setup)?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(setup)?;
    Ok(certified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::Authority;

    #[test]
    fn a_changed_certificate_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
        let authority = Authority::create("c1").unwrap();
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        authority.issue(&hosts).unwrap().save(&certificate, &key).unwrap();
        let held = Certificate::load(&certificate, &key).unwrap();
        let first = held.current.read().cert[0].clone();
        authority.issue(&hosts).unwrap().save(&certificate, &key).unwrap();
        held.reload();
        let second = held.current.read().cert[0].clone();
        assert_ne!(first, second);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(held.ends().unwrap() > now.as_secs() as i64);
        std::fs::write(&certificate, "half a file").unwrap();
        held.reload();
        assert_eq!(held.current.read().cert[0], second);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
        let authority = Authority::create("c1").unwrap();
        authority
            .issue(&["a.test".into()])
            .unwrap()
            .save(&certificate, &key)
            .unwrap();
        authority
            .issue(&["a.test".into()])
            .unwrap()
            .save(&folder.path().join("other.pem"), &key)
            .unwrap();
        assert!(Certificate::load(&certificate, &key).is_err());
    }
}
