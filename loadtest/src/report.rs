//! What a whole test has come to: for people as text and as a page, for programs as JSON.

pub(crate) mod chart;
pub(crate) mod html;
pub(crate) mod text;

use serde::Serialize;

use crate::compare::Row;
use crate::figures::Outcome;
use crate::profile::Profile;

/// A whole test.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// What was done.
    pub(crate) profile: Profile,
    /// Seconds since 1970 at the start.
    pub(crate) started: u64,
    /// This machine, where a server runs on it.
    pub(crate) machine: Option<String>,
    /// Each server's rounds.
    pub(crate) servers: Vec<Vec<Outcome>>,
    /// Medians, spreads and ratios.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// All runs, round by round.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (usize, &Outcome)> {
        let rounds = self.servers.first().map_or(0, Vec::len);
        (0..rounds).flat_map(move |round| {
            let of_round = self.servers.iter().filter_map(move |server| server.get(round));
            of_round.map(move |outcome| (round, outcome))
        })
    }

    /// Whether nothing was wrong in any run.
    pub(crate) fn is_good(&self) -> bool {
        self.outcomes().all(|(_, outcome)| outcome.is_good())
    }
}

/// A number with as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => return "0".to_owned(),
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 { text } else { grouped(&text) }
}

/// A count, in groups of three digits.
pub(crate) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// Digits in groups of three.
fn grouped(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::cost::Cost;
    use crate::figures::Figure;
    use crate::oracle::Verdict;
    use crate::profile::Workload;
    use crate::recorder::Recorder;

    /// An outcome as a run has it.
    pub(crate) fn outcome(server: &str, rate: f64) -> Outcome {
        let recorder = Recorder::default();
        recorder.begin(Instant::now());
        for millis in 1..=100 {
            recorder.done("deliver", Duration::from_millis(millis));
        }
        recorder.part("connect", Duration::from_millis(2));
        let recorded = recorder.finish();
        Outcome {
            server: server.to_owned(),
            seconds: 10.0,
            sessions: 4,
            total: recorded.total,
            rate,
            bytes: 1_000_000,
            operations: recorded.operations,
            figures: vec![Figure {
                name: "sessions opened".to_owned(),
                value: 12.5,
                unit: "/s",
            }],
            errors: 0,
            error_texts: Vec::new(),
            missed: 0,
            raced: 0,
            cost: Some(Cost {
                cpu_seconds: 1.0,
                cpu_ms: 0.5,
                pss_kib: 66_560,
            }),
            own_cpu_us: 31.0,
            oracle: Some(Verdict {
                acknowledged: 100,
                present: 100,
                ..Verdict::default()
            }),
            timeline: recorded.timeline,
        }
    }

    /// A report of two servers.
    pub(crate) fn report() -> Report {
        let servers = vec![vec![outcome("A<1>", 100.0)], vec![outcome("B", 250.0)]];
        Report {
            profile: Profile::load(Some(Workload::Deliver), None, Vec::new()).unwrap(),
            started: 1_795_424_400,
            machine: Some("2 processors".to_owned()),
            rows: crate::compare::rows(&servers),
            servers,
        }
    }

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let shown: Vec<String> = [0.0, 0.1234, 1.234, 12.34, 1_234_567.8, -1_000.0, 999.0]
            .into_iter()
            .map(number)
            .collect();
        assert_eq!(
            shown,
            ["0", "0.123", "1.23", "12.3", "1,234,568", "-1,000", "999"]
        );
    }

    #[test]
    fn json_holds_every_run_and_no_password() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["servers"][1][0]["rate"], 250.0);
        assert_eq!(json["servers"][0][0]["operations"][0]["operation"], "deliver");
        assert_eq!(json["profile"]["workload"], "deliver");
        assert!(json["rows"][0]["ratio"]["median"].as_f64().unwrap() > 2.4);
    }
}
