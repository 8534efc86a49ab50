//! The mailstore's part of the configuration.

use rookery_process::config::{ByteSize, Span};
use rookery_proto::directory::v1::Node;
use rookery_replication::scrub::ScrubOptions;
use schemars::JsonSchema;
use serde::Deserialize;

/// The longest name of a zone.
const ZONE_BYTES_MAX: usize = 64;

/// What an operator may say of a mailstore. Everything has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Relative capacity of this node when shards are placed; 100 is the usual one.
    pub weight: u32,
    /// What fails as one with this node: a rack, a room, a site. Replicas of a shard lie in different ones as far as there are
    /// enough. Empty: nothing but itself.
    pub zone: String,
    /// Threads that analyse new messages. Absent: half of the cores, at least one, at most eight.
    pub analysis_threads: Option<usize>,
    /// Processes that analyse unusual messages.
    pub analysis_processes: usize,
    /// Reads of the store at one time; further ones wait.
    pub reads_max: usize,
    /// Searches at one time; further ones wait.
    pub searches_max: usize,
    /// Memory for rows of the store that were read lately: envelopes and what searches look at, about 1 KiB a message. From 8MiB to 1TiB.
    pub cache_size: ByteSize,
    /// The largest message, 2GiB at most.
    pub body_size_max: ByteSize,
    /// With less free on the store's disk, new mail is refused, to be tried again; what frees room goes on. 0: never.
    pub disk_free_min: ByteSize,
    /// What a rebalance keeps free of the store's disk; with less than a quarter of that left, the disk counts as full. Absent: a tenth of
    /// the disk, at most 16GiB. 0: nothing is kept, and no disk counts as full.
    pub disk_kept: Option<ByteSize>,
    /// From this size on the log is flushed and cut; a node that starts reads so much. From 16MiB to 64GiB.
    pub log_size_max: ByteSize,
    /// The most that is fetched in a second for replicas that this node lacks, all together, unless a rebalance says otherwise; 0: no
    /// bound.
    pub snapshot_rate_max: ByteSize,
    /// Leaders of shards read for half a second on the word of a quorum instead of asking for each batch of reads. Safe unless a node's
    /// clock leaps ahead or runs twice as fast as another's.
    pub read_leases: bool,
    /// How often all of the store is read, to find damage while other copies are good; `0s`: never.
    pub scrub_interval: Span,
    /// The most that is read so in a second.
    pub scrub_bytes_per_second: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            weight: 100,
            zone: String::new(),
            analysis_threads: None,
            analysis_processes: 2,
            reads_max: 64,
            searches_max: 4,
            cache_size: ByteSize(256 * 1024 * 1024),
            body_size_max: ByteSize(100 * 1024 * 1024),
            disk_free_min: ByteSize(256 * 1024 * 1024),
            disk_kept: None,
            log_size_max: ByteSize(128 * 1024 * 1024),
            snapshot_rate_max: ByteSize(0),
            read_leases: false,
            scrub_interval: Span(ScrubOptions::default().interval),
            scrub_bytes_per_second: ByteSize(ScrubOptions::default().bytes_per_second_max),
        }
    }
}

impl Config {
    /// Whether the values make sense; says which does not.
    pub fn check(&self) -> Result<(), String> {
        let counts = [
            ("weight", self.weight as usize),
            ("analysis_threads", self.analysis_threads.unwrap_or(1)),
            ("analysis_processes", self.analysis_processes),
            ("reads_max", self.reads_max),
            ("searches_max", self.searches_max),
        ];
        for (name, count) in counts {
            if !(1..=100_000).contains(&count) {
                return Err(format!("mailstore.{name} must be from 1 to 100000"));
            }
        }
        if !(1..=(1 << 31)).contains(&self.body_size_max.0) {
            return Err("mailstore.body_size_max must be from 1 to 2GiB".to_owned());
        }
        if !((8 << 20)..=(1 << 40)).contains(&self.cache_size.0) {
            return Err("mailstore.cache_size must be from 8MiB to 1TiB".to_owned());
        }
        if !((16 << 20)..=(64 << 30)).contains(&self.log_size_max.0) {
            return Err("mailstore.log_size_max must be from 16MiB to 64GiB".to_owned());
        }
        if (1..(64 << 10)).contains(&self.snapshot_rate_max.0) {
            return Err("mailstore.snapshot_rate_max must be 0 or at least 64KiB".to_owned());
        }
        let is_plain = |character: char| character.is_ascii_graphic();
        if self.zone.len() > ZONE_BYTES_MAX || !self.zone.chars().all(is_plain) {
            return Err(format!(
                "mailstore.zone must have at most {ZONE_BYTES_MAX} letters, digits and signs of ASCII, without spaces"
            ));
        }
        Ok(())
    }

    /// A node as others shall see it.
    pub(crate) fn describe(&self, node: Node) -> Node {
        Node {
            weight: self.weight,
            zone: self.zone.clone(),
            ..node
        }
    }

    /// How the store is looked through for damage.
    pub fn scrub(&self) -> ScrubOptions {
        ScrubOptions {
            interval: self.scrub_interval.0,
            bytes_per_second_max: self.scrub_bytes_per_second.0,
        }
    }

    /// Threads that analyse new messages.
    pub(crate) fn analysis_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.analysis_threads.unwrap_or(cores.div_ceil(2).min(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_nonsense_is_not() {
        assert_eq!(Config::default().check(), Ok(()));
        assert!(
            Config {
                reads_max: 0,
                ..Config::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Config {
                body_size_max: ByteSize(0),
                ..Config::default()
            }
            .check()
            .is_err()
        );
        for (zone, is_sound) in [("rack-12/a", true), ("rack 12", false), ("zöne", false)] {
            let zone = zone.to_owned();
            let config = Config {
                zone: zone.clone(),
                ..Config::default()
            };
            assert_eq!(config.check().is_ok(), is_sound, "{zone}");
            assert_eq!(config.describe(Node::default()).zone, zone);
        }
        assert!(
            Config {
                snapshot_rate_max: ByteSize(1024),
                ..Config::default()
            }
            .check()
            .is_err()
        );
    }
}
