//! Names in the certificates of the cluster's internal CA.
//!
//! Each node's certificate has two DNS names: `<node>.<role>.<cluster>.rookery.internal`, which says who it is, and
//! `<role>.<cluster>.rookery.internal`, which is what a caller verifies.

use crate::call::Role;

/// What all names end with.
pub const SUFFIX: &str = "rookery.internal";

/// Longest node or cluster id, in bytes: that of a DNS label (RFC 1035 §2.3.4).
pub const ID_BYTES_MAX: usize = 63;

/// Who a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    /// Such as `proxy-1`.
    pub node: String,
    /// What it does.
    pub role: Role,
    /// Id of its cluster.
    pub cluster: String,
}

impl NodeName {
    /// A name of its parts; `None` when an id is not of `a-z 0-9 -`, empty or too long.
    pub fn new(node: &str, role: Role, cluster: &str) -> Option<Self> {
        let valid = is_id(node) && is_id(cluster);
        valid.then(|| Self {
            node: node.to_owned(),
            role,
            cluster: cluster.to_owned(),
        })
    }

    /// The names that go into the certificate.
    pub fn dns_names(&self) -> [String; 2] {
        let role = role_name(self.role, &self.cluster);
        [format!("{}.{role}", self.node), role]
    }

    /// Who a DNS name names, if it is one of a node.
    pub fn parse(dns_name: &str) -> Option<Self> {
        let rest = dns_name.strip_suffix(SUFFIX)?.strip_suffix('.')?;
        let mut labels = rest.split('.');
        let (node, role, cluster) = (labels.next()?, labels.next()?, labels.next()?);
        if labels.next().is_some() {
            return None;
        }
        Self::new(node, Role::from_name(role)?, cluster)
    }
}

/// The name that a caller of a role verifies.
pub fn role_name(role: Role, cluster: &str) -> String {
    format!("{}.{cluster}.{SUFFIX}", role.as_str())
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_builds() {
        let name = NodeName::new("proxy-1", Role::Proxy, "c0ffee").unwrap();
        assert_eq!(
            name.dns_names(),
            [
                "proxy-1.proxy.c0ffee.rookery.internal",
                "proxy.c0ffee.rookery.internal"
            ]
        );
        assert_eq!(NodeName::parse(&name.dns_names()[0]), Some(name));
    }

    #[test]
    fn refuses_other_names() {
        for name in [
            "proxy.c0ffee.rookery.internal",
            "a.b.proxy.c0ffee.rookery.internal",
            "a.janitor.c0ffee.rookery.internal",
            ".proxy.c0ffee.rookery.internal",
            "a.proxy.c0ffee.example.org",
            "A.proxy.c0ffee.rookery.internal",
            "",
        ] {
            assert_eq!(NodeName::parse(name), None, "{name}");
        }
        assert_eq!(NodeName::new("a.b", Role::Proxy, "c"), None);
        assert_eq!(NodeName::new("a", Role::Proxy, &"c".repeat(64)), None);
    }
}
