//! Many watchers of a directory, as many proxies are, and when each is told of a change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rookery_proto::directory::v1::{Watch, WatchEvent, reply, request};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Client, Said, Target};

/// How long watches last at most.
const WATCH_MAX: Duration = Duration::from_secs(3_600);

/// How long all watchers may take until they are told something.
const TOLD_MAX: Duration = Duration::from_secs(30);

/// What a watcher was told, and when.
enum Told {
    /// All of it.
    Snapshot,
    /// That an account has changed.
    Account(u64, Instant),
    /// Nothing any more.
    Ended(String),
}

/// Watches that are under way; dropped, they end.
pub struct Watchers {
    count: usize,
    told: mpsc::Receiver<Told>,
    _tasks: JoinSet<()>,
    _connections: Vec<Arc<Client>>,
}

impl Watchers {
    /// Starts so many watches, evenly over so many connections, and waits until each has its snapshot.
    pub async fn start(target: &Target, count: usize, connections: usize) -> Result<Self> {
        let connections = (0..connections.clamp(1, count.max(1)))
            .map(|_| Ok(Arc::new(target.connect()?)))
            .collect::<Result<Vec<_>>>()?;
        // Each is told one thing at a time here, so that none waits.
        let (sender, mut told) = mpsc::channel(count.max(1) * 4);
        let mut tasks = JoinSet::new();
        for client in connections.iter().cycle().take(count) {
            tasks.spawn(watch(Arc::clone(client), sender.clone()));
        }
        let mut waiting = count;
        while waiting > 0 {
            match next(&mut told).await? {
                Told::Snapshot => waiting -= 1,
                Told::Account(..) => {}
                Told::Ended(why) => bail!("a watch ended: {why}"),
            }
        }
        Ok(Self {
            count,
            told,
            _tasks: tasks,
            _connections: connections,
        })
    }

    /// Waits until each watcher has been told once that an account has changed: when each was, ascending.
    pub async fn until_told(&mut self, account: u64) -> Result<Vec<Instant>> {
        let mut times = Vec::with_capacity(self.count);
        while times.len() < self.count {
            match next(&mut self.told).await? {
                Told::Account(changed, at) if changed == account => times.push(at),
                Told::Account(..) => {}
                Told::Snapshot => bail!("a watcher fell behind and was told all anew"),
                Told::Ended(why) => bail!("a watch ended: {why}"),
            }
        }
        times.sort_unstable();
        Ok(times)
    }
}

async fn next(told: &mut mpsc::Receiver<Told>) -> Result<Told> {
    let next = tokio::time::timeout(TOLD_MAX, told.recv()).await;
    let next = next.context("some watchers were not told within 30 seconds")?;
    next.context("all watches have ended")
}

async fn watch(client: Arc<Client>, told: mpsc::Sender<Told>) {
    let mut replies = client.call(request::Call::Watch(Watch {}), WATCH_MAX);
    let mut sent = Ok(());
    while sent.is_ok() {
        let said = replies.next().await;
        let at = Instant::now();
        let event = match said.map(event) {
            Some(Ok(event)) => event,
            Some(Err(why)) => {
                // Nobody need be listening any more.
                let _ = told.send(Told::Ended(why)).await;
                return;
            }
            None => {
                let _ = told.send(Told::Ended("the directory ended it".to_owned())).await;
                return;
            }
        };
        if event.snapshot {
            sent = told.send(Told::Snapshot).await;
        }
        for change in event.accounts {
            sent = told.send(Told::Account(change.account, at)).await;
        }
    }
}

fn event(said: Said) -> Result<WatchEvent, String> {
    match said.map(|reply| reply.call) {
        Ok(Some(reply::Call::WatchEvent(event))) => Ok(event),
        Ok(other) => Err(format!("answered with {other:?}")),
        Err(status) => Err(status.to_string()),
    }
}
