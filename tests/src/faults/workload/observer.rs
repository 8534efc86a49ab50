//! A client of the shards themselves: it asks `Changes`, which no IMAP command gives while the server has no CONDSTORE,
//! and remembers what it saw at which modseq.
//!
//! It goes the way that a proxy goes, with the first proxy's certificate, and so heeds every change of leaders.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use rand::Rng;
use rand::seq::IndexedRandom;
use rookery_proto::directory::v1::Node;
use rookery_proto::elected::{Candidate, Elected};
use rookery_proto::remote::{ConnectOptions, Endpoint, NodeTls, connect};
use rookery_proto::{Caller, DirectoryProtocol, MailstoreProtocol, Replies, Role, Status};
use rookery_proxy::route::{self, Connect};

use super::super::history::{Account, Action, Answer, MAILBOXES, Recorder};
use super::shards::{Seen, Shards, modseqs_seen, outcome};
use super::{Client, Stop};
use crate::member::node_tls;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(60);

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the observer needs to be one of the cluster.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// `host:port` of each member of the directory.
    pub directories: Vec<String>,
    /// The cluster's CA.
    pub ca: PathBuf,
    /// A proxy's folder with its certificate and key.
    pub folder: PathBuf,
}

/// Asks shards.
pub struct Observer {
    runtime: tokio::runtime::Runtime,
    shards: Shards,
}

struct Channels(NodeTls);

struct Unusable(String);

impl Caller<MailstoreProtocol> for Unusable {
    fn call(&self, _call: rookery_proto::Call<MailstoreProtocol>) -> Replies<MailstoreProtocol> {
        Replies::failed(Status::unavailable(self.0.clone()))
    }
}

impl Connect for Channels {
    fn connect(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        let endpoint = Endpoint {
            address: node.address.clone(),
            role: Role::Mailstore,
            tls: self.0.clone(),
        };
        match connect::<MailstoreProtocol>(endpoint, ConnectOptions::default()) {
            Ok(remote) => Arc::new(remote),
            Err(error) => Arc::new(Unusable(error.to_string())),
        }
    }
}

impl Observer {
    /// Joins the cluster as its first proxy does.
    pub fn start(credentials: &Credentials) -> Result<Self> {
        let tls = node_tls(&credentials.ca, &credentials.folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let _entered = runtime.enter();
        let candidate = |address: &String| {
            let endpoint = Endpoint {
                address: address.clone(),
                role: Role::Directory,
                tls: tls.clone(),
            };
            anyhow::Ok(Candidate {
                address: address.clone(),
                caller: Arc::new(connect::<DirectoryProtocol>(endpoint, ConnectOptions::default())?),
            })
        };
        let candidates = credentials.directories.iter().map(candidate);
        let directory: Elected<DirectoryProtocol> = Elected::new(candidates.collect::<Result<_>>()?);
        let options = route::ClusterOptions {
            patience: PATIENCE,
            ..route::ClusterOptions::default()
        };
        let cluster = route::Cluster::start(options, Arc::new(directory), Arc::new(Channels(tls)));
        drop(_entered);
        let shards = Shards(cluster);
        Ok(Self { runtime, shards })
    }

    fn login(&self, account: Account) -> Result<Seen, Status> {
        self.runtime.block_on(self.shards.login(account))
    }

    /// Asks once and gives what was answered.
    fn changes(&self, seen: &Seen, at: usize, since: u64) -> Result<Answer, Status> {
        self.runtime.block_on(seen.changes(at, since))
    }

    /// Looks at random mailboxes until it is told to stop, and gives itself back for the closing questions.
    pub fn watch(
        self,
        session: u32,
        seed: u64,
        accounts: Account,
        recorder: &Arc<Recorder>,
        stop: &Arc<Stop>,
    ) -> Self {
        let mut client = Client {
            session,
            recorder: Arc::clone(recorder),
            stop: Arc::clone(stop),
            messages: Arc::default(),
            rng: rand::SeedableRng::seed_from_u64(seed ^ 0x6f62_7365_7276_6572),
        };
        let numbers: Vec<Account> = (1..=accounts).collect();
        let mut known: Vec<Seen> = Vec::new();
        while !client.stop.wait(LOOK_INTERVAL) {
            let Some(&account) = numbers.choose(&mut client.rng) else {
                break;
            };
            if !known.iter().any(|seen| seen.number == account) {
                // Whoever cannot log in now tries again later.
                known.extend(self.login(account));
            }
            let Some(seen) = known.iter_mut().find(|seen| seen.number == account) else {
                continue;
            };
            let at = client.rng.random_range(0..MAILBOXES.len());
            let since = if client.rng.random_bool(0.3) {
                0
            } else {
                seen.last[at]
            };
            let invoked = client.recorder.now();
            let answered = self.changes(seen, at, since);
            if let Ok(answer) = &answered {
                seen.last[at] = answer.highest_modseq.unwrap_or_default();
            }
            record(&client, account, at, since, false, invoked, answered);
        }
        self
    }

    /// Ends its connections.
    pub fn stop(self) {
        self.runtime.block_on(self.shards.0.stop());
        self.runtime.shutdown_background();
    }
}

fn record(
    client: &Client,
    account: Account,
    at: usize,
    since: u64,
    closing: bool,
    invoked: u64,
    answered: Result<Answer, Status>,
) {
    let (outcome, answer) = outcome(answered);
    let action = Action::Changes {
        mailbox: MAILBOXES[at],
        since,
        closing,
    };
    client.record(account, invoked, action, outcome, answer);
}

/// When all is still and well: asks what has changed since each of many moments at which a mailbox was seen.
pub fn ask_closing(observer: &Observer, accounts: Account, recorder: &Arc<Recorder>) -> Result<()> {
    let client = Client {
        session: 0,
        recorder: Arc::clone(recorder),
        stop: Arc::default(),
        messages: Arc::default(),
        rng: rand::SeedableRng::seed_from_u64(0),
    };
    for account in 1..=accounts {
        let seen = observer.login(account).map_err(|status| anyhow!("{status}"))?;
        for (at, name) in MAILBOXES.iter().enumerate() {
            for since in modseqs_seen(recorder, account, name) {
                let invoked = recorder.now();
                let answered = observer.changes(&seen, at, since);
                if let Err(status) = &answered {
                    bail!("what changed since {since} in {name} of user{account} is not answered: {status}");
                }
                record(&client, account, at, since, true, invoked, answered);
            }
        }
    }
    Ok(())
}
