//! `rookery account move`: one account to another shard, while its sessions live on.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use rookery_proto::admin::v1::{AccountMove, GetAccountMoveRequest, MoveAccountRequest, MoveState};
use serde_json::{Value, json};

use super::super::AdminClient;
use super::super::output::{self, refused};
use super::super::retry::Retry;

/// How often it is looked how far the move is.
const LOOK: Duration = Duration::from_millis(250);

/// How long the directory may be away.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its address
    address: String,
    /// The shard that gets it; when not given, its last move is watched
    #[arg(long, value_name = "SHARD")]
    to_shard: Option<u32>,
    /// Only begin; the move goes on by itself
    #[arg(long)]
    no_wait: bool,
}

impl Arguments {
    pub(super) async fn run(self, client: &mut AdminClient, as_json: bool) -> anyhow::Result<()> {
        let first = match self.to_shard {
            Some(to_shard) => {
                let request = MoveAccountRequest {
                    address: self.address.clone(),
                    to_shard,
                };
                let begun = client.move_account(request).await.map_err(refused)?;
                begun.into_inner().r#move
            }
            None => {
                let seen = client.get_account_move(self.asked()).await.map_err(refused)?;
                seen.into_inner().r#move
            }
        };
        let Some(mut seen) = first else {
            bail!("the directory does not say what is moved: is it older than this program?");
        };
        let generation = seen.generation;
        tell(&self.address, &seen, as_json)?;
        let mut retry = Retry::new(PATIENCE);
        while !self.no_wait && !is_over(&seen) {
            tokio::time::sleep(LOOK).await;
            let now = match client.get_account_move(self.asked()).await {
                Ok(answer) => answer.into_inner().r#move.unwrap_or_default(),
                Err(status) => {
                    let what = || format!("the move of {} goes on by itself, but is not seen", self.address);
                    retry.pause_or(status.into(), what).await?;
                    continue;
                }
            };
            retry = Retry::new(PATIENCE);
            if now.generation != generation {
                bail!("another move of {} has begun meanwhile", self.address);
            }
            if now != seen {
                tell(&self.address, &now, as_json)?;
            }
            seen = now;
        }
        if seen.state() == MoveState::Reverted {
            bail!("{} is where it was: {}", self.address, seen.why_not);
        }
        Ok(())
    }

    fn asked(&self) -> GetAccountMoveRequest {
        GetAccountMoveRequest {
            address: self.address.clone(),
        }
    }
}

fn is_over(seen: &AccountMove) -> bool {
    matches!(seen.state(), MoveState::Done | MoveState::Reverted)
}

fn tell(address: &str, seen: &AccountMove, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json_line(&to_json(address, seen));
    }
    output::lines(std::iter::once(line(address, seen)))
}

fn line(address: &str, seen: &AccountMove) -> String {
    let (from, to) = (seen.from_shard, seen.to_shard);
    let what = match seen.state() {
        MoveState::Done if seen.frozen_micros > 0 => {
            format!("done; frozen for {:.1} ms", seen.frozen_micros as f64 / 1_000.0)
        }
        MoveState::Reverted => format!("taken back: {}", seen.why_not),
        _ if !seen.waits_for.is_empty() => format!("{}; waits: {}", state(seen), seen.waits_for),
        _ => state(seen).to_owned(),
    };
    format!(
        "{address}: shard {from} to {to}, {} rows, {} bytes copied: {what}",
        seen.rows, seen.bytes
    )
}

fn to_json(address: &str, seen: &AccountMove) -> Value {
    json!({
        "address": address, "from_shard": seen.from_shard, "to_shard": seen.to_shard, "state": state(seen),
        "generation": seen.generation, "rows": seen.rows, "bytes": seen.bytes,
        "frozen_seconds": seen.frozen_micros as f64 / 1_000_000.0, "why_not": seen.why_not,
        "waits_for": seen.waits_for,
    })
}

fn state(seen: &AccountMove) -> &'static str {
    match seen.state() {
        MoveState::Unspecified => "unknown",
        MoveState::Copying => "copying",
        MoveState::Freezing => "freezing",
        MoveState::Switching => "switching",
        MoveState::Reverting => "reverting",
        MoveState::Done => "done",
        MoveState::Reverted => "reverted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_the_move_stands() {
        let mut seen = AccountMove {
            from_shard: 3,
            to_shard: 9,
            rows: 12,
            bytes: 3_400,
            state: MoveState::Freezing.into(),
            waits_for: "an upload".to_owned(),
            ..AccountMove::default()
        };
        assert_eq!(
            line("a@b", &seen),
            "a@b: shard 3 to 9, 12 rows, 3400 bytes copied: freezing; waits: an upload"
        );
        seen.state = MoveState::Done.into();
        seen.waits_for.clear();
        seen.frozen_micros = 31_250;
        assert_eq!(
            line("a@b", &seen),
            "a@b: shard 3 to 9, 12 rows, 3400 bytes copied: done; frozen for 31.2 ms"
        );
        assert_eq!(to_json("a@b", &seen)["state"], "done");
        assert_eq!(to_json("a@b", &seen)["frozen_seconds"], 0.03125);
    }
}
