//! A job from its beginning to its end, as the operator reads it.

use rookery_directory::admin::json;
use rookery_proto::admin::v1::{LeadChange, Transfer};

use super::*;

const BEGAN: u64 = 1_000_000;

fn transfer(shard: u32, state: TransferState) -> Transfer {
    Transfer {
        shard,
        from: "mailstore-1".to_owned(),
        to: "mailstore-4".to_owned(),
        bytes: 500_000_000,
        state: state.into(),
        why: "the target has 0.0 % of its share".to_owned(),
        ..Transfer::default()
    }
}

fn lead(shard: u32, state: TransferState) -> LeadChange {
    LeadChange {
        shard,
        from: "mailstore-1".to_owned(),
        to: "mailstore-4".to_owned(),
        state: state.into(),
        ..LeadChange::default()
    }
}

fn running() -> GetJobResponse {
    GetJobResponse {
        job: 3,
        state: JobState::Running.into(),
        began_at_millis: BEGAN,
        transfers: vec![
            transfer(7, TransferState::Done),
            transfer(8, TransferState::Copying),
            transfer(9, TransferState::Removing),
            transfer(10, TransferState::Waiting),
        ],
        leads: vec![lead(7, TransferState::Waiting)],
        bytes: 2_000_000_000,
        bytes_copied: 1_234_567_890,
        bytes_per_second: 48_000_000,
        eta_seconds: Some(16),
        ..GetJobResponse::default()
    }
}

#[test]
fn a_job_that_runs_says_how_far_it_is() {
    let job = running();
    assert_eq!(
        bar(&job, BEGAN + 26_000),
        "[#######-----]  61 %  1.2 GB of 2.0 GB  48.0 MB/s  1/4 moved  16 s left"
    );
    assert_eq!(
        line(&job, BEGAN + 26_000),
        "job 3, running, 61 %: 1.2 GB of 2.0 GB, 48.0 MB/s, 1/4 moved, about 16 s left"
    );
    assert!(!has_ended(&job));
}

#[test]
fn a_job_that_has_just_begun_says_for_how_long() {
    let mut job = running();
    (job.bytes_copied, job.bytes_per_second, job.eta_seconds) = (0, 0, None);
    assert_eq!(
        bar(&job, BEGAN + 2_500),
        "[------------]   0 %  0 B of 2.0 GB  1/4 moved  for 2 s"
    );
    let early = BEGAN - 5_000;
    assert!(
        bar(&job, early).ends_with("for 0 s"),
        "this clock is behind the directory's"
    );
}

#[test]
fn nothing_is_said_to_be_whole_before_it_is() {
    let mut job = running();
    job.bytes_copied = job.bytes;
    assert!(
        bar(&job, BEGAN).contains(" 99 %"),
        "the old replicas are still there"
    );
    job.bytes_copied = job.bytes + 5;
    assert!(bar(&job, BEGAN).contains(" 99 %"), "more than was planned");
    (job.bytes, job.bytes_copied) = (0, 0);
    assert_eq!(
        bar(&job, BEGAN),
        "[##----------]  20 %  48.0 MB/s  1/4 moved  16 s left",
        "one of five steps, and nothing of bytes"
    );
    job.state = JobState::Done.into();
    assert!(bar(&job, BEGAN).contains("[############] 100 %"));
}

#[test]
fn a_state_that_an_operator_has_asked_for_stands_where_time_does() {
    let mut job = running();
    job.state = JobState::Paused.into();
    assert!(bar(&job, BEGAN).ends_with("  paused"));
    assert_eq!(
        line(&job, BEGAN + 60_000),
        "job 3, paused, 61 %: 1.2 GB of 2.0 GB, 1/4 moved, for 60 s"
    );
    job.state = JobState::Aborting.into();
    assert!(bar(&job, BEGAN).ends_with("  aborting"));
}

#[test]
fn leads_are_told_when_the_transfers_are_over() {
    let mut job = running();
    for transfer in &mut job.transfers {
        transfer.state = TransferState::Done.into();
    }
    assert_eq!(
        bar(&job, BEGAN),
        "[#######-----]  61 %  1.2 GB of 2.0 GB  4/4 moved  0/1 leads  16 s left"
    );
    assert!(line(&job, BEGAN).contains("4/4 moved, 0/1 leads"));
    job.transfers.clear();
    assert!(line(&job, BEGAN).contains("0/0 moved, 0/1 leads"));
}

#[test]
fn a_bar_fits_a_line_whatever_the_figures() {
    let mut job = running();
    job.transfers = vec![transfer(1, TransferState::Done); 12_345];
    job.leads = vec![lead(1, TransferState::Waiting); 12_345];
    (job.bytes, job.bytes_copied) = (u64::MAX, u64::MAX - 1);
    (job.bytes_per_second, job.eta_seconds) = (999_900_000, Some(10_000_000));
    assert_eq!(bar(&job, BEGAN).chars().count(), LINE_CHARS_MAX);
}

#[test]
fn the_end_is_summed_up_with_what_was_not_done() {
    let mut job = running();
    job.state = JobState::Done.into();
    job.ended_at_millis = BEGAN + 48_000;
    for transfer in &mut job.transfers {
        transfer.state = TransferState::Done.into();
    }
    job.leads[0].state = TransferState::Done.into();
    assert_eq!(
        summary(&job, BEGAN + 999_000),
        "job 3 is done after 48 s: 4 of 4 transfers (1.2 GB), 1 of 1 leads"
    );
    assert!(not_done(&job).is_empty());

    job.state = JobState::Aborted.into();
    job.transfers[1].state = TransferState::Skipped.into();
    job.transfers[1].why_not = "the job was aborted".to_owned();
    job.transfers[2].state = TransferState::Reverted.into();
    job.transfers[2].why_not = "it was taken back".to_owned();
    job.transfers[2].from = String::new();
    assert_eq!(
        summary(&job, BEGAN + 999_000),
        "job 3 was aborted after 48 s: 2 of 4 transfers (1.2 GB), 1 of 1 leads, 1 skipped, 1 taken back"
    );
    assert_eq!(
        not_done(&job),
        [
            "shard 8, mailstore-1 to mailstore-4, skipped: the job was aborted",
            "shard 9, nowhere to mailstore-4, reverted: it was taken back",
        ]
    );
    job.transfers = vec![job.transfers[1].clone(); 25];
    let lines = not_done(&job);
    assert_eq!((lines.len(), lines[20].as_str()), (21, "and 5 more"));
}

#[test]
fn bytes_that_nobody_has_measured_are_not_summed_up() {
    let mut job = running();
    job.state = JobState::Done.into();
    (job.ended_at_millis, job.bytes, job.bytes_copied) = (BEGAN + 3_000, 0, 0);
    assert_eq!(
        summary(&job, BEGAN),
        "job 3 is done after 3 s: 1 of 4 transfers, 0 of 1 leads"
    );
}

#[test]
fn programs_get_figures_and_the_steps_that_matter() {
    let held = json::job(&running());
    assert_eq!(held["state"], "running");
    assert_eq!(
        held["transfers"],
        serde_json::json!({"all": 4, "done": 1, "under_way": 2, "skipped": 0, "reverted": 0})
    );
    let open: Vec<_> = held["open_transfers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["shard"].as_u64().unwrap(), one["state"].as_str().unwrap()))
        .collect();
    assert_eq!(open, [(8, "copying"), (9, "removing")]);
    assert_eq!(held["eta_seconds"], 16);
    let mut unknown = running();
    unknown.eta_seconds = None;
    assert!(json::job(&unknown)["eta_seconds"].is_null());
}
