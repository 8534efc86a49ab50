//! The simulated network: calls and answers arrive late, out of order, twice or never, as the seed says.
//!
//! A call that nobody will answer ends with an error after a while, as a broken connection does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rookery_proto::Status;
use rookery_proto::replication::v1::{Request, reply, request};
use rookery_replication::transport::{Transport, answer_timeout};
use tokio::sync::oneshot;

use crate::shared::{Here, Shared};

type Answer = Result<reply::Call, Status>;

/// Who waits for an answer. Shared by a call that arrives twice.
pub(crate) type Caller = Arc<Mutex<Option<oneshot::Sender<Answer>>>>;

/// What is under way.
pub(crate) enum Packet {
    Call {
        id: u64,
        from: String,
        to: String,
        request: Request,
        caller: Caller,
    },
    Answer {
        id: u64,
        answer: Answer,
        caller: Caller,
    },
}

/// How the network behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    /// Of how many messages one is lost; 0: none.
    pub(crate) lost_one_in: u64,
    /// Of how many calls one arrives twice; 0: none.
    pub(crate) twice_one_in: u64,
    /// The longest that a message takes, in milliseconds.
    pub(crate) delay_max: u64,
}

/// After how long at most a call ends that nobody will answer, in milliseconds.
const GIVEN_UP_MAX: u64 = 2500;

/// What is under way, by when it arrives.
#[derive(Default)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    under_way: BTreeMap<(u64, u64), Packet>,
    sent: u64,
    calls: u64,
    /// From whom to whom nothing gets through.
    pub(crate) cuts: BTreeSet<(String, String)>,
    /// Calls that a machine is working on.
    serving: BTreeMap<u64, (String, Caller)>,
}

impl Network {
    fn put(&mut self, at: u64, packet: Packet) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), packet);
    }

    /// What has arrived by now.
    pub(crate) fn arrived(&mut self, now: u64) -> Option<Packet> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// How long a message takes; `None` when it is lost.
fn travel(shared: &Shared, network: &Network, from: &str, to: &str) -> Option<u64> {
    let weather = &network.weather;
    let is_cut = network.cuts.contains(&(from.to_owned(), to.to_owned()));
    if is_cut || shared.once_in(weather.lost_one_in) {
        return None;
    }
    // Most are quick: now and then one is overtaken by many.
    let longest = match shared.once_in(8) {
        true => weather.delay_max,
        false => weather.delay_max / 4,
    };
    Some(1 + shared.draw(0..longest.max(1)))
}

/// A machine's way to others.
pub(crate) struct Way(pub(crate) Here);

impl Transport for Way {
    fn call(&self, node: &str, request: Request) -> BoxFuture<'static, Answer> {
        if !self.0.sends() {
            return Box::pin(std::future::pending());
        }
        let timeout = answer_timeout(&request);
        let (sender, answered) = oneshot::channel();
        self.send(node, request, sender);
        Box::pin(async move {
            match tokio::time::timeout(timeout, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(Status::unavailable("the connection broke")),
                Err(_) => Err(Status::unavailable("no answer in time")),
            }
        })
    }
}

impl Way {
    fn send(&self, to: &str, request: Request, sender: oneshot::Sender<Answer>) {
        let shared = &self.0.shared;
        let from = &self.0.node;
        let mut network = shared.network.lock();
        network.calls += 1;
        let id = network.calls;
        let caller: Caller = Arc::new(Mutex::new(Some(sender)));
        let times = if shared.once_in(network.weather.twice_one_in) {
            2
        } else {
            1
        };
        shared.trace(&format!("{from} calls {to}: {id} {}", described(&request)));
        for _ in 0..times {
            match travel(shared, &network, from, to) {
                Some(travel) => {
                    let packet = Packet::Call {
                        id,
                        from: from.clone(),
                        to: to.to_owned(),
                        request: request.clone(),
                        caller: Arc::clone(&caller),
                    };
                    network.put(shared.now() + travel, packet);
                }
                None => give_up(shared, &mut network, id, &caller),
            }
        }
    }
}

