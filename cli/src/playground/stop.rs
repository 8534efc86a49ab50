//! Stopping a playground from outside, and nodes that were started again by their `restart` command.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::layout;
use super::node::Plan;

/// How long `playground stop` waits.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Stops the playground of a folder and waits until it is gone.
pub(super) async fn stop(data: &Path) -> anyhow::Result<()> {
    let path = layout::pid_file(data);
    let pid = read_pid(&path).with_context(|| {
        format!(
            "no playground runs in {}: there is no {}",
            data.display(),
            path.display()
        )
    })?;
    if !is_rookery(pid) {
        bail!("no playground runs in {}: process {pid} is gone", data.display());
    }
    let gone = exit_of(pid)?;
    terminate(pid);
    tokio::time::timeout(STOP_MAX, gone).await.map_err(|_| {
        anyhow!(
            "the playground (process {pid}) did not stop in {} s",
            STOP_MAX.as_secs()
        )
    })
}

/// The process that runs a playground in a folder, if one does.
pub(super) fn running(data: &Path) -> Option<u32> {
    read_pid(&layout::pid_file(data)).filter(|pid| is_rookery(*pid))
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
    let Ok(gone) = exit_of(pid) else { return };
    terminate(pid);
    if tokio::time::timeout(STOP_MAX, gone).await.is_err() {
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

fn is_rookery(pid: u32) -> bool {
    command_line(pid).is_some_and(|line| line.contains("playground"))
}

fn runs_config(pid: u32, config: &Path) -> bool {
    command_line(pid).is_some_and(|line| line.contains(&config.display().to_string()))
}

/// Resolves when the process has ended, whoever its parent is.
fn exit_of(pid: u32) -> anyhow::Result<impl Future<Output = ()>> {
    let pid = to_pid(pid).ok_or_else(|| anyhow!("{pid} is not a process id"))?;
    let fd = AsyncFd::new(pidfd_open(pid, PidfdFlags::NONBLOCK)?)?;
    Ok(async move {
        // Readable when the process has ended; an error means that it cannot be watched any longer.
        let _ = fd.readable().await;
    })
}
