//! The internal certificate authority, and the certificates that it issues.
//!
//! All keys are ECDSA P-256. Key files are readable by their owner alone.

mod chain;
pub mod request;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use chain::{ChainError, check_issued};
use request::Request;

/// Certificates cannot be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The generator refused.
    #[error("cannot make the certificate")]
    Generate(#[from] rcgen::Error),
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others than its owner may read an authority's key.
    #[error("{0} can be read by others than its owner: run `chmod 600` on it")]
    Exposed(PathBuf),
    /// The two files of an authority are of two authorities.
    #[error("{key} is not the key of the certificate {certificate}")]
    Unpaired {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// What should be a request is none, or is not signed with the key that it names.
    #[error("this is no request for a certificate of an ECDSA P-256 key, signed with it")]
    Request,
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    key_pem: String,
}

impl Authority {
    /// A new authority for a cluster.
    pub fn create(cluster: &str) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Rookery cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let (pem, key_pem) = (certificate.pem(), key.serialize_pem());
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
            key_pem,
        })
    }

    /// The authority whose certificate and key lie in two files. Where the first has several certificates, as while one authority takes
    /// the place of another, it is the one that the key is of.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| CertificateError::File {
                path: path.to_path_buf(),
                source,
            })
        };
        let (pem, key_pem) = (read(certificate)?, read(key)?);
        let pair = KeyPair::from_pem(&key_pem)?;
        let issuer = match certificates(&pem).into_iter().find(|der| is_of(der, &pair)) {
            Some(own) => Issuer::from_ca_cert_der(&own, pair)?,
            None => Issuer::from_ca_cert_pem(&pem, pair)?,
        };
        Ok(Self { issuer, pem, key_pem })
    }

    /// The same for a process that others call: refuses a key that others may read, and one of another authority. A group may
    /// read it where the process does so as its member, as it does of secrets that Kubernetes mounts.
    pub fn load_private(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let file = |source| CertificateError::File {
            path: key.to_path_buf(),
            source,
        };
        let metadata = fs::metadata(key).map_err(file)?;
        let process = fs::metadata("/proc/self").map_err(file)?.uid();
        if is_exposed(metadata.mode(), metadata.uid(), process) {
            return Err(CertificateError::Exposed(key.to_path_buf()));
        }
        let authority = Self::load(certificate, key)?;
        if !authority.is_paired() {
            return Err(CertificateError::Unpaired {
                certificate: certificate.to_path_buf(),
                key: key.to_path_buf(),
            });
        }
        Ok(authority)
    }

    /// Whether a certificate is that of the key.
    fn is_paired(&self) -> bool {
        certificates(&self.pem)
            .iter()
            .any(|der| is_of(der, self.issuer.key()))
    }

    /// Its certificate, PEM, and those that were with it: whom nodes are to trust.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// Writes certificate and key.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
        write(certificate, self.pem.as_bytes(), 0o644)?;
        write(key, self.key_pem.as_bytes(), 0o600)
    }

    /// A certificate by host names and IP addresses, for both ends of a connection.
    pub fn issue(&self, hosts: &[String]) -> Result<Issued, CertificateError> {
        let key = KeyPair::generate()?;
        let certificate = params(hosts)?.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The same for a key that is elsewhere, PEM. Of the request the key alone counts: who is named is the caller's to say.
    pub fn issue_for(&self, request: &Request, hosts: &[String]) -> Result<String, CertificateError> {
        Ok(params(hosts)?.signed_by(request.key(), &self.issuer)?.pem())
    }
}

/// All certificates of a text.
fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter_map(Result::ok)
        .collect()
}

/// Whether a certificate is that of a key.
fn is_of(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info().as_slice())
}

/// What a certificate by these names says.
fn params(hosts: &[String]) -> Result<CertificateParams, CertificateError> {
    let common_name = hosts.first().map_or("rookery", String::as_str);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    for host in hosts {
        params.subject_alt_names.push(match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.as_str().try_into()?),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

impl Issued {
    /// Writes the key and then the certificate: where there is no certificate, there is no pair.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
        if let Err(source) = fs::remove_file(certificate)
            && source.kind() != std::io::ErrorKind::NotFound
        {
            let path = certificate.to_path_buf();
            return Err(CertificateError::File { path, source });
        }
        write(key, self.key.as_bytes(), 0o600)?;
        write(certificate, self.certificate.as_bytes(), 0o644)
    }
}

/// When a certificate ends, unix seconds; nothing when it cannot be understood.
pub fn ends(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let failed = |source| CertificateError::File {
        path: path.to_path_buf(),
        source,
    };
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// Whether others than a process may use a file of this mode and owner.
fn is_exposed(mode: u32, owner: u32, process: u32) -> bool {
    let forbidden = if owner == process { 0o077 } else { 0o037 };
    mode & forbidden != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_for_its_owner_or_comes_through_a_group() {
        for (mode, owner, exposed) in [
            (0o100_600, 7, false),
            (0o100_400, 7, false),
            (0o100_440, 7, true),
            (0o100_604, 7, true),
            (0o100_440, 0, false),
            (0o100_640, 0, false),
            (0o100_660, 0, true),
            (0o100_444, 0, true),
        ] {
            assert_eq!(is_exposed(mode, owner, 7), exposed, "{mode:o} of {owner}");
        }
    }

    #[test]
    fn an_authority_comes_back_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        Authority::create("c1").unwrap().save(&certificate, &key).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let authority = Authority::load(&certificate, &key).unwrap();
        assert_eq!(authority.certificate(), fs::read_to_string(&certificate).unwrap());
        let issued = authority
            .issue(&["proxy-1.proxy.c1.rookery.internal".into()])
            .unwrap();
        assert!(issued.certificate.contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn an_authority_is_found_among_others() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        let (old, new) = (Authority::create("c1").unwrap(), Authority::create("c1").unwrap());
        new.save(&certificate, &key).unwrap();
        let bundle = format!("{}{}", old.certificate(), new.certificate());
        fs::write(&certificate, &bundle).unwrap();
        let loaded = Authority::load_private(&certificate, &key).unwrap();
        assert_eq!(loaded.certificate(), bundle);
        let issued = loaded.issue(&["a.test".into()]).unwrap().certificate;
        let leaf = CertificateDer::from_pem_slice(issued.as_bytes()).unwrap();
        let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
        for (authority, signed) in [(&old, false), (&new, true)] {
            let der = CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap();
            let (_, parsed) = X509Certificate::from_der(&der).unwrap();
            let by = leaf.verify_signature(Some(parsed.public_key())).is_ok();
            assert_eq!(by, signed);
        }
    }

    #[test]
    fn a_key_that_others_may_read_or_of_another_authority_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        Authority::create("c1").unwrap().save(&certificate, &key).unwrap();
        assert!(Authority::load_private(&certificate, &key).is_ok());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Authority::load_private(&certificate, &key).err().unwrap();
        assert!(matches!(refused, CertificateError::Exposed(_)), "{refused}");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let other = Authority::create("c1").unwrap();
        other
            .save(&certificate, &folder.path().join("other.key"))
            .unwrap();
        let refused = Authority::load_private(&certificate, &key).err().unwrap();
        assert!(matches!(refused, CertificateError::Unpaired { .. }), "{refused}");
    }
}
