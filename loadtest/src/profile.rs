//! What a run does, as TOML: a profile for each workload is built in, and a file or options say otherwise.
//!
//! Unknown keys are refused, so that a misspelt one is not taken for its default.

mod check;
mod tables;

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::schedule::{Arrivals, Bounds};
use crate::target::{Protocol, ServerConfig};
pub(crate) use tables::{
    Append, BigMailbox, Deliver, Idle, Login, LongLived, Mixed, Search, SearchKind, Sync,
};

/// Rounds of a comparison where nothing else is said.
const COMPARED_ROUNDS: usize = 3;

/// What sessions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// Clients that log in, read, change and append, in the shares of a usual stress mix
    Mixed,
    /// Thousands of sessions that stay, each with a rare command
    LongLived,
    /// Messages in by LMTP, SMTP or submission
    Deliver,
    /// Messages in by IMAP
    Append,
    /// A client's first synchronisation: all mailboxes, all messages
    Sync,
    /// Sessions in IDLE, and how soon they hear of new messages
    Idle,
    /// Searches whose result is known
    Search,
    /// Connect, log in, select, log out
    Login,
    /// Whole commands over one mailbox of many messages
    BigMailbox,
}

impl Workload {
    /// The profile that is built in.
    pub(crate) fn built_in(self) -> &'static str {
        match self {
            Self::Mixed => include_str!("../profiles/mixed.toml"),
            Self::LongLived => include_str!("../profiles/long-lived.toml"),
            Self::Deliver => include_str!("../profiles/deliver.toml"),
            Self::Append => include_str!("../profiles/append.toml"),
            Self::Sync => include_str!("../profiles/sync.toml"),
            Self::Idle => include_str!("../profiles/idle.toml"),
            Self::Search => include_str!("../profiles/search.toml"),
            Self::Login => include_str!("../profiles/login.toml"),
            Self::BigMailbox => include_str!("../profiles/big-mailbox.toml"),
        }
    }

    /// As commands and profiles write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::LongLived => "long-lived",
            Self::Deliver => "deliver",
            Self::Append => "append",
            Self::Sync => "sync",
            Self::Idle => "idle",
            Self::Search => "search",
            Self::Login => "login",
            Self::BigMailbox => "big-mailbox",
        }
    }
}

/// How arrivals of an open loop follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Spacing {
    /// At equal distances.
    Even,
    /// Independently, as from many people.
    #[default]
    Poisson,
}

/// A profile. `docs/loadtest.md` has each key with its default.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) workload: Workload,
    /// Measured time of a run.
    #[serde(default = "defaults::seconds")]
    pub(crate) seconds: f64,
    /// Time before it that does not count.
    #[serde(default)]
    pub(crate) warmup_seconds: f64,
    /// End after so many operations in place of `seconds`.
    pub(crate) operations: Option<u64>,
    #[serde(default = "defaults::sessions")]
    pub(crate) sessions: usize,
    /// Operations a second (open loop); absent: each session goes on when it was answered (closed loop).
    pub(crate) rate: Option<f64>,
    #[serde(default)]
    pub(crate) spacing: Spacing,
    /// Sessions opened a second before the work; absent: as fast as they open.
    pub(crate) open_rate: Option<f64>,
    #[serde(default = "defaults::message_bytes")]
    pub(crate) message_bytes: usize,
    /// Threads of the load tester.
    #[serde(default = "defaults::one")]
    pub(crate) threads: usize,
    #[serde(default)]
    pub(crate) seed: u64,
    /// How often each server's turn comes; see [`Profile::rounds`].
    rounds: Option<usize>,
    /// Look afterwards whether all that was acknowledged is there, once.
    #[serde(default)]
    pub(crate) oracle: bool,
    #[serde(default)]
    pub(crate) server: ServerConfig,
    /// A second server, measured in turn with the first.
    pub(crate) beside: Option<ServerConfig>,
    #[serde(default)]
    pub(crate) deliver: Deliver,
    #[serde(default)]
    pub(crate) append: Append,
    #[serde(default)]
    pub(crate) mixed: Mixed,
    #[serde(default)]
    pub(crate) long_lived: LongLived,
    #[serde(default)]
    pub(crate) sync: Sync,
    #[serde(default)]
    pub(crate) idle: Idle,
    #[serde(default)]
    pub(crate) search: Search,
    #[serde(default)]
    pub(crate) login: Login,
    #[serde(default)]
    pub(crate) big_mailbox: BigMailbox,
}

mod defaults {
    pub(super) fn seconds() -> f64 {
        10.0
    }
    pub(super) fn sessions() -> usize {
        10
    }
    pub(super) fn message_bytes() -> usize {
        10 * 1024
    }
    pub(super) fn one() -> usize {
        1
    }
}

