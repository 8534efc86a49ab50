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
use rookery_proto::mailstore::v1::{self as mailstore, MessageFlags, UidSet, reply, request};
use rookery_proto::remote::{ConnectOptions, Endpoint, NodeTls, connect};
use rookery_proto::{Caller, DirectoryProtocol, MailstoreProtocol, Reason, Replies, Role, Status};
use rookery_proxy::route::{self, CallOptions, Connect};

use super::super::history::{Account, Action, Answer, MAILBOXES, Outcome, Recorder, Row};
use super::{Client, Stop, address};
use crate::member::node_tls;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(60);

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// At the end, how many of the modseqs at which a mailbox was seen are asked from.
const CLOSING_MAX: usize = 40;

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
    cluster: Arc<route::Cluster>,
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
        Ok(Self { runtime, cluster })
    }

    fn login(&self, account: Account) -> Result<Seen, Status> {
        let login = address(account);
        let logged_in =
            self.runtime
                .block_on(self.cluster.authenticate(&login, "playground", "127.0.0.1"))?;
        let list = request::Call::ListMailboxes(mailstore::ListMailboxes {});
        let listed = self.runtime.block_on(logged_in.call(list, CallOptions::READ))?;
        let reply::Call::Mailboxes(listed) = listed else {
            return Err(Status::internal("mailboxes were answered with something else"));
        };
        let ids = MAILBOXES.map(|name| listed.mailboxes.iter().find(|held| held.name == name));
        let ids = ids.map(|held| held.map(|held| held.id).unwrap_or_default());
        Ok(Seen {
            number: account,
            account: logged_in,
            ids,
            last: [0; MAILBOXES.len()],
        })
    }

    /// Asks once and gives what was answered.
    fn changes(&self, seen: &Seen, at: usize, since: u64) -> Result<Answer, Status> {
        let call = request::Call::Changes(mailstore::Changes {
            mailbox: seen.ids[at],
            since,
        });
        let reply = self
            .runtime
            .block_on(seen.account.call(call, CallOptions::READ))?;
        let reply::Call::Changes(changes) = reply else {
            return Err(Status::internal("changes were answered with something else"));
        };
        Ok(Answer {
            rows: changes.changed.iter().map(row).collect(),
            vanished: uids(changes.vanished.as_ref()),
            uid_validity: Some(changes.uid_validity),
            uid_next: Some(changes.uid_next),
            highest_modseq: Some(changes.modseq),
            complete: changes.reset || since == 0,
            ..Answer::default()
        })
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
        self.runtime.block_on(self.cluster.stop());
        self.runtime.shutdown_background();
    }
}

/// An account that the observer is logged in to.
struct Seen {
    number: Account,
    account: Arc<route::Account>,
    ids: [u32; MAILBOXES.len()],
    /// The modseq of the last look.
    last: [u64; MAILBOXES.len()],
}

/// Whether it may be asked again.
fn is_later(status: &Status) -> bool {
    status.is_retryable() || matches!(status.reason, Reason::DeadlineExceeded | Reason::Cancelled)
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
    let (outcome, answer) = match answered {
        Ok(answer) => (Outcome::Ok, answer),
        Err(status) if is_later(&status) => (Outcome::Unknown(status.to_string()), Answer::default()),
        Err(status) => (Outcome::Refused(status.to_string()), Answer::default()),
    };
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

/// Modseqs at which the mailbox was seen, spread over the whole run, 0 among them.
fn modseqs_seen(recorder: &Recorder, account: Account, mailbox: &str) -> Vec<u64> {
    let mut modseqs: Vec<u64> = recorder.with_events(|events| {
        let of_mailbox = events.iter().filter(|event| {
            event.account == account
                && matches!(&event.action, Action::Changes { mailbox: of, .. } if *of == mailbox)
        });
        of_mailbox
            .filter_map(|event| event.answer.highest_modseq)
            .collect()
    });
    modseqs.push(0);
    modseqs.sort_unstable();
    modseqs.dedup();
    let step = modseqs.len().div_ceil(CLOSING_MAX).max(1);
    modseqs.into_iter().step_by(step).collect()
}

fn row(message: &MessageFlags) -> Row {
    const SYSTEM: [&str; 5] = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"];
    let held = message.flags.clone().unwrap_or_default();
    let mut flags: Vec<String> = SYSTEM
        .iter()
        .enumerate()
        .filter(|(bit, _)| held.system & (1 << bit) != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect();
    flags.extend(held.keywords);
    flags.sort();
    Row {
        uid: message.uid,
        flags: Some(flags),
        modseq: Some(message.modseq),
        ..Row::default()
    }
}

fn uids(set: Option<&UidSet>) -> Vec<u32> {
    let bounds = set.map(|set| set.bounds.as_slice()).unwrap_or_default();
    bounds
        .chunks_exact(2)
        .flat_map(|bounds| bounds[0]..=bounds[1])
        .collect()
}
