//! The names in certificates between roles: which cluster, role and node a process is.
//!
//! A node's certificate has two DNS names, `<node>.<role>.<cluster>.rookery.internal`, which says who it is, and
//! `<role>.<cluster>.rookery.internal`, which a caller expects of whoever answers in that role.

/// The domain under which internal names lie. Never looked up.
const SUFFIX: &str = "rookery.internal";

/// Who a certificate says that its holder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    /// Node id, such as `mailstore-1`.
    pub node: String,
    /// Role, such as `mailstore`.
    pub role: String,
    /// The cluster's id.
    pub cluster: String,
}

impl NodeName {
    /// The name of the node itself.
    pub fn node_name(&self) -> String {
        format!("{}.{}.{}.{SUFFIX}", self.node, self.role, self.cluster)
    }

    /// The name of its role, which callers verify.
    pub fn role_name(&self) -> String {
        role_name(&self.role, &self.cluster)
    }

    /// Parses a node's name; a role's name, or one of another kind, is `None`.
    pub fn parse(name: &str) -> Option<Self> {
        let labels: Vec<&str> = name.strip_suffix(SUFFIX)?.strip_suffix('.')?.split('.').collect();
        let [node, role, cluster] = labels.as_slice() else {
            return None;
        };
        if [node, role, cluster].iter().any(|label| !is_label(label)) {
            return None;
        }
        Some(Self {
            node: (*node).to_owned(),
            role: (*role).to_owned(),
            cluster: (*cluster).to_owned(),
        })
    }
}

/// The name that every node of a role in a cluster answers to.
pub fn role_name(role: &str, cluster: &str) -> String {
    format!("{role}.{cluster}.{SUFFIX}")
}

/// Whether a text can be part of a name: 1 to 63 lower-case letters, digits and inner hyphens (RFC 1123 §2.1).
pub fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back() {
        let name = NodeName {
            node: "proxy-1".into(),
            role: "proxy".into(),
            cluster: "c0ffee".into(),
        };
        assert_eq!(NodeName::parse(&name.node_name()), Some(name.clone()));
        assert_eq!(NodeName::parse(&name.role_name()), None);
        assert_eq!(NodeName::parse("a.b.c.d.rookery.internal"), None);
        assert_eq!(NodeName::parse("A.b.c.rookery.internal"), None);
        assert_eq!(NodeName::parse("example.org"), None);
    }
}
