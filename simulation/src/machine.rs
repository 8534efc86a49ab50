//! A simulated machine: a disk, a log, clocks of its own, and while it runs a runtime with all its tasks.
//!
//! A power cut drops the runtime: every task ends where it waits, and what was not durable is gone.

use std::sync::Arc;
use std::time::Duration;

use rookery_replication::store::MemoryDisk;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::here::Here;
use crate::log::{Broken, SimulatedLog};
use crate::run::Run;
use crate::{clock, network};

/// Milliseconds of the usual step: each machine runs for so long, then what it sent may arrive.
pub const STEP: u64 = 4;

/// The longest that a sync takes, in milliseconds.
const SYNC_USUAL: u64 = 2;

/// What a machine has that outlasts its lives.
#[derive(Clone)]
pub struct Disks {
    /// For rows.
    pub disk: Arc<MemoryDisk>,
    /// For the log.
    pub log: Arc<SimulatedLog>,
}

/// Begins what a machine does, within its runtime: tasks for all that takes time. It cancels [`Here::ended`] when it has stopped
/// after [`Here::stop`]. Nothing when it cannot begin, which it has said.
pub type Boot<T> = Box<dyn Fn(&Here, &Disks) -> Option<T>>;

/// A machine, which gives what it runs as `T` to those that look at it.
pub struct Machine<T> {
    /// Its name.
    pub name: String,
    boot: Boot<T>,
    disks: Disks,
    broken: Option<Broken>,
    /// How fast its clocks run.
    pub rate: f64,
    /// How far its wall clock is ahead, in milliseconds; heeded when it starts.
    pub ahead_millis: i64,
    /// When its log is synced next, and how many appends that covers.
    sync: Option<(u64, usize)>,
    /// The longest that a sync takes now, in milliseconds.
    pub sync_max: u64,
    /// The longest that one takes while nothing makes it slow.
    pub sync_usual: u64,
    running: Option<Running<T>>,
    /// When it starts or goes on, and how.
    pub returns_at: Option<u64>,
}

struct Running<T> {
    runtime: Runtime,
    runs: T,
    here: Here,
    began: Instant,
    /// By the run's clock.
    began_at: Duration,
    /// Milliseconds by its own clock.
    elapsed: f64,
    /// Stands still, and its clock goes on.
    paused: bool,
}

impl<T> Machine<T> {
    /// One that does not run yet, and what it does when it does.
    pub fn new(name: &str, rate: f64, broken: Option<Broken>, boot: Boot<T>) -> Self {
        let disk = MemoryDisk::new();
        Self {
            name: name.to_owned(),
            boot,
            disks: Disks {
                log: SimulatedLog::new(&disk, broken),
                disk,
            },
            broken,
            rate,
            ahead_millis: 0,
            sync: None,
            sync_max: SYNC_USUAL,
            sync_usual: SYNC_USUAL,
            running: None,
            returns_at: None,
        }
    }

    /// Whether it has power.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// What it runs, while it does and is not about to end.
    pub fn what_runs(&self) -> Option<&T> {
        let running = self.running.as_ref()?;
        (!running.here.stop.is_cancelled() && !running.here.is_dark()).then_some(&running.runs)
    }

    /// Starts it.
    pub fn start(&mut self, run: &Arc<Run>) {
        run.trace(&format!("{} starts", self.name));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let disk = Arc::clone(&self.disks.disk);
        let here = Here::new(Arc::clone(run), &self.name, runtime.handle().clone(), disk);
        let began_at = Duration::from_millis(run.now());
        clock::enter(began_at, self.ahead_millis);
        let (runs, began) = {
            let _entered = runtime.enter();
            ((self.boot)(&here, &self.disks), Instant::now())
        };
        let Some(runs) = runs else { return };
        run.life_begins(&self.name);
        run.network.lock().joined(here.clone());
        self.running = Some(Running {
            runtime,
            runs,
            here,
            began,
            began_at,
            elapsed: 0.0,
            paused: false,
        });
    }

    /// Cuts its power: of what its log has not synced, the oldest appends may have become durable.
    pub fn cut_power(&mut self, run: &Arc<Run>) {
        let Some(running) = self.running.take() else {
            return;
        };
        let waiting = self.disks.log.waiting();
        let reached = run.draw(0..waiting as u64 + 1) as usize;
        run.count("power cuts");
        run.trace(&format!(
            "{} loses power, {reached} of {waiting} appends are durable",
            self.name
        ));
        self.leave(running, run, reached);
    }

