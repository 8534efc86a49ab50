//! What happened: a histogram of latencies for each operation, a timeline by the second, and the first errors.
//!
//! Only what ends within the measured time counts, except errors, which always do.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use crate::figures::{Latencies, OperationFigures};

/// Longest latency that a histogram tells apart, in microseconds: ten minutes. What takes longer counts as that.
const LATENCY_MAX_US: u64 = 600_000_000;

/// Digits of a latency that a histogram keeps: 0.1 %.
const DIGITS: u8 = 3;

/// Texts of errors that are kept.
const ERROR_TEXTS_MAX: usize = 8;

/// Longest text of an error that is kept, in characters.
const ERROR_CHARS_MAX: usize = 300;

/// Counts and times all that sessions do.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    window: Option<Window>,
    series: Vec<Series>,
    seconds: Vec<Second>,
    current: Current,
    errors: u64,
    error_texts: Vec<String>,
    bytes: u64,
}

struct Window {
    from: Instant,
    last: Instant,
}

struct Series {
    name: &'static str,
    whole: bool,
    histogram: Histogram<u64>,
}

/// The second that is being counted.
#[derive(Default)]
struct Current {
    index: u64,
    operations: u64,
    errors: u64,
    bytes: u64,
    latencies: Option<Histogram<u64>>,
}

/// A second of the timeline.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Second {
    /// Counted from the start of the measured time.
    pub(crate) second: u64,
    /// Whole operations that ended in it.
    pub(crate) operations: u64,
    /// Errors in it.
    pub(crate) errors: u64,
    /// Bytes of messages sent and fetched in it.
    pub(crate) bytes: u64,
    /// Half of its operations took at most so long, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99 of 100 took at most so long.
    pub(crate) p99_ms: f64,
    /// The slowest.
    pub(crate) max_ms: f64,
}

/// What was counted so far, for a progress line.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Whole operations.
    pub(crate) operations: u64,
    /// Errors.
    pub(crate) errors: u64,
}

/// All that was counted.
pub(crate) struct Recorded {
    /// By operation, in the order in which each was first seen.
    pub(crate) operations: Vec<OperationFigures>,
    /// Whole operations.
    pub(crate) total: u64,
    /// From the start of the measured time to the last operation.
    pub(crate) elapsed: Duration,
    /// By the second.
    pub(crate) timeline: Vec<Second>,
    /// How many errors.
    pub(crate) errors: u64,
    /// The first few of them.
    pub(crate) error_texts: Vec<String>,
    /// Bytes of messages sent and fetched.
    pub(crate) bytes: u64,
}

impl Recorder {
    /// What ends from now on counts.
    pub(crate) fn begin(&self, at: Instant) {
        self.lock().window = Some(Window { from: at, last: at });
    }

    /// An operation that was asked for has ended well; it has taken so long since it should have begun.
    pub(crate) fn done(&self, name: &'static str, took: Duration) {
        self.lock().record(name, true, took, Instant::now());
    }

    /// A part of an operation has ended well: timed, and not counted as an operation.
    pub(crate) fn part(&self, name: &'static str, took: Duration) {
        self.lock().record(name, false, took, Instant::now());
    }

    /// So many bytes of messages were sent or fetched.
    pub(crate) fn bytes(&self, count: u64) {
        let mut inner = self.lock();
        if inner.is_open(Instant::now()) {
            inner.bytes += count;
            inner.current.bytes += count;
        }
    }

    /// Something went wrong.
    pub(crate) fn failed(&self, error: &anyhow::Error) {
        let mut inner = self.lock();
        inner.errors += 1;
        let now = Instant::now();
        if inner.is_open(now) {
            inner.turn_to(now);
            inner.current.errors += 1;
        }
        if inner.error_texts.len() < ERROR_TEXTS_MAX {
            let text: String = format!("{error:#}").chars().take(ERROR_CHARS_MAX).collect();
            if !inner.error_texts.contains(&text) {
                inner.error_texts.push(text);
            }
        }
    }

    /// What was counted so far.
    pub(crate) fn totals(&self) -> Totals {
        let inner = self.lock();
        let whole = inner.series.iter().filter(|series| series.whole);
        Totals {
            operations: whole.map(|series| series.histogram.len()).sum(),
            errors: inner.errors,
        }
    }

