//! Drives sessions: opens them, gives each its operations as the schedule has them, and closes them.
//!
//! A session that fails is counted, dropped and opened anew at its next operation, after a pause: a dead server is not
//! asked in a tight loop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::run::Run;
use crate::schedule::{Arrivals, Bounds, Schedule};
use crate::timer::Timer;

/// Sessions that are being opened at a time.
const OPENED_AT_ONCE: usize = 32;

/// Pause of a session that failed.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// How long all sessions may take to say good-bye.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Sessions opened before memory is measured for the first time: they wake what a server starts late.
const FIRST_SESSIONS: usize = 20;

/// A client: what it does once, and what it does for each operation.
pub(crate) trait Session: Sized + Send + 'static {
    /// Connects, and does what comes before the work. `index` is the session's, from 0.
    fn open(run: &Arc<Run>, index: usize) -> impl Future<Output = Result<Self>> + Send;

    /// Does what is scheduled for the instant, and records it.
    fn step(&mut self, run: &Arc<Run>, intended: Instant) -> impl Future<Output = Result<()>> + Send;

    /// Says good-bye.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Opens the profile's sessions, lets them work until the schedule ends, and closes them.
pub(crate) async fn drive<S: Session>(run: &Arc<Run>) -> Result<()> {
    let mut sessions = open_measured::<S>(run).await?;
    let warmup = Duration::from_secs_f64(run.profile.warmup_seconds);
    run.progress
        .say(&format!("{}: {} sessions work", run.target.name, sessions.len()));
    let now = Instant::now();
    run.schedule.begin(now);
    if warmup.is_zero() {
        run.begin_measuring()?;
    }
    let mut working = JoinSet::new();
    for (index, session) in sessions.drain(..) {
        working.spawn(work(Arc::clone(run), index, session));
    }
    if !warmup.is_zero() {
        tokio::time::sleep_until(now + warmup).await;
        run.begin_measuring()?;
    }
    let mut ended = Vec::new();
    loop {
        tokio::select! {
            session = working.join_next() => match session {
                Some(session) => ended.extend(session?),
                None => break,
            },
            // What was measured until then is told, unless that takes too long as well.
            _ = tokio::signal::ctrl_c() => {
                if run.schedule.stop() {
                    bail!("interrupted");
                }
            }
        }
    }
    run.end_measuring()?;
    close(ended).await;
    Ok(())
}

/// Opens the profile's sessions; measures the memory that they cost where the workload is about that.
pub(crate) async fn open_measured<S: Session>(run: &Arc<Run>) -> Result<Vec<(usize, Option<S>)>> {
    let count = run.profile.sessions;
    let Some(settle) = run.profile.settle_seconds() else {
        return open::<S>(run, 0, count).await;
    };
    let first = count.min(FIRST_SESSIONS);
    let mut sessions = open::<S>(run, 0, first).await?;
    let settle = Duration::from_secs_f64(settle);
    tokio::time::sleep(settle).await;
    let before = run.pss_kib()?;
    let began = Instant::now();
    sessions.extend(open::<S>(run, first, count - first).await?);
    let took = began.elapsed().as_secs_f64();
    tokio::time::sleep(settle).await;
    if count > first {
        run.tell("sessions opened", (count - first) as f64 / took, "/s");
        if let Some((before, after)) = before.zip(run.pss_kib()?) {
            let grown = after as f64 - before as f64;
            run.tell(
                "server memory a session (PSS)",
                grown / (count - first) as f64,
                "KiB",
            );
        }
    }
    Ok(sessions)
}

/// Opens so many sessions. The very first must open; of the others those that do not are errors.
async fn open<S: Session>(run: &Arc<Run>, from: usize, count: usize) -> Result<Vec<(usize, Option<S>)>> {
    let bounds = Bounds {
        time: None,
        operations: Some(count as u64),
    };
    let arrivals = run.profile.open_rate.map_or(Arrivals::Closed, Arrivals::Even);
    let schedule = Arc::new(Schedule::new(arrivals, bounds, 0, Timer::exact()?));
    schedule.begin(Instant::now());
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(from));
    let mut openers = JoinSet::new();
    for _ in 0..OPENED_AT_ONCE.min(count) {
        let (run, schedule, next) = (Arc::clone(run), Arc::clone(&schedule), Arc::clone(&next));
        openers.spawn(async move {
            let mut opened = Vec::new();
            while schedule.next().await.is_some() {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                match S::open(&run, index).await {
                    Ok(session) => opened.push((index, Some(session))),
                    Err(error) if index == 0 => return Err(error),
                    Err(error) => {
                        run.recorder.failed(&error.context("open a session"));
                        opened.push((index, None));
                    }
                }
            }
            Ok(opened)
        });
    }
    let mut sessions = Vec::with_capacity(count);
    while let Some(opened) = openers.join_next().await {
        sessions.extend(opened?.with_context(|| format!("no session with {}", run.target.name))?);
    }
    sessions.sort_unstable_by_key(|(index, _)| *index);
    Ok(sessions)
}

async fn work<S: Session>(run: Arc<Run>, index: usize, mut session: Option<S>) -> Option<S> {
    while let Some(intended) = run.schedule.next().await {
        if let Err(error) = step(&run, index, &mut session, intended).await {
            session = None;
            run.recorder.failed(&error);
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }
    session
}

async fn step<S: Session>(
    run: &Arc<Run>,
    index: usize,
    session: &mut Option<S>,
    intended: Instant,
) -> Result<()> {
    let session = match session {
        Some(session) => session,
        None => session.insert(S::open(run, index).await.context("open a session again")?),
    };
    session.step(run, intended).await
}

/// Lets sessions say good-bye, all at once.
pub(crate) async fn close<S: Session>(sessions: Vec<S>) {
    let mut closing: JoinSet<()> = sessions.into_iter().map(S::close).collect();
    let all = async { while closing.join_next().await.is_some() {} };
    // Who takes longer is closed without a word.
    let _ = timeout(CLOSE_MAX, all).await;
}

#[cfg(test)]
mod tests;
