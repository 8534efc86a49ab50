//! What all machines of a simulated cluster know: each other's names, how large it is, and how far the run is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rookery_proto::directory::v1::{Node, NodeRole};
use rookery_proto::elected::{Candidate, Elected};
use rookery_proto::{Caller, DirectoryProtocol, Role};
use rookery_simulation::call::Channel;
use rookery_simulation::{Here, Run};
use rookery_tests::faults::ending::Ending;
use rookery_tests::faults::history::{Account, History};

use crate::clients::Unread;
use crate::rules::Rule;

/// The cluster's id.
pub(crate) const ID: &str = "simulated";

/// Everyone's password.
pub(crate) const PASSWORD: &str = "playground";

/// Bytes of a node's log from which on it is cut: little, so that it is cut often.
pub(crate) const LOG_BYTES_MAX: u64 = 64 * 1024;

/// Replicas of each shard.
pub(crate) const REPLICAS: u32 = 3;

/// How slow a slow run is.
const SLOW: u64 = 25;

/// The machine on which all clients are. Nothing strikes it.
pub(crate) const CLIENTS: &str = "clients";

/// One cluster.
pub(crate) struct Cluster {
    pub(crate) run: Arc<Run>,
    pub(crate) rule: Option<Rule>,
    /// By name, which is the address as well.
    pub(crate) directories: Vec<String>,
    pub(crate) mailstores: Vec<String>,
    pub(crate) proxies: Vec<String>,
    pub(crate) shards: u32,
    /// How many times slower clients work, faults strike and messages are looked for than usually.
    pub(crate) pace: u64,
    /// Leaders read on the word of a quorum for a while.
    pub(crate) read_leases: bool,
    pub(crate) accounts: Account,
    pub(crate) sessions: u32,
    pub(crate) watchers: u32,
    pub(crate) senders: u32,
    /// The accounts have been made.
    ready: AtomicBool,
    /// Clients whose last command since the end of the faults succeeded.
    pub(crate) well: Mutex<std::collections::BTreeSet<u32>>,
    /// Connections that were lost while a message was read.
    pub(crate) unread: Mutex<Vec<Unread>>,
    /// What clients did, and what there is at the end.
    pub(crate) result: Mutex<Option<(History, Ending)>>,
}

fn names(role: &str, count: u64) -> Vec<String> {
    (1..=count).map(|number| format!("{role}-{number}")).collect()
}

impl Cluster {
    pub(crate) fn draw(run: &Arc<Run>, rule: Option<Rule>) -> Arc<Self> {
        Arc::new(Self {
            run: Arc::clone(run),
            rule,
            directories: names("directory", run.one_of(&[1, 3])),
            mailstores: names("mailstore", run.one_of(&[3, 3, 4])),
            proxies: names("proxy", 2),
            shards: run.one_of(&[1, 2, 3]),
            pace: match run.once_in(40) {
                true => SLOW,
                false => 1,
            },
            read_leases: run.once_in(3),
            accounts: run.one_of(&[1, 2, 3]),
            sessions: 2 + run.draw(0..3) as u32,
            watchers: 1 + run.draw(0..2) as u32,
            senders: run.one_of(&[0, 1, 2]),
            ready: AtomicBool::new(false),
            well: Mutex::default(),
            unread: Mutex::default(),
            result: Mutex::default(),
        })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The way to the directory of the machine that is here.
    pub(crate) fn directory(&self, here: &Here, role: Role) -> Arc<dyn Caller<DirectoryProtocol>> {
        match self.directories.as_slice() {
            [alone] => Arc::new(Channel::new(here.clone(), role, alone)),
            members => {
                let candidates = members.iter().map(|member| Candidate {
                    address: member.clone(),
                    caller: Arc::new(Channel::new(here.clone(), role, member)) as _,
                });
                Arc::new(Elected::new(candidates.collect()))
            }
        }
    }
}

/// A machine as the directory is to know it.
pub(crate) fn node(here: &Here, role: NodeRole) -> Node {
    Node {
        id: here.name.to_string(),
        role: role.into(),
        address: here.name.to_string(),
        http: String::new(),
        weight: 100,
        alive: true,
        ..Node::default()
    }
}
