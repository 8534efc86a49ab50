//! What a metric is: its name, kind, labels and meaning, and the handle through which it is recorded.
//!
//! A crate declares its metrics with [`catalogue!`](crate::catalogue) and records them through the handles that this makes, and in no
//! other way: so what is recorded is in the catalogue, and labels have no other values than those that it lists. A handle keeps each
//! of its series once it was used, so that recording hashes no name and takes no lock.

use std::sync::OnceLock;
use std::time::Instant;

use metrics::{Key, Level, Metadata};

/// Upper bounds of histograms of durations, in seconds.
const SECONDS_BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// Upper bounds of histograms of numbers.
const NUMBER_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The value of a label for what it has no other value for.
const OTHER: &str = "other";

static METADATA: Metadata<'static> = Metadata::new("rookery", Level::INFO, None);

/// What is done with a metric's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many were at most how large.
    Histogram,
}

impl Kind {
    /// As Prometheus' text form has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// From when on a metric is on a node's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// As soon as its role runs, with all values of its labels.
    Always,
    /// As soon as there was something to record.
    Used,
}

/// A label, and all values that it may have.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values; `other` stands for all that have none of their own.
    pub values: &'static [&'static str],
}

impl Label {
    /// A label with these values.
    pub const fn new(name: &'static str, values: &'static [&'static str]) -> Self {
        Self { name, values }
    }

    fn place(&self, value: &str) -> usize {
        let place = |value: &str| self.values.iter().position(|listed| *listed == value);
        place(value).or_else(|| place(OTHER)).unwrap_or_else(|| {
            debug_assert!(false, "the label {} has no value {value}", self.name);
            0
        })
    }
}

/// A metric as the catalogue has it.
#[derive(Debug)]
pub struct Metric {
    /// `rookery_<role>_<noun>_<unit>`; counters end in `_total`. Durations are in seconds, sizes in bytes.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// From when on it is there.
    pub presence: Presence,
    /// In the order in which recording gives their values.
    pub labels: &'static [Label],
    /// What it says, in a line.
    pub help: &'static str,
}

impl Metric {
    /// The upper bounds of a histogram.
    pub fn buckets(&self) -> &'static [f64] {
        if self.name.ends_with("_seconds") {
            &SECONDS_BUCKETS
        } else {
            &NUMBER_BUCKETS
        }
    }

    /// Tells the recorder what the metric says.
    pub(super) fn describe(&self) {
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(self.name.into(), None, self.help.into()),
            Kind::Gauge => recorder.describe_gauge(self.name.into(), None, self.help.into()),
            Kind::Histogram => recorder.describe_histogram(self.name.into(), None, self.help.into()),
        });
    }

    /// How many series it may have.
    fn series_max(&self) -> usize {
        self.labels.iter().map(|label| label.values.len()).product()
    }

    /// Where the series with these values is among all that there may be.
    fn place(&self, values: &[&str]) -> usize {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let labels = self.labels.iter().zip(values);
        labels.fold(0, |place, (label, value)| {
            place * label.values.len() + label.place(value)
        })
    }

    /// The series at a place.
    fn key(&self, mut place: usize) -> Key {
        let mut labels = Vec::with_capacity(self.labels.len());
        for label in self.labels.iter().rev() {
            let value = label.values[place % label.values.len()];
            place /= label.values.len();
            labels.push(metrics::Label::from_static_parts(label.name, value));
        }
        labels.reverse();
        Key::from_parts(self.name, labels)
    }
}

/// The series of a metric, each made when it is used first.
#[derive(Debug)]
struct Series<T>(OnceLock<Box<[OnceLock<T>]>>);

impl<T> Series<T> {
    fn at(&self, metric: &Metric, place: usize, register: impl FnOnce(&Key) -> T) -> &T {
        let slots = || (0..metric.series_max()).map(|_| OnceLock::new()).collect();
        self.0.get_or_init(slots)[place].get_or_init(|| register(&metric.key(place)))
    }
}

