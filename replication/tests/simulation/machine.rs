//! A simulated machine: a disk, a log, a clock of its own, and while it runs a runtime with all its tasks.
//!
//! A power cut drops the runtime: every task ends where it waits, and what was not durable is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rookery_proto::replication::v1::Request;
use rookery_replication::group::{Member, MemberOptions};
use rookery_replication::store::MemoryDisk;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::log::{Broken, SimulatedLog};
use crate::network::{self, Caller, Way};
use crate::shared::{Here, Shared};
use crate::workload;

/// Bytes of the log from which on it is cut: little, so that it is cut often.
const LOG_BYTES_MAX: u64 = 6 * 1024;

/// A machine.
pub(crate) struct Machine {
    pub(crate) name: String,
    disk: Arc<MemoryDisk>,
    log: Arc<SimulatedLog>,
    broken: Option<Broken>,
    /// How fast its clock runs.
    pub(crate) rate: f64,
    /// When its log is synced next, and how many appends that covers.
    sync: Option<(u64, usize)>,
    /// The longest that a sync takes, in milliseconds.
    pub(crate) sync_max: u64,
    running: Option<Running>,
    /// When it starts or goes on, and how.
    pub(crate) returns_at: Option<u64>,
}

struct Running {
    runtime: Runtime,
    member: Arc<Member>,
    here: Here,
    began: Instant,
    /// Milliseconds by its own clock.
    elapsed: f64,
    /// Stands still, and its clock goes on.
    paused: bool,
    /// Set when it has stopped in good order.
    stopped: Option<Arc<AtomicBool>>,
}

