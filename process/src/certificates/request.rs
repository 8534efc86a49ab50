//! A request for a certificate: made where the private key is and stays, checked where it is issued.

use std::fs;
use std::path::Path;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateSigningRequestDer;

use super::{CertificateError, write};

/// The longest request, in bytes. Ours have about 200.
pub const REQUEST_BYTES_MAX: usize = 4_096;

/// A request whose signature is that of the key which it names.
pub struct Request(CertificateSigningRequestParams);

impl Request {
    /// Reads and checks a request (DER).
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > REQUEST_BYTES_MAX {
            return Err(CertificateError::Request);
        }
        let read = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map_err(|_| CertificateError::Request)?;
        if read.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(CertificateError::Request);
        }
        Ok(Self(read))
    }

    /// SHA-256 of the public key, by which a repeated request is known again.
    pub fn fingerprint(&self) -> Vec<u8> {
        let key = self.0.public_key.subject_public_key_info();
        digest(&SHA256, &key).as_ref().to_vec()
    }

    pub(super) fn key(&self) -> &impl PublicKeyData {
        &self.0.public_key
    }
}

/// The private key (PEM) in a file, which is made, readable by its owner alone, when it is not there.
pub fn read_or_make_key(path: &Path) -> Result<String, CertificateError> {
    let file = |source| CertificateError::File {
        path: path.to_path_buf(),
        source,
    };
    match fs::read_to_string(path) {
        Ok(pem) => Ok(pem),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let pem = KeyPair::generate()?.serialize_pem();
            // Whole or not at all: written beside, then renamed.
            let beside = path.with_extension("key-new");
            write(&beside, pem.as_bytes(), 0o600)?;
            fs::rename(&beside, path).map_err(file)?;
            Ok(pem)
        }
        Err(error) => Err(file(error)),
    }
}

/// The request (DER) for a certificate of a private key (PEM).
pub fn make(key: &str) -> Result<Vec<u8>, CertificateError> {
    let request = CertificateParams::default().serialize_request(&KeyPair::from_pem(key)?)?;
    Ok(request.der().to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;
    use crate::certificates::Authority;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    #[test]
    fn a_request_brings_its_key_and_none_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let key = read_or_make_key(&path).unwrap();
        assert_eq!(
            read_or_make_key(&path).unwrap(),
            key,
            "the same when it is asked for again"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let asked = CertificateParams::new(vec!["directory.example.org".to_owned()]).unwrap();
        let asked = asked
            .serialize_request(&KeyPair::from_pem(&key).unwrap())
            .unwrap();
        let request = Request::read(asked.der()).unwrap();
        let plain = Request::read(&make(&key).unwrap()).unwrap();
        assert_eq!(request.fingerprint(), plain.fingerprint());
        let authority = Authority::create("c1").unwrap();
        let issued = authority
            .issue_for(&request, &["mailstore-4.test".into()])
            .unwrap();
        let der = CertificateDer::from_pem_slice(issued.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        assert!(format!("{names:?}").contains("mailstore-4.test"));
        assert_eq!(
            certificate.public_key().raw,
            KeyPair::from_pem(&key).unwrap().subject_public_key_info()
        );
    }

    #[test]
    fn what_is_no_request_or_is_not_signed_with_its_key_is_refused() {
        let key = KeyPair::generate().unwrap().serialize_pem();
        let good = make(&key).unwrap();
        assert!(Request::read(&good).is_ok());
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        for bad in [
            &b""[..],
            b"junk",
            &good[..good.len() - 1],
            &changed,
            &[0; REQUEST_BYTES_MAX + 1],
        ] {
            assert!(matches!(Request::read(bad), Err(CertificateError::Request)));
        }
    }
}
