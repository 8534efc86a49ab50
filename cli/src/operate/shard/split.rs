//! `rookery shard split`: half of a shard's accounts to a new shard, while their sessions live on.
//!
//! The split belongs to the directory: it goes on whatever becomes of the command that began it or looks at it.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use clap::Args;
use rookery_proto::admin::v1::{AbortSplitRequest, GetSplitRequest, Split, SplitShardRequest, SplitState};
use serde_json::{Value, json};
use tonic::Request;

use super::super::RebalanceClient;
use super::super::output::{self, refused};
use super::super::quantity::duration;
use super::super::retry::Retry;

/// How often it is looked how far the split is.
const LOOK: Duration = Duration::from_millis(250);

/// Between two lines where nothing but figures changes.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How long one question may take: a member that stands still is not waited for when another may lead.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long the directory may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Accounts that are named because they were left behind.
const LEFT_LINES_MAX: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shard's number
    id: u32,
    /// Only begin, or with --watch look once; the split goes on by itself
    #[arg(long)]
    no_wait: bool,
    /// Begin none: show how far the last split of the shard is until it ends
    #[arg(long)]
    watch: bool,
    /// Have no more accounts set out; what has moved stays where it is
    #[arg(long, conflicts_with_all = ["no_wait", "watch"])]
    abort: bool,
}

impl Arguments {
    pub(super) async fn run(self, client: &mut RebalanceClient, as_json: bool) -> anyhow::Result<()> {
        let shard = self.id;
        if self.abort {
            client
                .abort_split(AbortSplitRequest { shard })
                .await
                .map_err(refused)?;
            return output::done(
                as_json,
                "being aborted: accounts that are on their way arrive, no others set out, what has moved stays",
            );
        }
        let first = if self.watch {
            client
                .get_split(GetSplitRequest {})
                .await
                .map_err(refused)?
                .into_inner()
                .split
        } else {
            client
                .split_shard(SplitShardRequest { shard })
                .await
                .map_err(refused)?
                .into_inner()
                .split
        };
        let Some(split) = first else {
            bail!("the directory does not say what is split: is it older than this program?");
        };
        if split.from_shard != shard {
            bail!(
                "shard {shard} has not been split lately: the last split is of shard {}, `rookery shard split {} --watch` shows it",
                split.from_shard,
                split.from_shard
            );
        }
        if self.no_wait {
            return tell(&split, as_json);
        }
        let split = watch(client, split, as_json).await?;
        conclude(&split, as_json)
    }
}

/// Shows how far the split is until it has ended.
async fn watch(client: &mut RebalanceClient, first: Split, as_json: bool) -> anyhow::Result<Split> {
    let mut seen = first;
    let mut told: Option<(Instant, Split)> = None;
    let mut retry = Retry::new(PATIENCE);
    loop {
        let is_over = is_over(&seen);
        if is_over || is_line_due(told.as_ref(), Instant::now(), &seen) {
            // The summary says how it has ended.
            if as_json || !is_over {
                tell(&seen, as_json)?;
            }
            told = Some((Instant::now(), seen.clone()));
        }
        if is_over {
            return Ok(seen);
        }
        tokio::time::sleep(LOOK).await;
        let mut request = Request::new(GetSplitRequest {});
        request.set_timeout(ANSWER_MAX);
        let now = match client.get_split(request).await {
            Ok(answer) => answer.into_inner().split.unwrap_or_default(),
            Err(status) => {
                let what = || "the split goes on by itself, but is not seen".to_owned();
                retry.pause_or(status.into(), what).await?;
                continue;
            }
        };
        retry = Retry::new(PATIENCE);
        if now.split != seen.split {
            bail!(
                "split {} has ended, and split {} has begun meanwhile: see it with `rookery shard split {} --watch`",
                seen.split,
                now.split,
                now.from_shard
            );
        }
        seen = now;
    }
}

/// Lines come at intervals, and at once when it is another state or something else is waited for.
fn is_line_due(told: Option<&(Instant, Split)>, now: Instant, seen: &Split) -> bool {
    told.is_none_or(|(at, told)| {
        told.state != seen.state
            || told.waits_for != seen.waits_for
            || now.duration_since(*at) >= LINE_INTERVAL
    })
}

fn is_over(split: &Split) -> bool {
    matches!(split.state(), SplitState::Done | SplitState::Aborted)
}

/// Sums up a split that has ended; an error when it was aborted.
fn conclude(split: &Split, as_json: bool) -> anyhow::Result<()> {
    let summary = summary(split);
    if split.state() != SplitState::Done {
        return Err(anyhow!(
            "{summary}: what has moved stays, and the others are where they were"
        ));
    }
    if as_json {
        return Ok(());
    }
    output::lines(std::iter::once(summary).chain(left(split)))
}

fn tell(split: &Split, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json_line(&to_json(split));
    }
    output::lines(std::iter::once(line(split)))
}

