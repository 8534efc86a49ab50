//! Opening the node's store, for the process that hosts the role.

use std::path::Path;
use std::sync::Arc;

use rookery_process::telemetry;
pub use rookery_replication::catalogue::{CATALOGUE as STORE_CATALOGUE, measure as measure_store};
use rookery_replication::group::{Member, MemberOptions};
pub use rookery_replication::scrub::ScrubOptions;
pub use rookery_replication::store::StoreError;
use rookery_replication::store::StoreOptions;
use rookery_replication::transport::Transport;
pub use rookery_replication::transport::{Connect as PeerConnect, Peers, ReplicationService};

use crate::config::Config;
use crate::schema::described::describe;

/// A node's open store, with the replicas in it. To be closed when its users have stopped.
pub type NodeStore = Arc<Member>;

/// Opens the store in a folder, making it when it is not there. Roles that share a process share it. One that is known to be
/// damaged is opened so that what is damaged is in the way of nothing else.
pub fn open_store(
    folder: &Path,
    node: &str,
    transport: Arc<dyn Transport>,
    config: &Config,
    is_damaged: bool,
) -> Result<NodeStore, StoreError> {
    let options = MemberOptions {
        node: node.to_owned(),
        log_bytes_max: config.log_size_max.0,
        snapshot_bytes_per_second_max: config.snapshot_rate_max.0,
        read_leases: config.read_leases,
        scrub: config.scrub(),
        store: StoreOptions {
            is_damaged,
            describe_key: describe,
            block_cache_bytes: usize::try_from(config.cache_size.0).unwrap_or(usize::MAX),
            counts: telemetry::is_on(),
            ..StoreOptions::default()
        },
        ..MemberOptions::default()
    };
    Member::open_with(folder, options, transport)
}
