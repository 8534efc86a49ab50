//! Clocks that jump and run at another rate. Healed, the wall clock is right and runs as it should; what the monotonic
//! clock has gained it keeps, since it must not go back.

use anyhow::Result;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::super::stage::Stage;
use super::{Fault, Nemesis, any_node};

const MILLISECOND: i64 = 1_000_000;

/// How far the wall clock jumps at most, in milliseconds. Tokens and idempotency keys live longer than that.
const REALTIME_JUMPS: [i64; 4] = [200, 2_000, 20_000, 60_000];

/// How far the monotonic clock jumps at most, in milliseconds.
const MONOTONIC_JUMPS: [i64; 3] = [200, 2_000, 8_000];

/// How wrong the rate is at most, in parts per million: a fifth.
const RATE_MAX: i64 = 200_000;

/// See the file.
pub(super) struct Clock;

struct Skewed {
    node: String,
    realtime: i64,
    monotonic: i64,
    rate: i64,
}

impl Nemesis for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        let node = any_node(rng, stage, &["mailstore", "mailstore", "directory", "proxy"]);
        let mut at_most = |jumps: &[i64]| jumps.choose(rng).copied().unwrap_or_default() * MILLISECOND;
        let (realtime, monotonic) = (at_most(&REALTIME_JUMPS), at_most(&MONOTONIC_JUMPS));
        Box::new(Skewed {
            node,
            realtime: rng.random_range(-realtime..=realtime),
            monotonic: rng.random_range(0..=monotonic),
            rate: rng.random_range(-RATE_MAX..=RATE_MAX),
        })
    }
}

impl Fault for Skewed {
    fn nodes(&self) -> Vec<String> {
        vec![self.node.clone()]
    }

    fn describe(&self) -> String {
        format!(
            "clocks of {}: wall {:+} ms, monotonic {:+} ms, rate {:+} ppm",
            self.node,
            self.realtime / MILLISECOND,
            self.monotonic / MILLISECOND,
            self.rate
        )
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        let control = stage.control(&self.node)?;
        let mut settings = control.settings();
        settings.realtime_ahead += self.realtime;
        settings.monotonic_ahead += self.monotonic;
        settings.rate = self.rate;
        control.set(settings)
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        let control = stage.control(&self.node)?;
        let mut settings = control.settings();
        settings.realtime_ahead = 0;
        settings.rate = 0;
        control.set(settings)
    }
}
