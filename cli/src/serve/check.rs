//! `--check-config`: whether a role would start with a configuration, as far as that can be told without the data folder and ports.
//!
//! Reads the file and all that it names with the code that reads them at a start, and changes nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use rookery_directory::admin::auth;
use rookery_process::certificates::check_issued;
use rookery_process::tls::Certificate;
use rookery_proto::remote::names;

use super::Part;
use super::certificates::NodeFiles;
use super::config::Config;

/// Says that a configuration is good, or what about it is not.
pub(crate) fn check(path: &Path, part: Part) -> anyhow::Result<()> {
    let mut config = Config::load(path)?;
    config.keep(part)?;
    config.check()?;
    // Nobody need be listening.
    let _ = writeln!(std::io::stdout().lock(), "{}: good", path.display());
    Ok(())
}

impl Config {
    fn check(&self) -> anyhow::Result<()> {
        self.log.check().map_err(anyhow::Error::msg)?;
        self.traces.check()?;
        self.check_addresses()?;
        self.check_node_files()?;
        if let Some(directory) = &self.directory {
            self.check_directory(directory)?;
        }
        if let Some(mailstore) = &self.mailstore {
            mailstore.check().map_err(anyhow::Error::msg)?;
        }
        if let Some(proxy) = &self.proxy {
            Certificate::load(&proxy.certificate, &proxy.key)
                .context("mail clients cannot be shown proxy.certificate: put the certificate and its key there, or issue them")?;
        }
        self.check_sizes()
    }

    fn check_sizes(&self) -> anyhow::Result<()> {
        let (Some(proxy), Some(mailstore)) = (&self.proxy, &self.mailstore) else {
            return Ok(());
        };
        if proxy.message_bytes_max > mailstore.body_size_max {
            bail!(
                "proxy.message_bytes_max is larger than mailstore.body_size_max, so that messages would be taken and not stored: raise the \
                 second or lower the first"
            );
        }
        Ok(())
    }

    fn check_node_files(&self) -> anyhow::Result<()> {
        let node = &self.node;
        let tls = NodeFiles::of(self).load(self)?;
        let peer = tls.peer();
        check_issued(
            &node.ca,
            &node.certificate,
            &names::role_name(peer.role, tls.cluster()),
        )
        .context("other nodes would not take this one's certificate: issue it anew with `rookery init`")
    }

    fn check_directory(&self, section: &rookery_directory::Config) -> anyhow::Result<()> {
        section.check().map_err(anyhow::Error::msg)?;
        section
            .check_member(&self.node.id)
            .map_err(|missing| anyhow!("{missing}: add it, or put another id into node.id"))?;
        self.authority()?;
        let Some(file) = &section.admin_token_file else {
            return Ok(());
        };
        let token = auth::read(file).with_context(|| format!("{} cannot be used", file.display()))?;
        // One that is not there is made.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if token.is_none() && folder.is_some_and(|folder| !folder.is_dir()) {
            bail!(
                "directory.admin_token_file cannot be made, since there is no folder for it: make the folder of {}",
                file.display()
            );
        }
        Ok(())
    }

    fn check_addresses(&self) -> anyhow::Result<()> {
        self.calls_address()?;
        let mut taken = BTreeMap::new();
        for (key, address) in self.listeners() {
            if address.port() == 0 {
                continue;
            }
            if let Some(other) = taken.insert(address, key.clone()) {
                bail!("{other} and {key} are both {address}: give each an address of its own");
            }
        }
        let called = self
            .node
            .advertise
            .iter()
            .map(|address| ("node.advertise", address));
        let directory = self
            .node
            .directory
            .0
            .iter()
            .map(|address| ("node.directory", address));
        let members = self.directory.iter().flat_map(|section| &section.members);
        let members = members.map(|member| ("directory.members", &member.address));
        for (key, address) in called.chain(directory).chain(members) {
            if !is_host_and_port(address) {
                bail!(
                    "{key} says {address:?}, which is not host:port: give it as mail.example.org:7400 or [2001:db8::1]:7400"
                );
            }
        }
        Ok(())
    }

    /// All addresses at which the roles listen, by their keys.
    fn listeners(&self) -> Vec<(String, SocketAddr)> {
        let mut all = vec![("node.http".to_owned(), self.node.http)];
        if self.directory.is_some() || self.mailstore.is_some() {
            all.extend(
                self.node
                    .listen
                    .map(|address| ("node.listen".to_owned(), address)),
            );
        }
        if let Some(directory) = &self.directory {
            all.push(("directory.admin_listen".to_owned(), directory.admin_listen));
        }
        if let Some(proxy) = &self.proxy {
            let listeners = proxy.listen.all().into_iter();
            all.extend(
                listeners.filter_map(|(name, address)| Some((format!("proxy.listen.{name}"), address?))),
            );
        }
        all
    }
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => return inside.parse::<std::net::Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok(),
        None => host,
    };
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
    !host.is_empty() && host.chars().all(is_plain) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_from_others() {
        for (address, is_one) in [
            ("mail.example.org:7400", true),
            ("10.0.0.1:7400", true),
            ("[2001:db8::1]:7400", true),
            ("mail.example.org", false),
            ("mail.example.org:", false),
            ("mail.example.org:0", false),
            ("mail.example.org:70000", false),
            ("2001:db8::1:7400", false),
            ("https://mail.example.org:7400", false),
            ("mail example:7400", false),
            (":7400", false),
        ] {
            assert_eq!(is_host_and_port(address), is_one, "{address}");
        }
    }
}
