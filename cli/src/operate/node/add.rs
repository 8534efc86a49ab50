//! `rookery node add`: has a join secret made and prints what to do with it on the new machine; or takes one back.

use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use rookery_proto::admin::v1::{AddNodeRequest, AddNodeResponse, RevokeJoinRequest};
use serde_json::{Value, json};

use super::super::Clients;
use super::super::output::{self, refused};
use crate::init::usual_hosts;
use crate::join_token::JoinToken;
use crate::usage::WrongUse;

/// For how long a secret may be good.
const VALID: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// The end of the year 9999, unix milliseconds.
const MILLIS_MAX: u64 = 253_402_300_799_000;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The new node's role
    #[arg(long, value_enum, required_unless_present = "revoke")]
    role: Option<RoleName>,
    /// Its id; the next free one of its role unless given
    #[arg(long)]
    id: Option<String>,
    /// For how long the secret is good: it is used once, by the machine that presents it first
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    valid: Duration,
    /// Names and addresses under which clients and other nodes reach the new node, the latter by the first; localhost unless given
    #[arg(long = "host")]
    hosts: Vec<String>,
    /// Where the new machine reaches the admin API, as https://host:port, of each of the directory's members; where this command does
    /// unless given
    #[arg(long = "via", value_name = "URL", value_delimiter = ',')]
    via: Vec<String>,
    /// Make an id that was given out free again, and its secret void
    #[arg(long, value_name = "ID", conflicts_with_all = ["role", "id", "hosts", "via"])]
    revoke: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    Mailstore,
    Proxy,
    Directory,
}

impl RoleName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mailstore => "mailstore",
            Self::Proxy => "proxy",
            Self::Directory => "directory",
        }
    }
}

impl Arguments {
    pub(super) async fn run(self, clients: &mut Clients, as_json: bool) -> anyhow::Result<()> {
        if let Some(id) = self.revoke {
            let request = RevokeJoinRequest { id: id.clone() };
            clients.nodes.revoke_join(request).await.map_err(refused)?;
            return output::done(as_json, &format!("{id} is not to join any more"));
        }
        let role = self
            .role
            .ok_or_else(|| WrongUse::new("give the new node's --role"))?;
        if !VALID.contains(&self.valid) {
            return Err(WrongUse::new("--valid is from 1s to 7days").into());
        }
        for via in &self.via {
            if !via.starts_with("https://") {
                return Err(WrongUse::new(format!("--via is https://host:port, not {via}")).into());
            }
        }
        let hosts = match self.hosts.is_empty() {
            true => usual_hosts(),
            false => self.hosts,
        };
        let request = AddNodeRequest {
            role: role.as_str().to_owned(),
            id: self.id.unwrap_or_default(),
            hosts,
            valid_millis: u64::try_from(self.valid.as_millis()).unwrap_or(u64::MAX),
        };
        let added = clients.nodes.add_node(request).await.map_err(refused)?;
        let addresses = match self.via.is_empty() {
            true => clients.addresses.clone(),
            false => self.via,
        };
        let printed = Printed::new(added.into_inner(), role, addresses)?;
        if as_json {
            return output::json(&printed.json());
        }
        output::lines(printed.lines().into_iter())
    }
}

/// What is printed of a join.
struct Printed {
    id: String,
    role: RoleName,
    expires_at_millis: u64,
    addresses: Vec<String>,
    token: String,
}

impl Printed {
    fn new(added: AddNodeResponse, role: RoleName, addresses: Vec<String>) -> anyhow::Result<Self> {
        let token = JoinToken {
            cluster: added.cluster_id,
            ca: added.ca,
            addresses: addresses.clone(),
            id: added.id.clone(),
            role: role.as_str().to_owned(),
            secret: added.secret,
        };
        Ok(Self {
            id: added.id,
            role,
            expires_at_millis: added.expires_at_millis,
            addresses,
            token: token.to_text()?,
        })
    }

    /// The command for the new machine. What it reads is not in it: arguments are seen by all who list processes.
    fn command(&self) -> String {
        let members = match self.role {
            RoleName::Directory => " --member ID=HOST:PORT …",
            _ => "",
        };
        format!(
            "rookery init --join-file - --node-dir /etc/rookery/{}{members}",
            self.id
        )
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id, "role": self.role.as_str(), "expires_at_millis": self.expires_at_millis,
            "admin": self.addresses, "command": self.command(), "token": self.token,
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{} may join until {}: run this on the new machine, once. It holds a secret.",
                self.id,
                time(self.expires_at_millis)
            ),
            String::new(),
            format!("{} <<'END'", self.command()),
            self.token.clone(),
            "END".to_owned(),
        ];
        if self.addresses.iter().any(|address| is_loopback(address)) {
            lines.push(String::new());
            lines.push(format!(
                "It asks the directory at {}, which another machine does not reach: let --via say where it does.",
                self.addresses.join(", ")
            ));
        }
        lines
    }
}

/// Whether a URL is of the machine itself.
fn is_loopback(address: &str) -> bool {
    let host = address.trim_start_matches("https://");
    ["localhost", "127.", "[::1]"]
        .iter()
        .any(|own| host.starts_with(own))
}

/// A time for people.
pub(super) fn time(millis: u64) -> String {
    // Later than the format has years for is as good as never.
    let time = UNIX_EPOCH + Duration::from_millis(millis.min(MILLIS_MAX));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(role: RoleName, address: &str) -> Printed {
        let added = AddNodeResponse {
            id: "mailstore-4".to_owned(),
            cluster_id: "c1".to_owned(),
            secret: "5ec2e7".to_owned(),
            ca: "-----BEGIN".to_owned(),
            expires_at_millis: 1_700_000_000_000,
        };
        Printed::new(added, role, vec![address.to_owned()]).unwrap()
    }

    #[test]
    fn one_command_is_printed_and_the_secret_is_what_it_reads() {
        let printed = printed(RoleName::Mailstore, "https://d1.example.test:7443");
        let lines = printed.lines();
        assert_eq!(lines.len(), 5);
        assert!(lines[0].starts_with("mailstore-4 may join until 2023-11-14T22:13:20Z"));
        assert_eq!(
            lines[2],
            "rookery init --join-file - --node-dir /etc/rookery/mailstore-4 <<'END'"
        );
        let token = JoinToken::parse(&lines[3]).unwrap();
        assert_eq!(token.secret, "5ec2e7");
        assert_eq!(token.addresses, ["https://d1.example.test:7443"]);
        assert!(!printed.command().contains(&printed.token));
        let json = printed.json();
        assert_eq!(
            (&json["id"], &json["token"]),
            (&"mailstore-4".into(), &lines[3].as_str().into())
        );
    }

    #[test]
    fn an_address_of_this_machine_alone_is_told_of() {
        for (address, is_told) in [
            ("https://localhost:7443", true),
            ("https://127.0.0.1:7443", true),
            ("https://[::1]:7443", true),
            ("https://d1:7443", false),
        ] {
            let lines = printed(RoleName::Directory, address).lines();
            assert_eq!(lines.last().unwrap().contains("--via"), is_told, "{address}");
            assert!(lines[2].contains("--member"));
        }
    }
}
