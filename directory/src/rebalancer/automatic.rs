//! Rebalances by itself, where the operator has said that it may: gives up lost mailstores, evens loads, one act a minute at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rookery_proto::{Reason, Status};

use crate::catalogue::AUTOMATIC_ACTS;
use crate::config::AutomaticConfig;
use crate::core::Core;
use crate::events::{self, Kind};
use crate::plan::node::set_draining;
use crate::plan::rebalance::Limits;
use crate::rebalance::automatic::{Loss, loss, worth};

/// Between two looks. What is found uneven has to be so at two of them: a moment's load moves nothing.
const LOOK: Duration = Duration::from_secs(10);

/// From one act to the next at least.
const ACT_INTERVAL: Duration = Duration::from_secs(60);

/// Millionths in a percent.
const PPM_PER_PERCENT: u64 = 10_000;

/// Looks again and again, until cancelled.
pub(crate) async fn run(core: Arc<Core>, config: AutomaticConfig) {
    if !config.enabled {
        return;
    }
    let mut keeper = Keeper {
        core,
        config,
        acted: None,
        was_uneven: false,
        doubt: String::new(),
    };
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(status) = keeper.look().await {
            match status.is_retryable() || status.reason == Reason::FailedPrecondition {
                true => tracing::debug!(%status, "nothing is rebalanced now"),
                false => tracing::warn!(%status, "cannot rebalance"),
            }
        }
    }
}

struct Keeper {
    core: Arc<Core>,
    config: AutomaticConfig,
    /// When it has last done something.
    acted: Option<Instant>,
    /// Whether a plan was worth it at the last look.
    was_uneven: bool,
    /// What was last said of a mailstore that may be lost.
    doubt: String,
}

impl Keeper {
    async fn look(&mut self) -> Result<(), Status> {
        let is_early = self.acted.is_some_and(|acted| acted.elapsed() < ACT_INTERVAL);
        if is_early || super::is_under_way(&self.core).await? {
            self.was_uneven = false;
            return Ok(());
        }
        let picture = &self.core.picture;
        let silent = picture.silent(Instant::now());
        let lost = loss(
            &picture.nodes(),
            &picture.shards(),
            &silent,
            self.config.silent_max.0,
        );
        match lost {
            Loss::Of { node, silence } => return self.give_up(node, silence).await,
            Loss::Doubtful(why) => self.say_doubt(why),
            Loss::None => self.doubt.clear(),
        }
        let plan = super::planned(&self.core).await?;
        let Some(why) = worth(&plan, u64::from(self.config.band_percent) * PPM_PER_PERCENT) else {
            self.was_uneven = false;
            return Ok(());
        };
        if !std::mem::replace(&mut self.was_uneven, true) {
            return Ok(());
        }
        self.was_uneven = false;
        self.acted = Some(Instant::now());
        let job = super::carry_out(&self.core, &plan, Limits::default(), why.clone()).await?;
        tracing::info!(job, why, "a rebalance was begun without an operator's word");
        AUTOMATIC_ACTS.with(&["rebalance"]).increment(1);
        Ok(())
    }

    /// Has the replicas of a lost mailstore made anew elsewhere: by the next look's plan, for it is to be emptied from now on.
    async fn give_up(&mut self, node: String, silence: Duration) -> Result<(), Status> {
        let id = node.clone();
        let given_up = events::of_node(
            Kind::NodeGivenUp,
            &id,
            &format!(
                "is given up without an operator's word, for it has been silent for {} s",
                silence.as_secs()
            ),
        );
        self.core
            .state
            .change(move |rows| Ok(set_draining(rows, &id, true, false)?.telling([given_up.clone()])))
            .await?;
        tracing::warn!(
            node,
            silent_seconds = silence.as_secs(),
            "a lost mailstore is given up without an operator's word: its replicas are made anew elsewhere; when it comes back, \
             `rookery node drain --undo` lets it have shards again"
        );
        AUTOMATIC_ACTS.with(&["give_up"]).increment(1);
        // With that plan it is one act.
        self.was_uneven = true;
        Ok(())
    }

    /// Says once what somebody has to look at.
    fn say_doubt(&mut self, why: String) {
        if self.doubt != why {
            tracing::warn!(why, "a mailstore is silent, and an operator has to look");
            self.doubt = why;
        }
    }
}