impl Profile {
    /// The profile of a workload or of a file, with what else was said put over it in order: paths of keys and their values.
    pub(crate) fn load(
        workload: Option<Workload>,
        file: Option<&Path>,
        over: Vec<(String, toml::Value)>,
    ) -> Result<Self> {
        let mut table = match (workload, file) {
            (_, Some(path)) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the profile {}", path.display()))?;
                // Read alone first, so that an error tells its line.
                toml::from_str::<Self>(&text)
                    .with_context(|| format!("in the profile {}", path.display()))?;
                toml::from_str(&text)?
            }
            (Some(workload), None) => toml::from_str::<toml::Table>(workload.built_in())?,
            (None, None) => bail!("say which workload, or name a profile with --profile"),
        };
        if let Some(workload) = workload {
            table.insert(
                "workload".to_owned(),
                toml::Value::String(workload.name().to_owned()),
            );
        }
        for (path, value) in over {
            put(&mut table, &path, value)?;
        }
        let profile: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| anyhow!("{}", error.to_string().trim_end()))?;
        profile.check()?;
        Ok(profile)
    }

    /// How often each server's turn comes: for a comparison several times, as a ratio without its spread says little.
    pub(crate) fn rounds(&self) -> usize {
        let usual = if self.beside.is_some() { COMPARED_ROUNDS } else { 1 };
        self.rounds.unwrap_or(usual)
    }

    /// What is spoken with a server.
    pub(crate) fn protocols(&self) -> Vec<Protocol> {
        let delivers = Protocol::from(self.deliver.protocol);
        match self.workload {
            Workload::Deliver if self.oracle => vec![delivers, Protocol::Imap],
            Workload::Deliver => vec![delivers],
            Workload::Idle if self.idle.notify_rate > 0.0 => vec![delivers, Protocol::Imap],
            _ => vec![Protocol::Imap],
        }
    }

    /// How the work's operations follow each other.
    pub(crate) fn arrivals(&self) -> Arrivals {
        let rate = match self.workload {
            Workload::LongLived => Some(self.sessions as f64 / self.long_lived.seconds_between),
            Workload::Idle => Some(self.idle.notify_rate),
            _ => self.rate,
        };
        match (rate, self.spacing) {
            (None, _) => Arrivals::Closed,
            (Some(rate), Spacing::Even) => Arrivals::Even(rate),
            (Some(rate), Spacing::Poisson) => Arrivals::Poisson(rate),
        }
    }

    /// When the work ends.
    pub(crate) fn bounds(&self) -> Bounds {
        let seconds = self.warmup_seconds + self.seconds;
        let counted = self.operations.is_some();
        Bounds {
            time: (!counted).then(|| std::time::Duration::from_secs_f64(seconds)),
            operations: self.operations,
        }
    }

    /// Seconds between the last opening and a measurement of a connection's memory, for workloads that measure it.
    pub(crate) fn settle_seconds(&self) -> Option<f64> {
        match self.workload {
            Workload::LongLived => Some(self.long_lived.settle_seconds),
            Workload::Idle => Some(self.idle.settle_seconds),
            _ => None,
        }
    }
}

/// A value as an option gives it: a number, true or false, or a text.
pub(crate) fn value_of(text: &str) -> toml::Value {
    if let Ok(number) = text.parse::<i64>() {
        return toml::Value::Integer(number);
    }
    if let Ok(number) = text.parse::<f64>() {
        return toml::Value::Float(number);
    }
    match text {
        "true" => toml::Value::Boolean(true),
        "false" => toml::Value::Boolean(false),
        _ => toml::Value::String(text.to_owned()),
    }
}

/// Puts a value where a path such as `mixed.list` leads.
fn put(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<()> {
    let Some((first, rest)) = path.split_once('.') else {
        match (table.get_mut(path), value) {
            // What is said of a server is put over what the file says of it, key by key.
            (Some(toml::Value::Table(held)), toml::Value::Table(new)) => held.extend(new),
            (_, value) => drop(table.insert(path.to_owned(), value)),
        }
        return Ok(());
    };
    let inner = table
        .entry(first)
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let inner = inner
        .as_table_mut()
        .with_context(|| format!("{first} has no keys of its own"))?;
    put(inner, rest, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(workload: Workload, over: &[(&str, &str)]) -> Result<Profile> {
        let over = over
            .iter()
            .map(|(path, value)| ((*path).to_owned(), value_of(value)));
        Profile::load(Some(workload), None, over.collect())
    }

    #[test]
    fn every_built_in_profile_is_one_and_names_its_workload() {
        for workload in Workload::value_variants() {
            let profile = with(*workload, &[]).unwrap();
            assert_eq!(profile.workload, *workload);
            assert!(
                workload
                    .built_in()
                    .contains(&format!("workload = \"{}\"", workload.name()))
            );
        }
    }

    #[test]
    fn options_are_put_over_the_profile_and_unknown_keys_are_refused() {
        let profile = with(
            Workload::Mixed,
            &[("mixed.list", "7"), ("seconds", "0.5"), ("rate", "100")],
        )
        .unwrap();
        assert_eq!((profile.mixed.list, profile.seconds), (7, 0.5));
        assert_eq!(profile.arrivals(), Arrivals::Poisson(100.0));
        for key in ["secondss", "mixed.lists", "server.host"] {
            let refused = with(Workload::Mixed, &[(key, "7")]).unwrap_err().to_string();
            assert!(refused.contains("unknown field"), "{key}: {refused}");
        }
    }

    #[test]
    fn a_file_is_a_profile_and_its_errors_tell_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.toml");
        std::fs::write(
            &path,
            "workload = \"deliver\"\nsessions = 3\n[server]\nlmtp = \"127.0.0.1:24\"\n",
        )
        .unwrap();
        let server = toml::Value::Table(ServerConfig::parse("name=A").unwrap());
        let profile = Profile::load(None, Some(&path), vec![("server".to_owned(), server)]).unwrap();
        assert_eq!(profile.server.lmtp.as_deref(), Some("127.0.0.1:24"));
        assert_eq!(profile.server.name.as_deref(), Some("A"));
        std::fs::write(&path, "workload = \"deliver\"\nsesions = 3\n").unwrap();
        let refused = format!("{:#}", Profile::load(None, Some(&path), Vec::new()).unwrap_err());
        assert!(
            refused.contains("line 2") && refused.contains("sesions"),
            "{refused}"
        );
    }

    #[test]
    fn long_lived_sessions_make_a_rate_of_their_pauses() {
        let over = [
            ("sessions", "600"),
            ("long_lived.seconds_between", "60"),
            ("spacing", "even"),
        ];
        let profile = with(Workload::LongLived, &over).unwrap();
        assert_eq!(profile.arrivals(), Arrivals::Even(10.0));
    }
}
