//! A machine with a mailstore.

use std::sync::Arc;
use std::time::Duration;

use rookery_mailstore::Config;
use rookery_mailstore::analysis::AnalysisSettings;
use rookery_mailstore::node::{Host, Mailstore};
use rookery_mailstore::shard::{DiskSpace, ShardOptions};
use rookery_process::health::Health;
use rookery_proto::Role;
use rookery_proto::directory::v1::NodeRole;
use rookery_replication::group::Member;
use rookery_replication::transport::{Peers, ReplicationService};
use rookery_simulation::Here;
use rookery_simulation::machine::Disks;

use crate::cluster::{self, Cluster};
use crate::{directory, rules};

/// Bytes that are free on each disk, whatever is written.
const FREE_BYTES: u64 = 1 << 40;

/// Starts a mailstore.
pub(crate) fn start(here: &Here, disks: &Disks, cluster: &Arc<Cluster>) -> Option<Option<Arc<Member>>> {
    let (member, peers) = directory::open(here, disks, Role::Mailstore, cluster.read_leases)?;
    tokio::spawn(run(here.clone(), Arc::clone(&member), peers, Arc::clone(cluster)));
    Some(Some(member))
}

async fn run(here: Here, member: Arc<Member>, peers: Arc<Peers>, cluster: Arc<Cluster>) {
    let disk = DiskSpace::new(Arc::new(|| Some(FREE_BYTES)), 1, Duration::from_secs(1));
    let options = ShardOptions {
        disk: Some(Arc::new(disk)),
        ..ShardOptions::default()
    };
    let host = Host {
        cluster_id: cluster::ID.to_owned(),
        node: cluster::node(&here, NodeRole::Mailstore),
        member: Arc::clone(&member),
        peers,
        directory: cluster.directory(&here, Role::Mailstore),
        worker_command: Vec::new(),
        health: Health::new(),
    };
    here.serve(Arc::new(ReplicationService(Arc::clone(&member))) as _);
    let started = Mailstore::start_with(&Config::default(), host, options, AnalysisSettings::default());
    let mailstore = match started {
        Ok(mailstore) => mailstore,
        Err(error) => {
            return here
                .run
                .violated(format!("the mailstore on {} starts: {error}", here.name));
        }
    };
    here.serve(rules::mailstore(&cluster, mailstore.service()));
    here.stop.cancelled().await;
    mailstore.hand_over().await;
    mailstore.end_watches();
    directory::end_calls(&here).await;
    mailstore.stop().await;
    member.close().await;
    here.ended.cancel();
}
