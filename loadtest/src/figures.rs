//! Figures of a run, as reports show and programs read them.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cost::Cost;
use crate::oracle::Verdict;
use crate::recorder::Second;

/// The shares at which the curve of latencies is told: 1 is the slowest of all.
const CURVE: [f64; 16] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 1.0,
];

/// Latencies of an operation, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latencies {
    /// On average.
    pub(crate) mean_ms: f64,
    /// Half took at most so long.
    pub(crate) p50_ms: f64,
    /// 90 of 100.
    pub(crate) p90_ms: f64,
    /// 99 of 100.
    pub(crate) p99_ms: f64,
    /// 999 of 1,000.
    pub(crate) p999_ms: f64,
    /// The slowest.
    pub(crate) max_ms: f64,
    /// (share, milliseconds), for a plot.
    pub(crate) curve: Vec<(f64, f64)>,
}

impl Latencies {
    /// From a histogram of microseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mean_ms: histogram.mean() / 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1e3,
            curve: CURVE.iter().map(|share| (*share, at(*share))).collect(),
        }
    }
}

/// An operation's count and latencies.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OperationFigures {
    /// Such as `deliver`, or `fetch body`.
    pub(crate) operation: String,
    /// Whether it counts in the rate; a part of another operation does not.
    pub(crate) whole: bool,
    /// How often it ended well.
    pub(crate) count: u64,
    /// How long it took.
    pub(crate) latencies: Latencies,
}

/// A figure beside rates and latencies, such as the memory of a connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What it is.
    pub(crate) name: String,
    /// How much of it.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
}

/// One run of a workload against one server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// The server's name.
    pub(crate) server: String,
    /// Measured time in seconds, to the last answer.
    pub(crate) seconds: f64,
    /// Sessions that were open at a time.
    pub(crate) sessions: usize,
    /// Whole operations.
    pub(crate) total: u64,
    /// Whole operations a second.
    pub(crate) rate: f64,
    /// Bytes of messages sent and fetched.
    pub(crate) bytes: u64,
    /// By operation.
    pub(crate) operations: Vec<OperationFigures>,
    /// Other figures.
    pub(crate) figures: Vec<Figure>,
    /// Wrong answers, refusals and lost connections.
    pub(crate) errors: u64,
    /// The first few of them.
    pub(crate) error_texts: Vec<String>,
    /// Operations that should have begun, and for which no session became free in time.
    pub(crate) missed: u64,
    /// Commands whose messages another session had removed; no errors.
    pub(crate) raced: u64,
    /// What the server's processes cost, where they are known.
    pub(crate) cost: Option<Cost>,
    /// CPU of this program for an operation, in microseconds.
    pub(crate) own_cpu_us: f64,
    /// What the oracle found.
    pub(crate) oracle: Option<Verdict>,
    /// By the second.
    pub(crate) timeline: Vec<Second>,
}

impl Outcome {
    /// Whether nothing was wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.errors == 0 && self.missed == 0 && self.oracle.as_ref().is_none_or(Verdict::is_good)
    }
}