impl Machine {
    pub(crate) fn new(name: String, rate: f64, broken: Option<Broken>) -> Self {
        let disk = MemoryDisk::new();
        Self {
            name,
            log: SimulatedLog::new(&disk, broken),
            disk,
            broken,
            rate,
            sync: None,
            sync_max: 2,
            running: None,
            returns_at: None,
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Its member, while it runs and is not about to end.
    pub(crate) fn member(&self) -> Option<&Arc<Member>> {
        let running = self.running.as_ref()?;
        (running.stopped.is_none() && !running.here.is_dark()).then_some(&running.member)
    }

    pub(crate) fn start(&mut self, shared: &Arc<Shared>) {
        shared.trace(&format!("{} starts", self.name));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let here = Here::new(Arc::clone(shared), self.name.clone(), Arc::clone(&self.disk));
        let options = MemberOptions {
            node: self.name.clone(),
            log_bytes_max: LOG_BYTES_MAX,
            on_failure: {
                let here = here.clone();
                Arc::new(move |error| here.shared.violated(format!("no disk fails: {error}")))
            },
            ..MemberOptions::default()
        };
        let opened = {
            let _entered = runtime.enter();
            Member::open_in_memory(
                Arc::clone(&self.disk),
                self.log.clone(),
                options,
                Arc::new(Way(here.clone())),
            )
        };
        let member = match opened {
            Ok(member) => member,
            Err(error) => return shared.violated(format!("{} starts: {error}", self.name)),
        };
        let began = runtime.block_on(async { Instant::now() });
        runtime.spawn(workload::run(here.clone(), Arc::clone(&member)));
        self.running = Some(Running {
            runtime,
            member,
            here,
            began,
            elapsed: 0.0,
            paused: false,
            stopped: None,
        });
    }

    /// Cuts its power: of what its log has not synced, the oldest appends may have become durable.
    pub(crate) fn cut_power(&mut self, shared: &Arc<Shared>) {
        let Some(running) = self.running.take() else {
            return;
        };
        let reached = shared.draw(0..self.log.waiting() as u64 + 1) as usize;
        shared.count("power cuts");
        shared.trace(&format!(
            "{} loses power, {reached} of {} appends are durable",
            self.name,
            self.log.waiting()
        ));
        self.leave(running, shared, reached);
    }

    /// The runtime ends with its tasks, and only what was durable is left.
    fn leave(&mut self, running: Running, shared: &Arc<Shared>, reached: usize) {
        self.disk = self.disk.after_power_cut();
        self.log = self.log.after_power_cut(reached, &self.disk);
        self.sync = None;
        running.runtime.shutdown_background();
        network::gone(shared, &self.name);
    }

    /// The power goes within what it does next.
    pub(crate) fn cut_power_soon(&self, shared: &Shared) {
        if let Some(running) = &self.running {
            match shared.once_in(2) {
                true => self.disk.cut_power_after(shared.draw(0..4)),
                false => running.here.cut_power_after_messages(shared.draw(0..6)),
            }
        }
    }

    /// Its disk is replaced by an empty one.
    pub(crate) fn lose_disk(&mut self, shared: &Arc<Shared>) {
        self.cut_power(shared);
        shared.count("disks lost");
        shared.trace(&format!("{} loses its disk", self.name));
        self.disk = MemoryDisk::new();
        self.log = SimulatedLog::new(&self.disk, self.broken);
        shared.directory.lock().disk_lost(&self.name);
    }

    /// Closes its member in good order.
    pub(crate) fn stop(&mut self, shared: &Shared) {
        if let Some(running) = &mut self.running
            && running.stopped.is_none()
        {
            shared.count("stops in good order");
            shared.trace(&format!("{} is told to stop", self.name));
            let stopped = Arc::new(AtomicBool::new(false));
            running.stopped = Some(Arc::clone(&stopped));
            let member = Arc::clone(&running.member);
            running.runtime.spawn(async move {
                member.close().await;
                stopped.store(true, Ordering::Relaxed);
            });
        }
    }

    pub(crate) fn pause(&mut self, shared: &Shared) {
        if let Some(running) = &mut self.running {
            shared.count("pauses");
            shared.trace(&format!("{} stands still", self.name));
            running.paused = true;
        }
    }

    pub(crate) fn resume(&mut self, shared: &Shared) {
        if let Some(running) = &mut self.running
            && std::mem::replace(&mut running.paused, false)
        {
            shared.trace(&format!("{} goes on", self.name));
            // Its clock has gone on: all that was due is due at once.
            let due = running.began + Duration::from_micros((running.elapsed * 1000.0) as u64);
            running.runtime.block_on(async {
                let now = Instant::now();
                tokio::time::advance(due.saturating_duration_since(now)).await;
            });
        }
    }

    /// The store flushes by itself.
    pub(crate) fn flush(&self, shared: &Shared) {
        if self.runs() {
            shared.trace(&format!("{} flushes", self.name));
            self.disk.flush();
        }
    }

    /// Takes a call up.
    pub(crate) fn serve(
        &self,
        shared: &Arc<Shared>,
        id: u64,
        from: String,
        request: Request,
        caller: Caller,
    ) {
        let Some(running) = self.running.as_ref().filter(|running| running.stopped.is_none()) else {
            return network::refused(shared, id, &caller);
        };
        network::taken_up(shared, id, &self.name, &caller);
        let (member, here) = (Arc::clone(&running.member), running.here.clone());
        running.runtime.spawn(async move {
            let answer = Box::pin(member.serve(request)).await;
            drop(member);
            network::answered(&here, id, &from, answer, &caller);
        });
    }

    /// Lets its disk work.
    pub(crate) fn sync(&mut self, shared: &Shared) {
        if !self.runs() {
            return;
        }
        match self.sync {
            Some((at, appends)) if at <= shared.now() => {
                shared.trace(&format!("{} has synced {appends} appends", self.name));
                self.sync = None;
                self.log.sync(appends);
            }
            Some(_) => {}
            None if self.log.waiting() > 0 => {
                let at = shared.now() + shared.draw(0..self.sync_max + 1);
                self.sync = Some((at, self.log.waiting()));
            }
            None => {}
        }
    }

    /// Lets it run until this much more has passed by the run's clock.
    pub(crate) fn run(&mut self, shared: &Arc<Shared>, millis: u64) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.elapsed += millis as f64 * self.rate;
        if running.paused {
            return;
        }
        let until = running.began + Duration::from_micros((running.elapsed * 1000.0) as u64);
        running
            .runtime
            .block_on(async { tokio::time::sleep_until(until).await });
        let has_stopped = running
            .stopped
            .as_ref()
            .is_some_and(|stopped| stopped.load(Ordering::Relaxed));
        if running.here.is_dark() {
            self.cut_power(shared);
        } else if has_stopped && let Some(running) = self.running.take() {
            shared.trace(&format!("{} has stopped", self.name));
            self.leave(running, shared, usize::MAX);
        }
    }
}