fn line(split: &Split) -> String {
    let mut text = format!(
        "split {}: shard {} to {}, {}: {} of {} accounts moved",
        split.split,
        split.from_shard,
        split.to_shard,
        state(split),
        split.moved,
        split.expected
    );
    for (count, word) in [
        (u64::from(split.under_way), "under way"),
        (u64::from(split.waiting), "to be tried again"),
        (split.left, "left behind"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    if !split.waits_for.is_empty() {
        text.push_str(&format!("; waits for {}", split.waits_for));
    }
    text
}

fn summary(split: &Split) -> String {
    // Clocks of two machines differ.
    let seconds = split.ended_at_millis.saturating_sub(split.began_at_millis) / 1_000;
    let outcome = match split.state() {
        SplitState::Done => "is done",
        _ => "was aborted",
    };
    let mut text = format!(
        "split {} {outcome} after {}: {} accounts of shard {} are in shard {} now",
        split.split,
        duration(seconds),
        split.moved,
        split.from_shard,
        split.to_shard
    );
    if split.left > 0 {
        text.push_str(&format!(", {} were left behind", split.left));
    }
    text
}

/// Lines that name who was left behind, and why.
fn left(split: &Split) -> impl Iterator<Item = String> {
    let named = split.left_accounts.iter().take(LEFT_LINES_MAX);
    let lines = named.map(|left| format!("  {} stays: {}", left.address, left.why));
    let named = lines.len() as u64;
    let more = (split.left > named).then(|| format!("  and {} more", split.left - named));
    lines.chain(more)
}

fn to_json(split: &Split) -> Value {
    let left = split.left_accounts.iter();
    let left = left.map(|left| json!({ "address": left.address, "why": left.why }));
    json!({
        "split": split.split, "from_shard": split.from_shard, "to_shard": split.to_shard, "state": state(split),
        "began_at_millis": split.began_at_millis, "ended_at_millis": split.ended_at_millis,
        "expected": split.expected, "moved": split.moved, "under_way": split.under_way,
        "waiting": split.waiting, "left": split.left, "left_accounts": left.collect::<Vec<_>>(),
        "waits_for": split.waits_for,
    })
}

fn state(split: &Split) -> &'static str {
    match split.state() {
        SplitState::Unspecified => "unknown",
        SplitState::Forming => "forming",
        SplitState::Running => "running",
        SplitState::Aborting => "aborting",
        SplitState::Done => "done",
        SplitState::Aborted => "aborted",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rookery_proto::admin::v1::LeftAccount;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn one_thing_is_asked_at_a_time() {
        let parse = |words: &str| {
            let words = std::iter::once("split").chain(words.split_whitespace());
            Line::try_parse_from(words).map(|line| line.arguments)
        };
        let plain = parse("7").unwrap();
        assert_eq!(
            (plain.id, plain.no_wait, plain.watch, plain.abort),
            (7, false, false, false)
        );
        assert!(parse("7 --no-wait").unwrap().no_wait);
        assert!(parse("7 --watch --no-wait").unwrap().watch);
        assert!(parse("7 --abort").unwrap().abort);
        for wrong in [
            "",
            "seven",
            "-1",
            "7 8",
            "7 --abort --watch",
            "7 --abort --no-wait",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    fn running() -> Split {
        Split {
            split: 1,
            from_shard: 3,
            to_shard: 16,
            state: SplitState::Running.into(),
            began_at_millis: 1_000,
            expected: 50,
            moved: 12,
            under_way: 8,
            ..Split::default()
        }
    }

    #[test]
    fn a_line_says_how_the_split_stands() {
        let mut split = running();
        assert_eq!(
            line(&split),
            "split 1: shard 3 to 16, running: 12 of 50 accounts moved, 8 under way"
        );
        split.under_way = 0;
        split.waiting = 2;
        split.left = 1;
        split.waits_for = "the end of rebalance 4".to_owned();
        assert_eq!(
            line(&split),
            "split 1: shard 3 to 16, running: 12 of 50 accounts moved, 2 to be tried again, 1 left behind; waits for the \
             end of rebalance 4"
        );
        let value = to_json(&split);
        assert_eq!(
            (&value["state"], &value["moved"]),
            (&"running".into(), &12.into())
        );
    }

    #[test]
    fn the_end_names_who_was_left_behind_and_only_an_abort_is_an_error() {
        let mut split = running();
        split.state = SplitState::Done.into();
        split.ended_at_millis = 27_000;
        split.left = 2;
        split.left_accounts = vec![LeftAccount {
            address: "a@b".to_owned(),
            why: "the disk is full".to_owned(),
        }];
        assert_eq!(
            summary(&split),
            "split 1 is done after 26 s: 12 accounts of shard 3 are in shard 16 now, 2 were left behind"
        );
        let lines: Vec<String> = left(&split).collect();
        assert_eq!(lines, ["  a@b stays: the disk is full", "  and 1 more"]);
        assert!(conclude(&split, true).is_ok());
        split.state = SplitState::Aborted.into();
        let error = conclude(&split, true).unwrap_err().to_string();
        assert!(error.starts_with("split 1 was aborted after 26 s: 12"), "{error}");
    }

    #[test]
    fn lines_come_seldom_unless_something_else_than_figures_changes() {
        let now = Instant::now();
        let mut split = running();
        assert!(is_line_due(None, now, &split));
        let told = (now, split.clone());
        split.moved += 1;
        assert!(!is_line_due(Some(&told), now + LOOK, &split));
        assert!(is_line_due(Some(&told), now + LINE_INTERVAL, &split));
        split.waits_for = "a backup".to_owned();
        assert!(is_line_due(Some(&told), now + LOOK, &split));
    }
}
