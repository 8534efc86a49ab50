//! How far a job is, in a line: pure functions of what the directory says and of the time.

use rookery_directory::admin::json::{Counts, percent, step_word, word};
use rookery_proto::admin::v1::{GetJobResponse, JobState, TransferState};

use super::super::quantity::{duration, size};

/// Characters of a bar between its brackets.
const BAR_WIDTH: u64 = 12;

/// Characters of a line that is drawn in place: one that is broken at the terminal's edge could not be drawn over.
const LINE_CHARS_MAX: usize = 79;

/// Transfers that are named in the end because they were not done.
const NOT_DONE_LINES_MAX: usize = 20;

/// Whether a job has ended, and nothing of it changes any more.
pub(super) fn has_ended(job: &GetJobResponse) -> bool {
    matches!(job.state(), JobState::Done | JobState::Aborted)
}

/// Seconds from the beginning to the end, or to now.
fn elapsed(job: &GetJobResponse, now_millis: u64) -> u64 {
    let until = match job.ended_at_millis {
        0 => now_millis,
        ended => ended,
    };
    // Clocks of two machines differ.
    until.saturating_sub(job.began_at_millis) / 1000
}

fn figures(job: &GetJobResponse) -> Vec<String> {
    let (transfers, leads) = (Counts::transfers(job), Counts::leads(job));
    let mut figures = Vec::new();
    // What is not flushed yet weighs nothing in the plan.
    if job.bytes > 0 {
        figures.push(format!("{} of {}", size(job.bytes_copied), size(job.bytes)));
    }
    let is_copying = job.state() == JobState::Running && !transfers.are_settled();
    if job.bytes_per_second > 0 && is_copying {
        figures.push(format!("{}/s", size(job.bytes_per_second)));
    }
    figures.push(format!("{}/{} moved", transfers.done, transfers.all));
    // Leads follow the transfers; before that they say nothing.
    if leads.all > 0 && transfers.are_settled() {
        figures.push(format!("{}/{} leads", leads.done, leads.all));
    }
    figures
}

/// What is left, or how long it has been when that is unknown.
fn time(job: &GetJobResponse, now_millis: u64) -> String {
    match (job.state(), job.eta_seconds) {
        (JobState::Running, Some(seconds)) => format!("{} left", duration(seconds)),
        (JobState::Running, None) => format!("for {}", duration(elapsed(job, now_millis))),
        (state, _) => word(state).to_owned(),
    }
}

/// One line that is drawn over the one before it: short enough for any terminal.
pub(super) fn bar(job: &GetJobResponse, now_millis: u64) -> String {
    let percent = percent(job);
    let filled = percent * BAR_WIDTH / 100;
    let mut text = String::from("[");
    for position in 0..BAR_WIDTH {
        text.push(if position < filled { '#' } else { '-' });
    }
    text.push_str(&format!("] {percent:>3} %"));
    for part in figures(job).into_iter().chain([time(job, now_millis)]) {
        text.push_str("  ");
        text.push_str(&part);
    }
    text.chars().take(LINE_CHARS_MAX).collect()
}

/// One line of many, for a file or a pipe.
pub(super) fn line(job: &GetJobResponse, now_millis: u64) -> String {
    format!(
        "job {}, {}, {} %: {}, {}",
        job.job,
        word(job.state()),
        percent(job),
        figures(job).join(", "),
        match (job.state(), job.eta_seconds) {
            (JobState::Running, Some(seconds)) => format!("about {} left", duration(seconds)),
            _ => format!("for {}", duration(elapsed(job, now_millis))),
        }
    )
}

/// What a job that has ended came to, in a line.
pub(super) fn summary(job: &GetJobResponse, now_millis: u64) -> String {
    let (transfers, leads) = (Counts::transfers(job), Counts::leads(job));
    let bytes = match job.bytes {
        0 => String::new(),
        _ => format!(" ({})", size(job.bytes_copied)),
    };
    let mut text = format!(
        "job {} {} after {}: {} of {} transfers{bytes}, {} of {} leads",
        job.job,
        if job.state() == JobState::Done {
            "is done"
        } else {
            "was aborted"
        },
        duration(elapsed(job, now_millis)),
        transfers.done,
        transfers.all,
        leads.done,
        leads.all
    );
    for (count, word) in [
        (transfers.skipped + leads.skipped, "skipped"),
        (transfers.reverted + leads.reverted, "taken back"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}

/// Steps of a job that were not done, and why not.
pub(super) fn not_done(job: &GetJobResponse) -> Vec<String> {
    let is_given_up = |state| matches!(state, TransferState::Skipped | TransferState::Reverted);
    let line = |what: &str, shard: u32, from: &str, to: &str, state: TransferState, why_not: &str| {
        let from = if from.is_empty() { "nowhere" } else { from };
        format!("{what} {shard}, {from} to {to}, {}: {why_not}", step_word(state))
    };
    let transfers = job.transfers.iter().filter(|one| is_given_up(one.state()));
    let transfers =
        transfers.map(|one| line("shard", one.shard, &one.from, &one.to, one.state(), &one.why_not));
    let leads = job.leads.iter().filter(|one| is_given_up(one.state()));
    let leads = leads.map(|one| {
        line(
            "lead of shard",
            one.shard,
            &one.from,
            &one.to,
            one.state(),
            &one.why_not,
        )
    });
    let mut lines: Vec<String> = transfers.chain(leads).collect();
    if let Some(more) = lines
        .len()
        .checked_sub(NOT_DONE_LINES_MAX)
        .filter(|more| *more > 0)
    {
        lines.truncate(NOT_DONE_LINES_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests;
