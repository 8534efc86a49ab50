//! The machine with all mail clients: starts them, ends them when all is quiet, and reads what there is then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rookery_replication::group::Member;
use rookery_simulation::Here;
use rookery_tests::faults::history::{
    Account, Action, Answer, Event, FaultSpan, Lost, Nanos, Outcome, Recorder,
};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::ending;
use crate::observer;
use crate::sender::Sender;
use crate::session::Session;
use crate::watcher::Watcher;

/// How often it is looked whether clients are to begin, or to end.
const LOOK: Duration = Duration::from_millis(20);

/// The observer's number among the clients.
const OBSERVER: u32 = 1_000;

/// How long what a dead proxy had asked for may still take, and a proxy to notice that a change feed has broken.
const SETTLE: Duration = Duration::from_secs(15);

/// A connection that was lost while a message was read.
pub(crate) struct Unread {
    lost: Lost,
    account: Account,
    mailbox: &'static str,
    uid: u32,
}

impl Unread {
    /// Whether the message may have gone before its text was sent as a whole, after which nothing but the end of the connection can
    /// follow when another leader is asked for the rest.
    fn is_excused(&self, events: &[Event]) -> bool {
        let is_named = |uids: &[u32]| uids.contains(&self.uid);
        events.iter().any(|event| {
            let (mailbox, removes) = match &event.action {
                Action::Move { mailbox, uids, .. } => (*mailbox, is_named(uids)),
                Action::Expunge { mailbox, uids } => (*mailbox, uids.as_deref().is_none_or(is_named)),
                _ => return false,
            };
            let here = event.account == self.account && mailbox == self.mailbox;
            here && removes && event.invoked <= self.lost.at
        })
    }
}

/// What every client has.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) account: Account,
    /// Position of its proxy.
    pub(crate) proxy: usize,
    pub(crate) here: Here,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) recorder: Arc<Recorder>,
    /// It is to end.
    pub(crate) stop: Arc<AtomicBool>,
    /// The number of the next message of the run.
    messages: Arc<AtomicU64>,
}

impl Client {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn next_message(&self) -> u64 {
        self.messages.fetch_add(1, Ordering::Relaxed)
    }

    /// The name of its proxy.
    pub(crate) fn proxy_name(&self) -> &str {
        &self.cluster.proxies[self.proxy]
    }

    pub(crate) fn draw(&self, range: std::ops::Range<u64>) -> u64 {
        self.here.run.draw(range)
    }

    pub(crate) fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        self.here.run.one_of(choices)
    }

    pub(crate) async fn pause(&self, millis: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.draw(millis) * self.cluster.pace)).await;
    }

    /// A command succeeded.
    pub(crate) fn is_well(&self) {
        self.cluster.well.lock().insert(self.number);
    }

    /// Writes down what was asked, and what came of it.
    pub(crate) fn record(&self, invoked: Nanos, action: Action, outcome: Outcome, answer: Answer) {
        self.record_for(self.account, invoked, action, outcome, answer);
    }

    /// The same for an account that is not its own.
    pub(crate) fn record_for(
        &self,
        account: Account,
        invoked: Nanos,
        action: Action,
        outcome: Outcome,
        answer: Answer,
    ) {
        self.here.trace(&format!(
            "client {} of user{account}: {action:?}: {outcome:?} {:?}",
            self.number, answer.uids
        ));
        self.here.run.count(action.kind());
        if outcome.is_ok() {
            self.is_well();
        } else {
            self.here.run.count("not acknowledged");
        }
        self.recorder.record(Event {
            session: self.number,
            account,
            invoked,
            completed: self.recorder.now(),
            action,
            outcome,
            answer,
        });
    }

    /// Its connection, which was well at `since`, was lost, perhaps while it read a whole message.
    pub(crate) fn lost(&self, since: Nanos, error: String, read: Option<(&'static str, u32)>) {
        self.here
            .trace(&format!("client {} is lost: {error}", self.number));
        self.here.run.count("connections lost");
        let lost = Lost {
            session: self.number,
            proxy: self.proxy,
            since,
            at: self.recorder.now(),
            error,
        };
        match read {
            Some((mailbox, uid)) => self.cluster.unread.lock().push(Unread {
                lost,
                account: self.account,
                mailbox,
                uid,
            }),
            None => self.recorder.record_lost(lost),
        }
    }
}

