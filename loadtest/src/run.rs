//! One run of a workload against one server, from the first connection to its figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::corpus::{Corpus, MessageId};
use crate::cost::{self, Cost, Cpu};
use crate::figures::{Figure, Outcome};
use crate::oracle::Ledger;
use crate::profile::Profile;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::schedule::Schedule;
use crate::target::{Endpoint, Protocol, Target};
use crate::timer::Timer;
use crate::workload;

/// What all sessions of a run share.
pub(crate) struct Run {
    pub(crate) profile: Arc<Profile>,
    pub(crate) target: Arc<Target>,
    pub(crate) corpus: Arc<Corpus>,
    pub(crate) recorder: Recorder,
    pub(crate) schedule: Schedule,
    pub(crate) progress: Arc<Progress>,
    /// What was acknowledged, where an oracle is to look for it.
    pub(crate) ledger: Option<Ledger>,
    /// Where IMAP is spoken, if the workload speaks it.
    imap: Option<Endpoint>,
    id: u64,
    serials: AtomicU64,
    raced: AtomicU64,
    figures: Mutex<Vec<Figure>>,
    meter: Mutex<Meter>,
}

/// CPU at the start and at the end of the measured time.
#[derive(Default)]
struct Meter {
    begin: Option<(Duration, Option<Cpu>)>,
    own: Duration,
    server: Option<f64>,
    pss_kib: Option<u64>,
}

impl Run {
    /// Makes ready; connects to nobody yet. In a round all servers have the same arrivals. Must be called within a tokio
    /// runtime.
    pub(crate) fn new(
        profile: &Arc<Profile>,
        target: &Arc<Target>,
        corpus: &Arc<Corpus>,
        progress: &Arc<Progress>,
        round: usize,
    ) -> Result<Self> {
        let speaks_imap = profile.protocols().contains(&Protocol::Imap);
        let imap = speaks_imap.then(|| target.endpoint(Protocol::Imap)).transpose()?;
        let id: u64 = rand::random();
        let seed = profile.seed.wrapping_add(round as u64);
        Ok(Self {
            schedule: Schedule::new(profile.arrivals(), profile.bounds(), seed, Timer::exact()?),
            profile: Arc::clone(profile),
            target: Arc::clone(target),
            corpus: Arc::clone(corpus),
            progress: Arc::clone(progress),
            recorder: Recorder::default(),
            ledger: profile.oracle.then(Ledger::default),
            imap,
            // Zero is for what mailboxes are filled with.
            id: id.max(1),
            serials: AtomicU64::new(0),
            raced: AtomicU64::new(0),
            figures: Mutex::default(),
            meter: Mutex::default(),
        })
    }

    /// The next message's number; no two of any runs are equal.
    pub(crate) fn next_message(&self) -> MessageId {
        MessageId {
            run: self.id,
            serial: self.serials.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Where IMAP is spoken.
    pub(crate) fn imap(&self) -> Result<&Endpoint> {
        self.imap.as_ref().context("this workload speaks no IMAP")
    }

    /// Tells a figure beside rates and latencies.
    pub(crate) fn tell(&self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.push(Figure { name, value, unit });
    }

    /// A command's messages had been removed by another session.
    pub(crate) fn raced(&self) {
        self.raced.fetch_add(1, Ordering::Relaxed);
    }

    /// The server's memory, where its processes are known.
    pub(crate) fn pss_kib(&self) -> Result<Option<u64>> {
        let pids = &self.target.pids;
        (!pids.is_empty()).then(|| cost::pss_kib(pids)).transpose()
    }

    /// The measured time begins.
    pub(crate) fn begin_measuring(&self) -> Result<()> {
        let server = self.server_cpu()?;
        self.recorder.begin(Instant::now());
        self.meter().begin = Some((cost::own_cpu(), server));
        Ok(())
    }

    /// The measured time has ended; sessions are still open.
    pub(crate) fn end_measuring(&self) -> Result<()> {
        let (own, server) = (cost::own_cpu(), self.server_cpu()?);
        let pss_kib = self.pss_kib()?;
        let mut meter = self.meter();
        let Some((own_before, server_before)) = meter.begin else {
            return Ok(());
        };
        meter.own = own.saturating_sub(own_before);
        meter.server = server
            .zip(server_before)
            .map(|(now, before)| now.seconds_since(before));
        meter.pss_kib = pss_kib;
        Ok(())
    }

    fn server_cpu(&self) -> Result<Option<Cpu>> {
        let pids = &self.target.pids;
        (!pids.is_empty()).then(|| cost::cpu(pids)).transpose()
    }

    fn meter(&self) -> std::sync::MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the workload, and looks afterwards for what was acknowledged where the profile wants that.
pub(crate) async fn execute(run: &Arc<Run>) -> Result<Outcome> {
    let watched = run.progress.watch(run);
    let worked = workload::work(run).await;
    watched.end().await;
    worked?;
    let oracle = match &run.ledger {
        Some(ledger) => {
            run.progress.say("looking for what was acknowledged");
            Some(ledger.verify(&run.target).await?)
        }
        None => None,
    };
    let recorded = run.recorder.finish();
    let seconds = recorded.elapsed.as_secs_f64();
    let total = recorded.total;
    let meter = run.meter();
    // Without an operation there is no cost of one.
    let each = |amount: f64| if total == 0 { 0.0 } else { amount / total as f64 };
    let cost = meter.server.map(|cpu_seconds| Cost {
        cpu_seconds,
        cpu_ms: each(cpu_seconds * 1e3),
        pss_kib: meter.pss_kib.unwrap_or_default(),
    });
    let figures = run.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Outcome {
        server: run.target.name.clone(),
        seconds,
        sessions: run.profile.sessions,
        total,
        rate: if seconds > 0.0 {
            total as f64 / seconds
        } else {
            0.0
        },
        bytes: recorded.bytes,
        operations: recorded.operations,
        figures,
        errors: recorded.errors,
        error_texts: recorded.error_texts,
        missed: run.schedule.missed(),
        raced: run.raced.load(Ordering::Relaxed),
        cost,
        own_cpu_us: each(meter.own.as_secs_f64() * 1e6),
        oracle,
        timeline: recorded.timeline,
    })
}
