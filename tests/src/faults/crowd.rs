//! The clients of a run with their record, and the observer of what they do; from their start to the state that they leave.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::ending::{self, Ending};
use super::history::{FaultSpan, History, Recorder};
use super::invariants;
use super::model::Model;
use super::stage::Stage;
use super::workload::{Mix, Observer, Proxy, Stop, Workload, ask_closing};

/// The observer's number among the clients.
const OBSERVER: u32 = 1_000;

/// Clients at work.
pub(super) struct Crowd {
    accounts: u32,
    proxies: Vec<Proxy>,
    recorder: Arc<Recorder>,
    workload: Workload,
    observer_stop: Arc<Stop>,
    watching: JoinHandle<Observer>,
}

impl Crowd {
    /// Starts them all.
    pub(super) fn start(mix: &Mix, seed: u64, stage: &Stage) -> Result<Self> {
        let (recorder, observer_stop) = (Arc::new(Recorder::default()), Arc::new(Stop::default()));
        let (proxies, accounts) = (stage.proxies(), mix.accounts);
        let observer = Observer::start(&stage.credentials()?)?;
        let workload = Workload::start(mix, seed, &proxies, &recorder);
        let watching = {
            let (recorder, stop) = (Arc::clone(&recorder), Arc::clone(&observer_stop));
            std::thread::spawn(move || observer.watch(OBSERVER, seed, accounts, &recorder, &stop))
        };
        Ok(Self {
            accounts,
            proxies,
            recorder,
            workload,
            observer_stop,
            watching,
        })
    }

    /// What they write down.
    pub(super) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Ends them, waits until what was acknowledged has arrived, and reads what is there.
    pub(super) fn finish(
        mut self,
        faults: Vec<FaultSpan>,
        settle_max: Duration,
    ) -> Result<(History, Ending)> {
        self.workload.finish_clients()?;
        self.observer_stop.say();
        let observer = self.watching.join();
        let observer = observer.map_err(|_| anyhow!("the observer panicked"))?;
        let so_far = self.recorder.with_events(|events| History {
            events: events.to_vec(),
            ..History::default()
        });
        let is_settled = |ending: &Ending| invariants::is_settled(&Model::of(&so_far, ending));
        let ending = ending::read(&self.proxies[0].imap, self.accounts, settle_max, is_settled)?;
        ask_closing(&observer, self.accounts, &self.recorder)?;
        self.workload.finish_watchers()?;
        observer.stop();
        Ok((self.recorder.finish(faults), ending))
    }
}
