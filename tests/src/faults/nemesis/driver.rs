//! When which nemesis strikes: one fault, or two on different nodes, held for a while and healed, again and again.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::super::history::{FaultSpan, Nanos, Recorder};
use super::super::stage::{DIRECTORY, Stage};
use super::super::workload::Stop;
use super::{Fault, Nemesis};

/// How often another fault is tried when the first strikes the same node.
const CHOICES_MAX: usize = 8;

/// How fast faults follow each other.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Between the healing of all faults and the next one.
    pub calm: Range<Duration>,
    /// How long a fault is held.
    pub hold: Range<Duration>,
    /// How likely a second fault is while the first is held.
    pub pairs: f64,
}

/// A fault under way.
struct Struck {
    nemesis: &'static str,
    fault: Box<dyn Fault>,
    from: Nanos,
    struck: Nanos,
}

/// Strikes until it is told to stop or `is_over`; all faults are healed after it. What struck, in order.
pub fn torment(
    stage: &mut Stage,
    nemeses: &[Box<dyn Nemesis>],
    rng: &mut StdRng,
    pace: &Pace,
    recorder: &Recorder,
    is_over: impl Fn() -> bool,
) -> Result<Vec<FaultSpan>> {
    let clock = Stop::default();
    let mut spans = Vec::new();
    while !nemeses.is_empty() {
        clock.wait(rng.random_range(pace.calm.clone()));
        if is_over() {
            break;
        }
        let count = 1 + usize::from(rng.random_bool(pace.pairs));
        let mut struck: Vec<Struck> = Vec::new();
        for _ in 0..count {
            let Some((nemesis, fault)) = choose(stage, nemeses, rng, &struck) else {
                break;
            };
            let mut one = Struck {
                nemesis,
                fault,
                from: recorder.now(),
                struck: 0,
            };
            let what = one.fault.describe();
            one.fault
                .inject(stage)
                .with_context(|| format!("{what}: cannot begin"))?;
            one.struck = recorder.now();
            struck.push(one);
            clock.wait(rng.random_range(pace.hold.clone()));
        }
        spans.extend(heal(stage, struck, recorder)?);
    }
    Ok(spans)
}

fn choose(
    stage: &Stage,
    nemeses: &[Box<dyn Nemesis>],
    rng: &mut StdRng,
    struck: &[Struck],
) -> Option<(&'static str, Box<dyn Fault>)> {
    let taken: Vec<String> = struck.iter().flat_map(|one| one.fault.nodes()).collect();
    for _ in 0..CHOICES_MAX {
        let nemesis = nemeses.choose(rng)?;
        let fault = nemesis.choose(rng, stage);
        if !fault.nodes().iter().any(|node| taken.contains(node)) {
            return Some((nemesis.name(), fault));
        }
    }
    None
}

fn heal(stage: &mut Stage, mut struck: Vec<Struck>, recorder: &Recorder) -> Result<Vec<FaultSpan>> {
    // Who starts again may need the directory.
    struck.sort_by_key(|one| !one.fault.nodes().iter().any(|node| node.starts_with(DIRECTORY)));
    let mut spans = Vec::new();
    for mut one in struck {
        let description = one.fault.describe();
        one.fault
            .heal(stage)
            .with_context(|| format!("{description}: cannot be healed"))?;
        spans.push(FaultSpan {
            nemesis: one.nemesis,
            description,
            nodes: one.fault.nodes(),
            led: one.fault.led(),
            from: one.from,
            struck: one.struck,
            to: recorder.now(),
        });
    }
    let all: Vec<&str> = spans.iter().map(|span| span.description.as_str()).collect();
    stage.revive(&all.join(", "))?;
    spans.sort_by_key(|span| span.from);
    Ok(spans)
}
