//! Stopping a playground from outside, and nodes that were started again by their `restart` command.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::layout;
use super::node::Plan;

/// How long `playground stop` waits.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Stops the playground of a folder and waits until it is gone.
pub(super) async fn stop(data: &Path) -> anyhow::Result<()> {
    let path = layout::pid_file(data);
    // Whoever runs it holds its lock; the process id alone may be another's by now.
    if !data.is_dir() || layout::lock(data)?.is_some() {
        bail!("no playground runs in {}", data.display());
    }
    let pid = read_pid(&path)
        .with_context(|| format!("the playground in {} is only starting: try again", data.display()))?;
    if !ends(pid, Signal::TERM).await? {
        bail!(
            "the playground (process {pid}) did not stop in {} s",
            STOP_MAX.as_secs()
        );
    }
    Ok(())
}

/// Sends SIGTERM to a process.
pub(super) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Stops the process that was started in place of a node's own, if there is one.
pub(super) async fn stop_successor(plan: &Plan) {
    let Some(pid) = read_pid(&layout::pid_file(&plan.folder)) else {
        return;
    };
    if !runs_config(pid, &plan.config) {
        return;
    }
    // An error means that it has gone already.
    if matches!(ends(pid, Signal::TERM).await, Ok(false)) {
        signal(pid, Signal::KILL);
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = to_pid(pid) {
        // The process may have gone by itself.
        let _ = kill_process(pid, signal);
    }
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn read_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn command_line(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

fn runs_config(pid: u32, config: &Path) -> bool {
    command_line(pid).is_some_and(|line| line.contains(&config.display().to_string()))
}

/// Whether a process, whoever its parent is, ends within [`STOP_MAX`] once it has been told to.
async fn ends(pid: u32, signalled: Signal) -> anyhow::Result<bool> {
    let raw = to_pid(pid).ok_or_else(|| anyhow!("{pid} is not a process id"))?;
    // Opened before the signal, so that it names this process and no later one of the same number.
    let fd = pidfd_open(raw, PidfdFlags::empty())?;
    signal(pid, signalled);
    let limit = Timespec::try_from(STOP_MAX)?;
    let waiting = tokio::task::spawn_blocking(move || {
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut fds, Some(&limit))
    });
    Ok(waiting.await?? > 0)
}
