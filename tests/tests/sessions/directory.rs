//! A machine with a member of the directory, and its operator, who makes the accounts.

use std::sync::Arc;
use std::time::Duration;

use rookery_directory::{Config, Directories, Directory, Host, Mailstores, MemberConfig};
use rookery_process::config::Span;
use rookery_process::health::Health;
use rookery_proto::admin::v1::admin_server::Admin;
use rookery_proto::admin::v1::{AddAccountsRequest, AddDomainRequest, NewAccount};
use rookery_proto::directory::v1::{Node, NodeRole};
use rookery_proto::{Caller, DirectoryProtocol, MailstoreProtocol, Role};
use rookery_replication::group::{Member, MemberOptions};
use rookery_replication::transport::{Peers, ReplicationService};
use rookery_simulation::Here;
use rookery_simulation::call::Channel;
use rookery_simulation::machine::Disks;
use rookery_tests::faults::workload::address;
use tonic::{Code, Request};

use crate::cluster::{self, Cluster, LOG_BYTES_MAX, PASSWORD, REPLICAS};

/// How long calls under way have to end when the machine stops.
pub(crate) const CALLS_GRACE: Duration = Duration::from_secs(10);

/// How long tokens live: as short as may be.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// Pause between two tries of the operator.
const OPERATOR_PAUSE: Duration = Duration::from_millis(100);

/// Opens what a node stores, with ways to nodes of its role.
pub(crate) fn open(
    here: &Here,
    disks: &Disks,
    role: Role,
    read_leases: bool,
) -> Option<(Arc<Member>, Arc<Peers>)> {
    let from = here.clone();
    let peers = Peers::new(Box::new(move |address| {
        Arc::new(Channel::new(from.clone(), role, address))
    }));
    let options = MemberOptions {
        node: here.name.to_string(),
        log_bytes_max: LOG_BYTES_MAX,
        read_leases,
        on_failure: {
            let run = Arc::clone(&here.run);
            Arc::new(move |error| run.violated(format!("no disk fails: {error}")))
        },
        ..MemberOptions::default()
    };
    let (disk, log) = (Arc::clone(&disks.disk), Arc::clone(&disks.log));
    match Member::open_in_memory(disk, log, options, Arc::clone(&peers) as _) {
        Ok(member) => Some((member, peers)),
        Err(error) => {
            here.run
                .violated(format!("what is stored on {} opens: {error}", here.name));
            None
        }
    }
}

/// Waits for the calls that are under way, as a process does that is told to stop.
pub(crate) async fn end_calls(here: &Here) {
    here.serve_nothing();
    here.calls.close();
    // Those that take longer are dropped with the machine.
    let _ = tokio::time::timeout(CALLS_GRACE, here.calls.wait()).await;
}

/// Ways to others.
struct Ways(Here);

impl Directories for Ways {
    fn directory(&self, address: &str) -> Arc<dyn Caller<DirectoryProtocol>> {
        Arc::new(Channel::new(self.0.clone(), Role::Directory, address))
    }
}

impl Mailstores for Ways {
    fn mailstore(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        Arc::new(Channel::new(self.0.clone(), Role::Directory, &node.address))
    }
}

/// Starts a member.
pub(crate) fn start(here: &Here, disks: &Disks, cluster: &Arc<Cluster>) -> Option<Option<Arc<Member>>> {
    let (member, peers) = open(here, disks, Role::Directory, false)?;
    tokio::spawn(run(here.clone(), Arc::clone(&member), peers, Arc::clone(cluster)));
    Some(Some(member))
}

async fn run(here: Here, member: Arc<Member>, peers: Arc<Peers>, cluster: Arc<Cluster>) {
    for name in &cluster.directories {
        peers.set_address(name, name);
    }
    let members = match cluster.directories.as_slice() {
        [_] => Vec::new(),
        names => names
            .iter()
            .map(|name| MemberConfig {
                id: name.clone(),
                address: name.clone(),
            })
            .collect(),
    };
    let config = Config {
        shards: cluster.shards,
        replicas: REPLICAS,
        members,
        expected_mailstores: cluster.mailstores.len() as u32,
        token_lifetime: Span(TOKEN_LIFETIME),
        ..Config::default()
    };
    let host = Host {
        cluster_id: cluster::ID.to_owned(),
        node: cluster::node(&here, NodeRole::Directory),
        data: std::path::PathBuf::new(),
        member: Arc::clone(&member),
        mailstores: Arc::new(Ways(here.clone())),
        directories: Arc::new(Ways(here.clone())),
        authority: None,
        admin_certificate: None,
        health: Health::new(),
    };
    here.serve(Arc::new(ReplicationService(Arc::clone(&member))) as _);
    let directory = match Box::pin(Directory::start(config, host)).await {
        Ok(directory) => directory,
        Err(error) => {
            return here
                .run
                .violated(format!("the directory on {} starts: {error}", here.name));
        }
    };
    here.serve(directory.service());
    tokio::select! {
        biased;
        () = here.stop.cancelled() => {}
        () = operate(&here, &directory, &cluster) => here.stop.cancelled().await,
    }
    directory.hand_over().await;
    directory.end_watches();
    end_calls(&here).await;
    directory.shutdown().await;
    member.close().await;
    here.ended.cancel();
}

/// Makes the accounts once the shards are placed, where the directory leads.
async fn operate(here: &Here, directory: &Directory, cluster: &Cluster) {
    let admin = directory.admin();
    while !cluster.is_ready() {
        tokio::time::sleep(OPERATOR_PAUSE).await;
        if !directory.is_placed() {
            continue;
        }
        let domain = AddDomainRequest {
            name: "example.test".to_owned(),
        };
        if !is_done(admin.add_domain(Request::new(domain)).await) {
            continue;
        }
        let accounts = (1..=cluster.accounts).map(|account| NewAccount {
            address: address(account),
            password: PASSWORD.to_owned(),
            quota_bytes: 0,
        });
        let accounts = AddAccountsRequest {
            accounts: accounts.collect(),
        };
        if is_done(admin.add_accounts(Request::new(accounts)).await) {
            here.trace("has made the accounts");
            cluster.set_ready();
        }
    }
}

/// Whether something was done, now or before.
fn is_done<T>(result: Result<T, tonic::Status>) -> bool {
    result.map_or_else(|status| status.code() == Code::AlreadyExists, |_| true)
}
