//! What a server on this machine costs, from `/proc`: CPU and memory of its processes and all that descend from them.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

/// Appends that are synced to learn what the disk takes for one.
const SYNCS: usize = 60;

/// What one such append writes, in bytes.
const SYNC_BYTES: usize = 4096;

/// CPU of a server's processes at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu(f64);

/// What a server cost during the measured time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    /// User and system time of all its processes.
    pub(crate) cpu_seconds: f64,
    /// The same for a whole operation, in milliseconds.
    pub(crate) cpu_ms: f64,
    /// Memory at the end, with pages that processes share counted once.
    pub(crate) pss_kib: u64,
}

/// Whether the processes are there, and this program may read what they cost.
pub(crate) fn check(pids: &[u32]) -> Result<()> {
    for pid in pids {
        std::fs::File::open(format!("/proc/{pid}/smaps_rollup")).with_context(|| {
            format!(
                "cannot read what process {pid} costs: is it there, and is this run as its user or as root?"
            )
        })?;
    }
    Ok(())
}

/// CPU that the processes and their descendants have used so far, those that have ended too.
pub(crate) fn cpu(pids: &[u32]) -> Result<Cpu> {
    let ticks_a_second = rustix::param::clock_ticks_per_second() as f64;
    let mut seconds = 0.0;
    for pid in tree(pids)? {
        // It may have ended meanwhile; its parent has its time then.
        if let Some(stat) = stat(pid) {
            // Ticks count threads that have ended, and are cut to hundredths of a second: much for many small processes.
            let own = stat.own_ticks as f64 / ticks_a_second;
            seconds += own.max(threads_seconds(pid)) + stat.children_ticks as f64 / ticks_a_second;
        }
    }
    Ok(Cpu(seconds))
}

/// CPU of a process's threads that have not ended, to the nanosecond; zero where the kernel does not tell.
fn threads_seconds(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0.0;
    };
    let nanos = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    nanos.sum::<u64>() as f64 / 1e9
}

impl Cpu {
    /// What was used between two moments.
    pub(crate) fn seconds_since(self, before: Self) -> f64 {
        (self.0 - before.0).max(0.0)
    }
}

/// Proportional set size of the processes and their descendants, in KiB.
pub(crate) fn pss_kib(pids: &[u32]) -> Result<u64> {
    let mut total = 0;
    for pid in tree(pids)? {
        // It may have ended meanwhile.
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
            continue;
        };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        total += kib.unwrap_or_default();
    }
    Ok(total)
}

/// CPU that this program has used so far.
pub(crate) fn own_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        spent.tv_sec.unsigned_abs(),
        u32::try_from(spent.tv_nsec).unwrap_or_default(),
    )
}

/// What of this machine a reader must know to compare: processors, load, and what a synced append of 4 KiB takes.
pub(crate) fn machine() -> Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let path = std::env::temp_dir().join(format!("rookery-loadtest-{}", std::process::id()));
    let mut file =
        std::fs::File::create_new(&path).with_context(|| format!("cannot write {}", path.display()))?;
    // Nobody needs its name.
    let _ = std::fs::remove_file(&path);
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[b'x'; SYNC_BYTES])?;
        let began = Instant::now();
        rustix::fs::fdatasync(file.as_fd())?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let processors = std::thread::available_parallelism()?;
    let median = took[SYNCS / 2].as_secs_f64() * 1e3;
    Ok(format!(
        "{processors} processors, load {load}, fdatasync median {median:.2} ms"
    ))
}

struct Stat {
    parent: u32,
    /// User and system time of the process.
    own_ticks: u64,
    /// The same of its children that have ended.
    children_ticks: u64,
}

/// What the kernel tells of a process (proc_pid_stat(5)).
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&text))
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The program's name stands in brackets and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own_ticks: number(11)? + number(12)?,
        children_ticks: number(13)? + number(14)?,
    })
}

/// The processes and all that descend from them, each once.
fn tree(roots: &[u32]) -> Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid)?))) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found: Vec<u32> = Vec::new();
    let mut waiting = roots.to_vec();
    while let Some(pid) = waiting.pop() {
        if !found.contains(&pid) {
            found.push(pid);
            waiting.extend(children.get(&pid).into_iter().flatten());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "7 (a ) (b) S 3 7 7 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 9 0 5 6";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.own_ticks, stat.children_ticks), (3, 120, 7));
        assert!(parse_stat("7 (cut) S 3").is_none());
    }

    #[test]
    fn a_process_and_its_children_are_counted_once() {
        let own = std::process::id();
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let found = tree(&[own, own]).unwrap();
        assert_eq!(found.iter().filter(|pid| **pid == own).count(), 1);
        assert!(found.contains(&child.id()));
        assert!(pss_kib(&[own]).unwrap() > 100);
        check(&[own, child.id()]).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let error = check(&[child.id()]).unwrap_err().to_string();
        assert!(error.contains("is it there"), "{error}");
    }

    #[test]
    fn own_cpu_ascends() {
        let before = own_cpu();
        assert!(std::hint::black_box((0..100_000u64).sum::<u64>()) > 0);
        assert!(own_cpu() > before);
        let tree = cpu(&[std::process::id()]).unwrap();
        // User and system time are each cut to hundredths of a second.
        assert!(tree.0 + 0.03 >= before.as_secs_f64(), "{tree:?} and {before:?}");
    }

    #[test]
    fn the_machine_is_told() {
        let said = machine().unwrap();
        assert!(
            said.contains("processors") && said.contains("fdatasync"),
            "{said}"
        );
    }
}
