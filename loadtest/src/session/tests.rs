//! Sessions that fail are counted and opened again; a server that takes nobody ends the run.

use anyhow::anyhow;

use super::*;
use crate::corpus::Corpus;
use crate::profile::{Profile, Workload};
use crate::progress::Progress;
use crate::target::{ServerConfig, Target};

/// A run of sessions that speak with nobody.
fn run(over: &[(&str, i64)]) -> Arc<Run> {
    let over = over
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).into()));
    let profile = Profile::load(Some(Workload::Deliver), None, over.collect()).unwrap();
    let config: ServerConfig = ServerConfig::parse("lmtp=127.0.0.1:1")
        .unwrap()
        .try_into()
        .unwrap();
    let target = Target::open(&config, "nobody").unwrap();
    let (corpus, progress) = (Corpus::new(1), Progress::new(true));
    Arc::new(
        Run::new(
            &Arc::new(profile),
            &Arc::new(target),
            &Arc::new(corpus),
            &Arc::new(progress),
            1,
        )
        .unwrap(),
    )
}

/// Fails at each third step.
struct Tiring {
    steps: u32,
}

impl Session for Tiring {
    async fn open(_run: &Arc<Run>, _index: usize) -> Result<Self> {
        Ok(Self { steps: 0 })
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        self.steps += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        if self.steps == 3 {
            return Err(anyhow!("tired"));
        }
        run.recorder.done("step", intended.elapsed());
        Ok(())
    }

    async fn close(self) {}
}

/// Lets in only those sessions whose number is of one kind.
struct Choosy<const EVEN: bool>;

impl<const EVEN: bool> Session for Choosy<EVEN> {
    async fn open(_run: &Arc<Run>, index: usize) -> Result<Self> {
        let wanted = index.is_multiple_of(2) == EVEN;
        if wanted { Ok(Self) } else { Err(anyhow!("full")) }
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        run.recorder.done("step", intended.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }

    async fn close(self) {}
}

#[tokio::test(start_paused = true)]
async fn each_operation_is_done_or_an_error_and_failed_sessions_go_on() {
    let run = run(&[("sessions", 2), ("operations", 30), ("warmup_seconds", 0)]);
    drive::<Tiring>(&run).await.unwrap();
    let recorded = run.recorder.finish();
    assert_eq!(recorded.total + recorded.errors, 30);
    // Of three operations of a session two are done; at the end each session may be in the midst of three.
    assert!((9..=10).contains(&recorded.errors), "{} errors", recorded.errors);
    assert_eq!(recorded.error_texts, ["tired"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_only_some_is_loaded_by_these() {
    let run = run(&[("sessions", 4), ("operations", 20), ("warmup_seconds", 0)]);
    drive::<Choosy<true>>(&run).await.unwrap();
    let recorded = run.recorder.finish();
    assert_eq!(
        recorded.error_texts,
        ["open a session: full", "open a session again: full"]
    );
    assert!(recorded.total > 10, "{}", recorded.total);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_not_even_the_first_ends_the_run() {
    let run = run(&[("sessions", 4), ("operations", 20), ("warmup_seconds", 0)]);
    let error = drive::<Choosy<false>>(&run).await.unwrap_err();
    assert_eq!(format!("{error:#}"), "no session with nobody: full");
}

#[tokio::test(start_paused = true)]
async fn what_ends_before_the_measured_time_does_not_count() {
    let run = run(&[("sessions", 1), ("seconds", 1), ("warmup_seconds", 3)]);
    drive::<Choosy<true>>(&run).await.unwrap();
    let recorded = run.recorder.finish();
    assert!(
        (990..=1_001).contains(&recorded.total),
        "a millisecond each: {}",
        recorded.total
    );
    assert_eq!(recorded.errors, 0);
}