macro_rules! handle {
    ($(#[$meta:meta])* $handle:ident, $register:ident) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $handle {
            metric: Metric,
            series: Series<metrics::$handle>,
        }

        impl $handle {
            /// A metric of a catalogue; to be made by [`catalogue!`](crate::catalogue).
            pub const fn new(
                name: &'static str,
                presence: Presence,
                labels: &'static [Label],
                help: &'static str,
            ) -> Self {
                let kind = Kind::$handle;
                Self {
                    metric: Metric { name, kind, presence, labels, help },
                    series: Series(OnceLock::new()),
                }
            }

            /// What the catalogue says of it.
            pub const fn metric(&self) -> &Metric {
                &self.metric
            }

            /// The series with these values of the labels, in their order.
            pub fn with(&self, values: &[&str]) -> &metrics::$handle {
                self.at(self.metric.place(values))
            }

            /// Has it on the page from now on, if it is to be there before anything was recorded.
            pub fn begin(&self) {
                if self.metric.presence == Presence::Always {
                    for place in 0..self.metric.series_max() {
                        self.at(place);
                    }
                }
            }

            fn at(&self, place: usize) -> &metrics::$handle {
                self.series.at(&self.metric, place, |key| {
                    metrics::with_recorder(|recorder| recorder.$register(key, &METADATA))
                })
            }
        }
    };
}

handle!(
    /// A metric that only grows.
    Counter,
    register_counter
);

handle!(
    /// A metric that goes up and down.
    Gauge,
    register_gauge
);

handle!(
    /// A metric of how many were at most how large.
    Histogram,
    register_histogram
);

impl Counter {
    /// Counts so many; of a metric without labels.
    pub fn increment(&self, by: u64) {
        self.at(0).increment(by);
    }
}

impl Gauge {
    /// Sets it; of a metric without labels.
    pub fn set(&self, value: f64) {
        self.at(0).set(value);
    }
}

/// One of what a gauge counts, as long as it lives.
#[derive(Debug)]
pub struct Held(metrics::Gauge);

impl Gauge {
    /// Counts one more, until what is returned is dropped.
    pub fn hold(&self, values: &[&str]) -> Held {
        let gauge = self.with(values).clone();
        gauge.increment(1.0);
        Held(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Histogram {
    /// Takes a value in; of a metric without labels.
    pub fn record(&self, value: f64) {
        self.at(0).record(value);
    }

    /// Takes in how many seconds it is since something began.
    pub fn since(&self, values: &[&str], began: Instant) {
        self.with(values).record(began.elapsed().as_secs_f64());
    }
}

/// Declares a crate's metrics: a handle for each, the list `CATALOGUE` of all, and `begin`, which the role calls when it starts.
///
/// `presence kind HANDLE "name" [label: values, …] "help";` each.
#[macro_export]
macro_rules! catalogue {
    ($(
        $presence:ident $kind:ident $handle:ident $name:literal
        [$($label:ident: $values:expr),* $(,)?]
        $help:literal;
    )+) => {
        $(
            #[doc = $help]
            pub(crate) static $handle: $crate::telemetry::$kind = $crate::telemetry::$kind::new(
                $name,
                $crate::telemetry::Presence::$presence,
                &[$($crate::telemetry::Label::new(stringify!($label), $values)),*],
                $help,
            );
        )+

        /// All metrics of this crate.
        pub static CATALOGUE: &[&$crate::telemetry::Metric] = &[$($handle.metric()),+];

        /// Has all that is to be there from the start on the page.
        pub fn begin() {
            $($handle.begin();)+
        }
    };
}

#[cfg(test)]
#[allow(unreachable_pub)]
mod tests {
    const COLOURS: [&str; 3] = ["red", "green", "other"];

    catalogue! {
        Used Counter CALLS "rookery_test_calls_total" [colour: &COLOURS, size: &["s", "l"]] "calls";
        Always Gauge OPEN "rookery_test_open" [] "open";
    }

    #[test]
    fn each_series_has_a_place_and_what_is_not_listed_is_other() {
        assert_eq!(CATALOGUE.len(), 2);
        assert_eq!(CALLS.metric().series_max(), 6);
        assert_eq!(OPEN.metric().series_max(), 1);
        let metric = CALLS.metric();
        for (place, colour, size) in [(0, "red", "s"), (3, "green", "l"), (5, "other", "l")] {
            assert_eq!(metric.place(&[colour, size]), place);
            let key = metric.key(place);
            let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
            assert_eq!(labels, [("colour", colour), ("size", size)]);
        }
        assert_eq!(metric.place(&["mauve", "s"]), 4);
        begin();
    }
}