fn give_up(shared: &Shared, network: &mut Network, id: u64, caller: &Caller) {
    let packet = Packet::Answer {
        id,
        answer: Err(Status::unavailable("the connection broke")),
        caller: Arc::clone(caller),
    };
    network.put(shared.now() + shared.draw(10..GIVEN_UP_MAX), packet);
}

/// A call reaches a machine that does not run.
pub(crate) fn refused(shared: &Shared, id: u64, caller: &Caller) {
    let mut network = shared.network.lock();
    let packet = Packet::Answer {
        id,
        answer: Err(Status::unavailable("nobody listens")),
        caller: Arc::clone(caller),
    };
    network.put(shared.now() + shared.draw(1..20), packet);
}

/// A machine takes a call up.
pub(crate) fn taken_up(shared: &Shared, id: u64, node: &str, caller: &Caller) {
    let mut network = shared.network.lock();
    network.serving.insert(id, (node.to_owned(), Arc::clone(caller)));
}

/// A machine answers a call.
pub(crate) fn answered(here: &Here, id: u64, caller_node: &str, answer: Answer, caller: &Caller) {
    if !here.sends() {
        return;
    }
    let shared = &here.shared;
    let mut network = shared.network.lock();
    network.serving.remove(&id);
    if let Ok(reply::Call::SnapshotInstalled(_)) = &answer {
        shared.count("states given to replicas");
    }
    let outcome = match &answer {
        Ok(answer) => answer_described(answer),
        Err(status) => status.message.clone(),
    };
    shared.trace(&format!("{} answers {id}: {outcome}", here.node));
    match travel(shared, &network, &here.node, caller_node) {
        Some(travel) => {
            let packet = Packet::Answer {
                id,
                answer,
                caller: Arc::clone(caller),
            };
            network.put(shared.now() + travel, packet);
        }
        None => give_up(shared, &mut network, id, caller),
    }
}

/// A machine has gone: the connections to it break.
pub(crate) fn gone(shared: &Shared, node: &str) {
    let mut network = shared.network.lock();
    let broken: Vec<u64> = network
        .serving
        .iter()
        .filter(|(_, (at, _))| at == node)
        .map(|(id, _)| *id)
        .collect();
    for id in broken {
        if let Some((_, caller)) = network.serving.remove(&id) {
            give_up(shared, &mut network, id, &caller);
        }
    }
}

fn described(request: &Request) -> String {
    let call = match &request.call {
        Some(request::Call::Beat(_)) => "beat".to_owned(),
        Some(request::Call::Append(append)) => {
            format!("append of {} after {:?}", append.entries.len(), append.previous)
        }
        Some(request::Call::RequestVote(vote)) => format!("vote {:?}", vote.vote),
        Some(request::Call::RequestPreVote(vote)) => format!("pre-vote {:?}", vote.vote),
        Some(request::Call::TransferLeader(transfer)) => format!("transfer to {}", transfer.to),
        Some(request::Call::InstallSnapshot(offer)) => format!("install {:?}", offer.last),
        Some(request::Call::ReadSnapshot(read)) => format!("read column {}", read.column),
        Some(request::Call::ReadDigest(read)) => format!("digest from {:?}", read.from),
        Some(request::Call::AskPosition(_)) => "position".to_owned(),
        None => "nothing".to_owned(),
    };
    format!("{call} (group {}, replica {})", request.group, request.to)
}

fn answer_described(answer: &reply::Call) -> String {
    match answer {
        reply::Call::SnapshotRows(rows) => format!("{} rows", rows.rows.len()),
        // A number that names the process tells nothing.
        reply::Call::BeatAnswer(answer) => format!("beat, not led: {:?}", answer.not_led),
        answer => format!("{answer:?}"),
    }
}
