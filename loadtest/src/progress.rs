//! Tells how far a run is, on standard error, while it runs.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

use crate::run::Run;

/// How often it is told on a terminal, and elsewhere.
const TOLD_EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Says lines of progress, or nothing.
pub(crate) struct Progress {
    quiet: bool,
}

/// A run that is watched until it ends.
pub(crate) struct Watched {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Progress {
    /// Quiet progress says nothing.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Says one line.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            // Nobody may be reading any more.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Tells from time to time what a run has come to.
    pub(crate) fn watch(&self, run: &Arc<Run>) -> Watched {
        let every = TOLD_EVERY[usize::from(!std::io::stderr().is_terminal())];
        let (end, mut ended) = oneshot::channel();
        let run = Arc::clone(run);
        let quiet = self.quiet;
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let mut ticks = interval_at(began + every, every);
            let mut before = 0;
            loop {
                tokio::select! {
                    _ = &mut ended => return,
                    _ = ticks.tick() => {}
                }
                let now = run.recorder.totals();
                let rate = (now.operations - before) as f64 / every.as_secs_f64();
                before = now.operations;
                if !quiet {
                    let line = told(
                        &run.target.name,
                        began.elapsed(),
                        now.operations,
                        rate,
                        now.errors,
                    );
                    run.progress.say(&line);
                }
            }
        });
        Watched { end, task }
    }
}

impl Watched {
    /// Ends the watching and waits for it.
    pub(crate) async fn end(self) {
        // It may have ended by itself.
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

fn told(server: &str, elapsed: Duration, operations: u64, rate: f64, errors: u64) -> String {
    let seconds = elapsed.as_secs();
    let errors = if errors == 0 {
        String::new()
    } else {
        format!(", {errors} errors")
    };
    format!("{server}: {seconds} s, {operations} operations, {rate:.0}/s{errors}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_has_come_of_it() {
        let line = told("A", Duration::from_millis(5_300), 12, 2.4, 0);
        assert_eq!(line, "A: 5 s, 12 operations, 2/s");
        assert!(told("A", Duration::ZERO, 0, 0.0, 3).ends_with(", 3 errors"));
    }
}
