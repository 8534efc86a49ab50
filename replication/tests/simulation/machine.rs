//! What a simulated machine of a run is: a node with its part in the groups.

use std::sync::Arc;

use rookery_proto::Role;
use rookery_replication::group::{Member, MemberOptions};
use rookery_replication::transport::{Peers, ReplicationService};
use rookery_simulation::call::Channel;
use rookery_simulation::log::Broken;
use rookery_simulation::machine::{Boot, Disks};

use crate::shared::{Here, Shared};
use crate::workload;

/// Bytes of the log from which on it is cut: little, so that it is cut often.
const LOG_BYTES_MAX: u64 = 6 * 1024;

/// A machine, which runs a node.
pub(crate) type Machine = rookery_simulation::Machine<Arc<Member>>;

/// A machine that does not run yet, with ways to all of these.
pub(crate) fn new(
    name: &str,
    rate: f64,
    broken: Option<Broken>,
    names: &[String],
    shared: &Arc<Shared>,
) -> Machine {
    let (shared, names) = (Arc::clone(shared), names.to_vec());
    let boot: Boot<Arc<Member>> = Box::new(move |here, disks| {
        let here = Here {
            machine: here.clone(),
            shared: Arc::clone(&shared),
            node: here.name.to_string(),
        };
        start(here, disks, &names)
    });
    Machine::new(name, rate, broken, boot)
}

fn start(here: Here, disks: &Disks, names: &[String]) -> Option<Arc<Member>> {
    let options = MemberOptions {
        node: here.node.clone(),
        log_bytes_max: LOG_BYTES_MAX,
        on_failure: {
            let here = here.clone();
            Arc::new(move |error| here.shared.violated(format!("no disk fails: {error}")))
        },
        ..MemberOptions::default()
    };
    let from = here.machine.clone();
    let peers = Peers::new(Box::new(move |address| {
        Arc::new(Channel::new(from.clone(), Role::Mailstore, address))
    }));
    for name in names {
        peers.set_address(name, name);
    }
    let (disk, log) = (Arc::clone(&disks.disk), Arc::clone(&disks.log));
    match Member::open_in_memory(disk, log, options, peers) {
        Ok(member) => {
            here.machine
                .serve(Arc::new(ReplicationService(Arc::clone(&member))) as _);
            tokio::spawn(stop(here.clone(), Arc::clone(&member)));
            tokio::spawn(workload::run(here, Arc::clone(&member)));
            Some(member)
        }
        Err(error) => {
            here.shared.violated(format!("{} starts: {error}", here.node));
            None
        }
    }
}

/// Closes the member when the machine is told to stop.
async fn stop(here: Here, member: Arc<Member>) {
    here.machine.stop.cancelled().await;
    here.machine.serve_nothing();
    member.close().await;
    here.machine.ended.cancel();
}