    /// All that was counted; the recorder is empty after it.
    pub(crate) fn finish(&self) -> Recorded {
        let mut inner = std::mem::take(&mut *self.lock());
        inner.end_second();
        let elapsed = inner.window.as_ref().map(|window| window.last - window.from);
        let elapsed = elapsed.unwrap_or_default();
        let whole = inner.series.iter().filter(|series| series.whole);
        Recorded {
            total: whole.map(|series| series.histogram.len()).sum(),
            operations: inner
                .series
                .iter()
                .filter(|series| !series.histogram.is_empty())
                .map(|series| OperationFigures {
                    operation: series.name.to_owned(),
                    whole: series.whole,
                    count: series.histogram.len(),
                    latencies: Latencies::of(&series.histogram),
                })
                .collect(),
            elapsed,
            timeline: inner.seconds,
            errors: inner.errors,
            error_texts: inner.error_texts,
            bytes: inner.bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counters are whole at each step, whoever has panicked between two.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_open(&self, at: Instant) -> bool {
        self.window.as_ref().is_some_and(|window| at >= window.from)
    }

    fn record(&mut self, name: &'static str, whole: bool, took: Duration, at: Instant) {
        // What was seen before the measured time has its place in the order, and no count.
        let index = match self.series.iter().position(|series| series.name == name) {
            Some(index) => index,
            None => {
                let histogram = histogram();
                self.series.push(Series {
                    name,
                    whole,
                    histogram,
                });
                self.series.len() - 1
            }
        };
        if !self.is_open(at) {
            return;
        }
        self.turn_to(at);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.series[index].histogram.saturating_record(micros);
        if whole {
            self.current.operations += 1;
            let latencies = self.current.latencies.get_or_insert_with(histogram);
            latencies.saturating_record(micros);
        }
    }

    /// Ends the seconds that are over at a moment.
    fn turn_to(&mut self, at: Instant) {
        let Some(window) = &mut self.window else { return };
        window.last = window.last.max(at);
        let second = (at - window.from).as_secs();
        while self.current.index < second {
            self.end_second();
        }
    }

    fn end_second(&mut self) {
        if self.window.is_none() {
            return;
        }
        let current = &mut self.current;
        let at = |quantile: f64| {
            let latencies = current.latencies.as_ref();
            latencies.map_or(0.0, |held| held.value_at_quantile(quantile) as f64 / 1e3)
        };
        self.seconds.push(Second {
            second: current.index,
            operations: current.operations,
            errors: current.errors,
            bytes: current.bytes,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        });
        current.index += 1;
        (current.operations, current.errors, current.bytes) = (0, 0, 0);
        if let Some(latencies) = &mut current.latencies {
            latencies.reset();
        }
    }
}

fn histogram() -> Histogram<u64> {
    #[allow(clippy::expect_used, reason = "the bounds are constants that the crate takes")]
    Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS).expect("bounds of a histogram")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn seconds_hold_what_ended_in_them_and_empty_ones_are_there() {
        let recorder = Recorder::default();
        recorder.done("warm", Duration::from_millis(1));
        recorder.begin(Instant::now());
        for millis in [1, 2, 3] {
            recorder.done("deliver", Duration::from_millis(millis));
        }
        recorder.part("connect", Duration::from_millis(900));
        tokio::time::advance(Duration::from_millis(2_500)).await;
        recorder.done("deliver", Duration::from_millis(2_000));
        recorder.failed(&anyhow::anyhow!("451 not now").context("RCPT"));
        let recorded = recorder.finish();
        assert_eq!((recorded.total, recorded.errors), (4, 1));
        assert_eq!(recorded.elapsed, Duration::from_millis(2_500));
        assert_eq!(recorded.error_texts, ["RCPT: 451 not now"]);
        let counts: Vec<_> = recorded
            .timeline
            .iter()
            .map(|at| (at.operations, at.errors))
            .collect();
        assert_eq!(counts, [(3, 0), (0, 0), (1, 1)]);
        assert!(
            (recorded.timeline[0].max_ms - 3.0).abs() < 0.01,
            "{:?}",
            recorded.timeline
        );
        let names: Vec<_> = recorded
            .operations
            .iter()
            .map(|of| (of.operation.as_str(), of.whole))
            .collect();
        assert_eq!(names, [("deliver", true), ("connect", false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn quantiles_are_exact_to_a_thousandth() {
        let recorder = Recorder::default();
        recorder.begin(Instant::now());
        for micros in 1..=100_000 {
            recorder.done("noop", Duration::from_micros(micros));
        }
        let latencies = &recorder.finish().operations[0].latencies;
        for (measured, expected) in [
            (latencies.p50_ms, 50.0),
            (latencies.p99_ms, 99.0),
            (latencies.max_ms, 100.0),
        ] {
            assert!(
                (measured - expected).abs() / expected <= 0.001,
                "{measured} for {expected}"
            );
        }
    }

    #[test]
    fn errors_count_before_the_measured_time_too_and_equal_texts_are_kept_once() {
        let recorder = Recorder::default();
        for _ in 0..20 {
            recorder.failed(&anyhow::anyhow!("closed"));
        }
        let recorded = recorder.finish();
        assert_eq!((recorded.errors, recorded.error_texts.len()), (20, 1));
        assert!(recorded.timeline.is_empty());
    }
}
