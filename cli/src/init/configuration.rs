//! A node's configuration as `rookery init` writes it: values in, text out.

use std::path::Path;

use super::RoleName;

/// What a node's configuration says.
pub(super) struct NodeText<'a> {
    pub(super) id: &'a str,
    pub(super) cluster: &'a str,
    pub(super) role: RoleName,
    /// The first is the one under which others call it.
    pub(super) hosts: &'a [String],
    /// `host:port` of the directory's members.
    pub(super) directory: &'a [String],
    /// `id=host:port` of each member, for one of them.
    pub(super) members: &'a [String],
    /// The data folder, relative to the file.
    pub(super) data: &'a Path,
    pub(super) shape: Shape,
}

/// What all members of the directory say alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) shards: u32,
    pub(super) replicas: u32,
    pub(super) expected_mailstores: u32,
}

impl Shape {
    /// Of a new cluster, or of a single node.
    pub(super) fn of_new(role: RoleName) -> Self {
        let is_single = role == RoleName::Single;
        Self {
            shards: if is_single { 16 } else { 256 },
            replicas: 1,
            expected_mailstores: if is_single { 1 } else { 3 },
        }
    }
}

impl NodeText<'_> {
    /// The file's text.
    pub(super) fn write(&self) -> String {
        let mut text = format!(
            "[node]\nid = {:?}\ncluster = {:?}\ndata = {:?}\nca = \"ca.pem\"\ncertificate = \"node.pem\"\nkey = \"node.key\"\n\
             http = \"127.0.0.1:8080\"\n",
            self.id, self.cluster, self.data
        );
        let host = self.hosts.first().map_or("localhost", String::as_str);
        if matches!(self.role, RoleName::Directory | RoleName::Mailstore) {
            text.push_str("# Where other nodes call this one.\nlisten = \"0.0.0.0:7400\"\n");
            text.push_str(&format!("advertise = \"{}:7400\"\n", bracketed(host)));
        }
        match self.directory {
            [] => {}
            [directory] => text.push_str(&format!("directory = {directory:?}\n")),
            directories => text.push_str(&format!("directory = {directories:?}\n")),
        }
        text.push_str("\n[log]\nlevel = \"info\"\nformat = \"text\"\n");
        if matches!(self.role, RoleName::Single | RoleName::Directory) {
            self.write_directory(&mut text);
        }
        if matches!(self.role, RoleName::Single | RoleName::Mailstore) {
            text.push_str("\n[mailstore]\n");
        }
        if matches!(self.role, RoleName::Single | RoleName::Proxy) {
            text.push_str(&format!(
                "\n[proxy]\nhostname = {host:?}\n# What mail clients see; the one made here is of the cluster's own CA.\n\
                 certificate = \"tls.pem\"\nkey = \"tls.key\"\n\n[proxy.listen]\nimap = \"0.0.0.0:143\"\nimaps = \"0.0.0.0:993\"\n\
                 smtp = \"0.0.0.0:25\"\nsubmission = \"0.0.0.0:587\"\nsubmissions = \"0.0.0.0:465\"\n\
                 lmtp = \"127.0.0.1:24\"\n",
            ));
        }
        text
    }

    fn write_directory(&self, text: &mut String) {
        let Shape {
            shards,
            replicas,
            expected_mailstores,
        } = self.shape;
        text.push_str(&format!("\n[directory]\nshards = {shards}\n"));
        if replicas != 1 {
            text.push_str(&format!("replicas = {replicas}\n"));
        }
        text.push_str(&format!(
            "expected_mailstores = {expected_mailstores}\nadmin_listen = \"127.0.0.1:7443\"\nadmin_token_file = \"admin-token\"\n\
             # With the CA's key here, readable by its owner alone, `rookery node add` adds nodes.\n\
             # authority_key = \"ca.key\"\n"
        ));
        if !self.members.is_empty() {
            text.push_str("members = [\n");
            for member in self.members {
                let (id, address) = member.split_once('=').unwrap_or_default();
                text.push_str(&format!("  {{ id = {id:?}, address = {address:?} }},\n"));
            }
            text.push_str("]\n");
        }
    }
}

/// A host before a port: an IPv6 address has brackets there.
fn bracketed(host: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(role: RoleName, members: &[&str], shape: Shape) -> toml::Table {
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let (hosts, directory, members) = (
            owned(&["2001:db8::4", "m4.example.test"]),
            owned(&["d1:7400", "d2:7400"]),
            owned(members),
        );
        let text = NodeText {
            id: "node-4",
            cluster: "c1",
            role,
            hosts: &hosts,
            directory: &directory,
            members: &members,
            data: Path::new("/srv/mail"),
            shape,
        };
        text.write().parse().unwrap()
    }

    #[test]
    fn each_role_has_its_sections() {
        for (role, sections) in [
            (RoleName::Single, &["directory", "mailstore", "proxy"][..]),
            (RoleName::Directory, &["directory"]),
            (RoleName::Mailstore, &["mailstore"]),
            (RoleName::Proxy, &["proxy"]),
        ] {
            let table = text(role, &[], Shape::of_new(role));
            for section in ["directory", "mailstore", "proxy"] {
                assert_eq!(
                    table.contains_key(section),
                    sections.contains(&section),
                    "{role:?} {section}"
                );
            }
        }
        let table = text(RoleName::Mailstore, &[], Shape::of_new(RoleName::Mailstore));
        assert_eq!(table["node"]["advertise"].as_str(), Some("[2001:db8::4]:7400"));
        assert_eq!(table["node"]["directory"].as_array().unwrap().len(), 2);
        assert_eq!(table["node"]["data"].as_str(), Some("/srv/mail"));
    }

    #[test]
    fn a_member_of_the_directory_says_what_the_others_say() {
        let shape = Shape {
            shards: 64,
            replicas: 3,
            expected_mailstores: 5,
        };
        let table = text(RoleName::Directory, &["d1=a:1", "node-4=b:1"], shape);
        let directory = &table["directory"];
        assert_eq!(directory["shards"].as_integer(), Some(64));
        assert_eq!(directory["replicas"].as_integer(), Some(3));
        assert_eq!(directory["expected_mailstores"].as_integer(), Some(5));
        assert_eq!(directory["members"][1]["address"].as_str(), Some("b:1"));
    }
}