/// Starts the machine.
pub(crate) fn start(here: &Here, cluster: &Arc<Cluster>) -> Option<Option<Arc<Member>>> {
    tokio::spawn(run(here.clone(), Arc::clone(cluster)));
    Some(None)
}

async fn run(here: Here, cluster: Arc<Cluster>) {
    while !cluster.is_ready() {
        sleep(LOOK).await;
    }
    let recorder = Arc::new(Recorder::default());
    let began = here.run.now();
    let (stop, watchers_stop) = (Arc::new(AtomicBool::default()), Arc::new(AtomicBool::default()));
    // One message in so many is large, in one run sooner than in another.
    let messages = Arc::new(AtomicU64::new(1 + here.run.draw(0..29)));
    let client = |number: u32, stop: &Arc<AtomicBool>| Client {
        number,
        account: 1 + number % cluster.accounts,
        proxy: (number / cluster.accounts) as usize % cluster.proxies.len(),
        here: here.clone(),
        cluster: Arc::clone(&cluster),
        recorder: Arc::clone(&recorder),
        stop: Arc::clone(stop),
        messages: Arc::clone(&messages),
    };
    let mut numbers = 0..;
    let mut of = |count: u32| -> Vec<u32> { numbers.by_ref().take(count as usize).collect() };
    let sessions: Vec<_> = of(cluster.sessions)
        .into_iter()
        .map(|number| tokio::spawn(Session::new(client(number, &stop)).run()))
        .collect();
    let watchers: Vec<_> = of(cluster.watchers)
        .into_iter()
        .map(|number| tokio::spawn(Watcher::new(client(number, &watchers_stop)).run()))
        .collect();
    let senders: Vec<_> = of(cluster.senders)
        .into_iter()
        .map(|number| tokio::spawn(Sender::new(client(number, &stop)).run()))
        .collect();
    let looker = client(OBSERVER, &stop);
    let observer = observer::join(&here, &cluster);
    let observer = tokio::spawn(observer::watch(looker.clone(), observer));
    while !here.run.is_quiet() {
        sleep(LOOK).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in sessions.into_iter().chain(senders) {
        // A panic is a violation of its own.
        let _ = client.await;
    }
    let Ok(observer) = observer.await else { return };
    sleep(SETTLE).await;
    let ending = match ending::read_settled(&here, &cluster, &recorder).await {
        Ok(ending) => ending,
        Err(error) => {
            return here
                .run
                .violated(format!("all mailboxes are read at the end: {error:#}"));
        }
    };
    if let Err(error) = observer::ask_closing(&looker, &observer).await {
        here.run
            .violated(format!("shards answer what has changed at the end: {error:#}"));
    }
    watchers_stop.store(true, Ordering::Relaxed);
    for watcher in watchers {
        // As above.
        let _ = watcher.await;
    }
    let mut history = recorder.finish(deaths(&here, began));
    for unread in cluster.unread.lock().drain(..) {
        if !unread.is_excused(&history.events) {
            history.lost.push(unread.lost);
        }
    }
    *cluster.result.lock() = Some((history, ending));
}

/// The ends of proxies' lives: what excuses the loss of a connection.
fn deaths(here: &Here, began: u64) -> Vec<FaultSpan> {
    let nanos = |millis: u64| millis.saturating_sub(began) * 1_000_000;
    let lives = here.run.lives();
    let ended = lives.iter().filter_map(|life| Some((life, life.to?)));
    ended
        .map(|(life, ended)| {
            let next = lives
                .iter()
                .find(|next| next.machine == life.machine && next.from >= ended);
            FaultSpan {
                nemesis: "kill",
                description: format!("the end of {}", life.machine),
                nodes: vec![life.machine.clone()],
                led: Vec::new(),
                from: nanos(ended),
                struck: nanos(ended),
                to: next.map_or(Nanos::MAX, |next| nanos(next.from)),
            }
        })
        .collect()
}
