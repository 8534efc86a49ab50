//! Mutual TLS between the nodes of one cluster: a node's own certificate, and who the other end is.
//!
//! TLS 1.3 alone, and no certificate authority but the cluster's own: one, or those of before and after a change of it. A node may be
//! given another certificate while it runs: connections that are made from then on are made with that.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::names::{self, NodeName};
use crate::call::{Peer, Role};

/// Why certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or not what the place needs.
    #[error("the {what} cannot be read as PEM")]
    Pem {
        /// Which of the three.
        what: &'static str,
        /// The parser's reason.
        source: rustls_pki_types::pem::Error,
    },
    /// Nothing of the kind in it.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// The certificate names no node of a cluster.
    #[error(
        "the certificate names no node: it needs a DNS name <node>.<role>.<cluster>.{}",
        names::SUFFIX
    )]
    Unnamed,
    /// rustls refuses them.
    #[error("the certificate, its key and the CA do not go together")]
    Rustls(#[from] rustls::Error),
    /// Not an address to connect to.
    #[error("{address} cannot be connected to: it must be host:port")]
    Endpoint {
        /// What was given.
        address: String,
        /// The transport's reason.
        source: tonic::transport::Error,
    },
    /// rustls refuses the CA.
    #[error("the CA certificate cannot verify others")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// A new certificate must be of the same node.
    #[error("the certificate is of the {} {} of cluster {}, which this node is not", .0.role.as_str(), .0.node, .0.cluster)]
    OtherNode(NodeName),
}

/// What a node needs to speak with the others of its cluster. Clones share what is held.
#[derive(Clone)]
pub struct NodeTls {
    name: NodeName,
    held: Arc<RwLock<Arc<Held>>>,
}

/// A certificate that goes with its key and its CA.
struct Held {
    ca_pem: Bytes,
    certificate_pem: Bytes,
    key_pem: Bytes,
    fingerprint: Bytes,
    /// Unix seconds.
    expires_at: i64,
    server: Arc<rustls::ServerConfig>,
}

impl std::fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeTls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl NodeTls {
    /// From PEM: the cluster's CA (or several, each of which is trusted), this node's certificate (and chain), and its key.
    pub fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let (name, held) = Held::from_pem(ca, certificate, key)?;
        Ok(Self {
            name,
            held: Arc::new(RwLock::new(Arc::new(held))),
        })
    }

    /// Takes these for all connections that are made from now on; those that are there stay as they are. Nothing changes when they cannot
    /// be used, or are of another node.
    pub fn replace(&self, ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let (name, held) = Held::from_pem(ca, certificate, key)?;
        if name != self.name {
            return Err(TlsError::OtherNode(name));
        }
        *self.held.write() = Arc::new(held);
        Ok(())
    }

    /// When the certificate ends, in Unix seconds.
    pub fn expires_at(&self) -> i64 {
        self.held.read().expires_at
    }

    /// Who this node is, as others see it.
    pub fn peer(&self) -> Peer {
        Peer {
            role: self.name.role,
            node: self.name.node.clone(),
            certificate: self.held.read().fingerprint.clone(),
        }
    }

    /// Id of the cluster that the certificate is for.
    pub fn cluster(&self) -> &str {
        &self.name.cluster
    }

    pub(super) fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.held.read().server)
    }

    pub(super) fn client_config(&self, role: Role) -> tonic::transport::ClientTlsConfig {
        use tonic::transport::{Certificate, ClientTlsConfig, Identity};
        let held = Arc::clone(&self.held.read());
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&held.ca_pem))
            .identity(Identity::from_pem(&held.certificate_pem, &held.key_pem))
            .domain_name(names::role_name(role, &self.name.cluster))
    }
}

impl Held {
    fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<(NodeName, Self), TlsError> {
        let certificates = certificates(certificate, "certificate")?;
        let leaf = certificates.first().ok_or(TlsError::Empty("certificate"))?;
        let name = node_name(leaf).ok_or(TlsError::Unnamed)?;
        let fingerprint = fingerprint(leaf);
        let expires_at =
            X509Certificate::from_der(leaf).map_or(0, |(_, parsed)| parsed.validity().not_after.timestamp());
        let secret =
            PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { what: "key", source })?;
        let mut roots = RootCertStore::empty();
        for root in self::certificates(ca, "CA certificate")? {
            roots.add(root)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Empty("CA certificate"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates, secret)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let held = Self {
            ca_pem: Bytes::copy_from_slice(ca),
            certificate_pem: Bytes::copy_from_slice(certificate),
            key_pem: Bytes::copy_from_slice(key),
            fingerprint,
            expires_at,
            server: Arc::new(server),
        };
        Ok((name, held))
    }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    parsed.map_err(|source| TlsError::Pem { what, source })
}

/// Who a certificate names: the first of its DNS names that is a node's.
pub(super) fn node_name(certificate: &CertificateDer<'_>) -> Option<NodeName> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten()?;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => NodeName::parse(name),
        _ => None,
    })
}

/// SHA-256 of a certificate (DER): what a token is bound to.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> Bytes {
    Bytes::copy_from_slice(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref())
}
