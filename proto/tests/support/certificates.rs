//! Certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rookery_proto::Role;
use rookery_proto::remote::NodeTls;
use rookery_proto::remote::names::NodeName;

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn issue(&self, names: &[String]) -> Issued {
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn node(&self, node: &str, role: Role, cluster: &str) -> NodeTls {
        self.node_with(&NodeName::new(node, role, cluster).unwrap().dns_names())
    }

    pub fn node_with(&self, names: &[String]) -> NodeTls {
        let issued = self.issue(names);
        let (certificate, key) = (issued.certificate.as_bytes(), issued.key.as_bytes());
        NodeTls::from_pem(self.pem().as_bytes(), certificate, key).unwrap()
    }
}