    /// The runtime ends with its tasks, and only what was durable is left.
    fn leave(&mut self, running: Running<T>, run: &Run, reached: usize) {
        run.life_ends(&self.name);
        let disk = self.disks.disk.after_power_cut();
        // What its tasks do as they are dropped is seen by nobody.
        self.disks.disk.cut_power_after(0);
        self.disks.log = self.disks.log.after_power_cut(reached, &disk);
        self.disks.disk = disk;
        self.sync = None;
        running.runtime.shutdown_background();
        network::gone(run, &self.name);
    }

    /// The power goes within what it does next.
    pub fn cut_power_soon(&self, run: &Run) {
        if let Some(running) = &self.running {
            match run.once_in(2) {
                true => self.disks.disk.cut_power_after(run.draw(0..4)),
                false => running.here.cut_power_after_messages(run.draw(0..6)),
            }
        }
    }

    /// Its disk is replaced by an empty one.
    pub fn lose_disk(&mut self, run: &Arc<Run>) {
        self.cut_power(run);
        run.count("disks lost");
        run.trace(&format!("{} loses its disk", self.name));
        let disk = MemoryDisk::new();
        self.disks = Disks {
            log: SimulatedLog::new(&disk, self.broken),
            disk,
        };
    }

    /// Tells it to stop in good order.
    pub fn stop(&mut self, run: &Run) {
        if let Some(running) = &self.running
            && !running.here.stop.is_cancelled()
        {
            run.count("stops in good order");
            run.trace(&format!("{} is told to stop", self.name));
            run.life_ends(&self.name);
            running.here.stop.cancel();
        }
    }

    /// It stands still.
    pub fn pause(&mut self, run: &Run) {
        if let Some(running) = &mut self.running {
            run.count("pauses");
            run.trace(&format!("{} stands still", self.name));
            running.paused = true;
        }
    }

    /// It goes on, and finds that its clock has gone on.
    pub fn resume(&mut self, run: &Run) {
        if let Some(running) = &mut self.running
            && std::mem::replace(&mut running.paused, false)
        {
            run.trace(&format!("{} goes on", self.name));
            // All that was due is due at once.
            clock::enter(running.began_at, self.ahead_millis);
            let due = running.began + Duration::from_micros((running.elapsed * 1000.0) as u64);
            running.runtime.block_on(async {
                let now = Instant::now();
                tokio::time::advance(due.saturating_duration_since(now)).await;
            });
        }
    }

    /// The store flushes by itself.
    pub fn flush(&self, run: &Run) {
        if self.runs() {
            run.trace(&format!("{} flushes", self.name));
            self.disks.disk.flush();
        }
    }

    /// Lets its disk work.
    fn sync(&mut self, run: &Run) {
        if !self.runs() {
            return;
        }
        match self.sync {
            Some((at, appends)) if at <= run.now() => {
                run.trace(&format!("{} has synced {appends} appends", self.name));
                self.sync = None;
                self.disks.log.sync(appends);
            }
            Some(_) => {}
            None if self.disks.log.waiting() > 0 => {
                let at = run.now() + run.draw(0..self.sync_max + 1);
                self.sync = Some((at, self.disks.log.waiting()));
            }
            None => {}
        }
    }

    /// Lets it run until this much more has passed by the run's clock.
    fn run(&mut self, run: &Arc<Run>, millis: u64) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.elapsed += millis as f64 * self.rate;
        if running.paused {
            return;
        }
        clock::enter(running.began_at, self.ahead_millis);
        let until = running.began + Duration::from_micros((running.elapsed * 1000.0) as u64);
        running
            .runtime
            .block_on(async { tokio::time::sleep_until(until).await });
        if running.here.is_dark() {
            self.cut_power(run);
        } else if running.here.ended.is_cancelled()
            && let Some(running) = self.running.take()
        {
            run.trace(&format!("{} has stopped", self.name));
            self.leave(running, run, usize::MAX);
        }
    }
}

/// Time goes on by one step of so many milliseconds: what is due arrives, then one machine after the other runs.
pub fn step<T>(run: &Arc<Run>, machines: &mut [Machine<T>], millis: u64) {
    run.set_now(run.now() + millis);
    network::deliver(run);
    for machine in machines {
        machine.sync(run);
        machine.run(run, millis);
    }
}
