//! The internal certificate authority, and the certificates that it issues.
//!
//! All keys are ECDSA P-256. Key files are readable by their owner alone.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

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

    /// The authority whose certificate and key lie in two files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| CertificateError::File {
                path: path.to_path_buf(),
                source,
            })
        };
        let (pem, key_pem) = (read(certificate)?, read(key)?);
        let issuer = Issuer::from_ca_cert_pem(&pem, KeyPair::from_pem(&key_pem)?)?;
        Ok(Self { issuer, pem, key_pem })
    }

    /// Its certificate, PEM.
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
        let common_name = hosts.first().map_or("rookery", String::as_str);
        let key = KeyPair::generate()?;
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
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_comes_back_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        Authority::create("c1").unwrap().save(&certificate, &key).unwrap();
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let authority = Authority::load(&certificate, &key).unwrap();
        assert_eq!(authority.certificate(), fs::read_to_string(&certificate).unwrap());
        let issued = authority
            .issue(&["proxy-1.proxy.c1.rookery.internal".into()])
            .unwrap();
        assert!(issued.certificate.contains("BEGIN CERTIFICATE"));
    }
}
