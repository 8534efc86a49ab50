//! The directory's part of the configuration.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rookery_process::config::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member of the directory's group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    /// Its node id.
    pub id: String,
    /// `host:port` at which other nodes call it.
    pub address: String,
}

/// What an operator may say of a directory. Everything has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many shards are placed at first. Later `rookery shard split` makes more.
    pub shards: u32,
    /// Replicas of each shard: 1, 3 or 5, on as many mailstores. Fixed once the shards are placed.
    pub replicas: u32,
    /// The directory's 1, 3 or 5 members, this one among them; the same in each one's configuration. Empty: this node is alone.
    pub members: Vec<MemberConfig>,
    /// A member that does not lead answers lookups from a state that holds all that was acknowledged so long before, `1m` at most. `0s`:
    /// the one that leads answers all.
    pub lookup_staleness_max: Span,
    /// Mailstores that must have registered before the shards are placed on them.
    pub expected_mailstores: u32,
    /// Where the operator's API listens (TLS).
    pub admin_listen: SocketAddr,
    /// Holds the operator's token; made, readable by its owner alone, when it is not there. Absent: `admin-token` in the
    /// data folder.
    pub admin_token_file: Option<PathBuf>,
    /// The key of the cluster's CA, readable by its owner alone, or by a group where another owns it: with it, nodes that join are issued
    /// their certificates. Absent: none can be added so.
    pub authority_key: Option<PathBuf>,
    /// Threads that verify and hash passwords. Absent: half of the cores, at least one.
    pub password_threads: Option<usize>,
    /// Verifications that may wait for a thread; more are answered with "try again".
    pub password_queue_max: usize,
    /// How long an account's token lives, and up to an eighth longer; sessions renew theirs before. From `5m` to `1day`.
    pub token_lifetime: Span,
    /// After what time tokens are signed with a new key; at least `1day`.
    pub signing_key_age_max: Span,
    /// What may be done without an operator's word.
    pub automatic: AutomaticConfig,
}

/// What may be done without an operator's word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutomaticConfig {
    /// Rebalances begin by themselves, and lost mailstores are given up.
    pub enabled: bool,
    /// How far the load of a mailstore may be from its share, in percent of it, before loads are evened; 5 to 100.
    pub band_percent: u32,
    /// A mailstore of which nothing was heard for so long is given up, if each of its shards has a majority without it; at least `10s`.
    pub silent_max: Span,
}

impl Default for AutomaticConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            band_percent: 15,
            silent_max: Span::seconds(15 * 60),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 256,
            replicas: 1,
            members: Vec::new(),
            lookup_staleness_max: Span::seconds(1),
            expected_mailstores: 1,
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 7443)),
            admin_token_file: None,
            authority_key: None,
            password_threads: None,
            password_queue_max: 256,
            token_lifetime: Span::seconds(600),
            signing_key_age_max: Span::seconds(30 * 24 * 3600),
            automatic: AutomaticConfig::default(),
        }
    }
}

/// Keys that change more often would be of no use, as tokens signed with them can be renewed for a while.
const KEY_AGE_MIN: Duration = Duration::from_secs(24 * 3600);

/// A mailstore that is restarted is silent for a while.
const SILENT_MIN: Duration = Duration::from_secs(10);

/// With an older state than this a suspended account would be let in for too long.
const LOOKUP_STALENESS_MAX: Duration = Duration::from_secs(60);

/// The most shards of a cluster.
pub(crate) const SHARDS_MAX: u32 = 65_536;

impl Config {
    /// Whether the values make sense together; says which does not.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err(format!("directory.shards must be from 1 to {SHARDS_MAX}"));
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return Err("directory.replicas must be 1, 3 or 5".to_owned());
        }
        if ![0, 1, 3, 5].contains(&self.members.len()) {
            return Err("directory.members must name 1, 3 or 5 members".to_owned());
        }
        let ids: BTreeSet<&str> = self.members.iter().map(|member| member.id.as_str()).collect();
        let addresses: BTreeSet<&str> = self
            .members
            .iter()
            .map(|member| member.address.as_str())
            .collect();
        if ids.len() != self.members.len() || addresses.len() != self.members.len() {
            return Err("directory.members must have each id and each address once".to_owned());
        }
        if self.lookup_staleness_max.0 > LOOKUP_STALENESS_MAX {
            return Err("directory.lookup_staleness_max must be at most 1m".to_owned());
        }
        if self.expected_mailstores == 0 {
            return Err("directory.expected_mailstores must be at least 1".to_owned());
        }
        if self.password_threads == Some(0) || self.password_queue_max == 0 {
            return Err("directory.password_threads and password_queue_max must be at least 1".to_owned());
        }
        // A recipient's token must outlive the time for which the recipient is cached.
        if !(300..=86_400).contains(&self.token_lifetime.0.as_secs()) {
            return Err("directory.token_lifetime must be from 5m to 1day".to_owned());
        }
        if !(5..=100).contains(&self.automatic.band_percent) {
            return Err("directory.automatic.band_percent must be from 5 to 100".to_owned());
        }
        if self.automatic.silent_max.0 < SILENT_MIN {
            return Err("directory.automatic.silent_max must be at least 10s".to_owned());
        }
        if self.signing_key_age_max.0 < KEY_AGE_MIN {
            return Err("directory.signing_key_age_max must be at least 1day".to_owned());
        }
        Ok(())
    }

    /// Whether the members name this node; says what is missing.
    pub fn check_member(&self, own: &str) -> Result<(), String> {
        check_member(&self.members, own)
    }

    /// Threads for passwords.
    pub(crate) fn password_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.password_threads.unwrap_or(cores.div_ceil(2))
    }
}

/// Whether members, if there are any, name a node.
pub(crate) fn check_member(members: &[MemberConfig], own: &str) -> Result<(), String> {
    if members.is_empty() || members.iter().any(|member| member.id == own) {
        return Ok(());
    }
    Err(format!(
        "directory.members does not name {own}, which this node is"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_nonsense_is_not() {
        assert_eq!(Config::default().check(), Ok(()));
        assert!(
            Config {
                shards: 0,
                ..Config::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Config {
                expected_mailstores: 0,
                ..Config::default()
            }
            .check()
            .is_err()
        );
        let member = |id: &str, address: &str| MemberConfig {
            id: id.to_owned(),
            address: address.to_owned(),
        };
        for members in [
            vec![member("a", "a:1"), member("b", "b:1")],
            vec![member("a", "a:1"), member("b", "b:1"), member("a", "c:1")],
            vec![member("a", "a:1"), member("b", "b:1"), member("c", "b:1")],
        ] {
            let config = Config {
                members,
                ..Config::default()
            };
            assert!(config.check().is_err(), "{config:?}");
        }
        assert!(
            Config {
                lookup_staleness_max: Span::seconds(61),
                ..Config::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Config {
                token_lifetime: Span::seconds(10),
                ..Config::default()
            }
            .check()
            .is_err()
        );
    }
}
