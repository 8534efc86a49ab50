//! Whether a certificate is one that those who trust an authority take today, as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Why a certificate would not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A PEM file cannot be read.
    #[error("cannot use {path}: {message}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The authority did not issue it, not for this name, or not for today.
    #[error("{certificate} is not valid under {authority}: {message}")]
    Refused {
        /// The certificate's file.
        certificate: PathBuf,
        /// The authority's.
        authority: PathBuf,
        /// Why.
        message: String,
    },
}

/// Whether the certificate in a file (PEM, with what leads to the authority behind it) was issued by an authority, for a DNS name, and
/// is valid now.
pub fn check_issued(authority: &Path, certificate: &Path, name: &str) -> Result<(), ChainError> {
    let refused = |message: String| ChainError::Refused {
        certificate: certificate.to_path_buf(),
        authority: authority.to_path_buf(),
        message,
    };
    let chain = read(certificate)?;
    let Some((leaf, others)) = chain.split_first() else {
        return Err(refused("there is no certificate in it".to_owned()));
    };
    let mut roots = RootCertStore::empty();
    for root in read(authority)? {
        roots.add(root).map_err(|error| refused(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let name = ServerName::try_from(name).map_err(|error| refused(error.to_string()))?;
    verifier
        .verify_server_cert(leaf, others, &name, &[], UnixTime::now())
        .map(|_| ())
        .map_err(|error| refused(error.to_string()))
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| ChainError::Pem {
            path: path.to_path_buf(),
            message: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::Authority;

    #[test]
    fn a_certificate_of_another_authority_or_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let authority = Authority::create("c1").unwrap();
        authority.save(&path("ca.pem"), &path("ca.key")).unwrap();
        let other = Authority::create("c1").unwrap();
        other.save(&path("other.pem"), &path("other.key")).unwrap();
        let issued = authority.issue(&["proxy.c1.test".to_owned()]).unwrap();
        issued.save(&path("node.pem"), &path("node.key")).unwrap();

        check_issued(&path("ca.pem"), &path("node.pem"), "proxy.c1.test").unwrap();
        for (authority, name) in [("other.pem", "proxy.c1.test"), ("ca.pem", "mailstore.c1.test")] {
            let error = check_issued(&path(authority), &path("node.pem"), name).unwrap_err();
            assert!(matches!(error, ChainError::Refused { .. }), "{error}");
        }
        std::fs::write(path("empty.pem"), "").unwrap();
        let empty = check_issued(&path("ca.pem"), &path("empty.pem"), "proxy.c1.test").unwrap_err();
        assert!(empty.to_string().contains("no certificate in it"), "{empty}");
        let missing = check_issued(&path("ca.pem"), &path("missing.pem"), "proxy.c1.test").unwrap_err();
        assert!(missing.to_string().contains("missing.pem"), "{missing}");
    }
}
