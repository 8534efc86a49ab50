//! What is known of every process: memory, processor time, descriptors, its runtime, its certificates, its version.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Resource;
use tokio::runtime::RuntimeMetrics;

use super::{Kind, Label, Metric, Presence};

/// Paths of the HTTP endpoint that every role has; all else is `other`.
pub(crate) const HTTP_PATHS: [&str; 4] = ["livez", "readyz", "metrics", "other"];

/// Classes of HTTP answers.
pub(crate) const HTTP_STATUSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

crate::catalogue! {
    Always Gauge BUILD_INFO "rookery_build_info" [version: &[env!("CARGO_PKG_VERSION")]]
        "Always 1: the label says which version runs";
    Always Gauge READY "rookery_process_ready" []
        "1 while /readyz answers 200";
    Always Gauge START_TIME "rookery_process_start_time_seconds" []
        "When the process began, unix seconds";
    Always Gauge RESIDENT_MEMORY "rookery_process_resident_memory_bytes" []
        "Memory of the process";
    Always Gauge CPU "rookery_process_cpu_seconds" []
        "Processor time of the process, as a gauge: rookery_process_cpu_seconds_total under its first name";
    Always Total CPU_TOTAL "rookery_process_cpu_seconds_total" []
        "Processor time of the process, user and system";
    Always Gauge OPEN_FILES "rookery_process_open_files" []
        "File descriptors that are open";
    Always Gauge OPEN_FILES_MAX "rookery_process_open_files_max" []
        "File descriptors that may be open";
    Always Gauge THREADS "rookery_process_threads" []
        "Threads of the process";
    Used Gauge CERTIFICATE_NOT_AFTER "rookery_certificate_not_after_seconds" [use: &["mail", "node", "admin"]]
        "When a certificate in use ends, unix seconds: of a proxy for mail clients, of the node for others, of a directory for operators";
    Always Gauge RUNTIME_WORKERS "rookery_runtime_workers" []
        "Threads that run the runtime's tasks";
    Always Total RUNTIME_BUSY "rookery_runtime_busy_seconds_total" []
        "Time that these threads were busy, all together";
    Always Gauge RUNTIME_QUEUE "rookery_runtime_global_queue_length" []
        "Tasks that wait in the runtime's global queue";
    Always Gauge RUNTIME_TASKS "rookery_runtime_alive_tasks" []
        "Tasks that have begun and not ended";
    Used Counter SPANS_LOST "rookery_process_spans_lost_total" [reason: &["queue_full", "export"]]
        "Spans of traces that the collector did not get";
    Used Counter HTTP_REQUESTS "rookery_http_requests_total" [path: &HTTP_PATHS, status: &HTTP_STATUSES]
        "Requests to the HTTP endpoint; other is a directory's page and API, and paths that are unknown";
    Used Histogram HTTP_SECONDS "rookery_http_request_seconds" [path: &HTTP_PATHS]
        "How long the answer to an HTTP request took";
}

/// What is written by [`write_totals`].
static TOTALS: [&Total; 2] = [&CPU_TOTAL, &RUNTIME_BUSY];

/// A counter that is no whole number. Recorders count in whole ones, so it is written by itself.
#[derive(Debug)]
pub struct Total {
    metric: Metric,
    bits: AtomicU64,
}

impl Total {
    /// A metric of a catalogue.
    pub const fn new(
        name: &'static str,
        presence: Presence,
        labels: &'static [Label],
        help: &'static str,
    ) -> Self {
        let kind = Kind::Counter;
        Self {
            metric: Metric {
                name,
                kind,
                presence,
                labels,
                help,
            },
            bits: AtomicU64::new(0),
        }
    }

    /// What the catalogue says of it.
    pub const fn metric(&self) -> &Metric {
        &self.metric
    }

    /// It is always there.
    pub fn begin(&self) {}

    fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// Writes the counters that are no whole numbers.
pub(super) fn write_totals(page: &mut String) {
    for total in TOTALS {
        let Metric { name, help, .. } = total.metric;
        let value = f64::from_bits(total.bits.load(Ordering::Relaxed));
        page.push_str(&format!(
            "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n\n"
        ));
    }
}

/// Says when a certificate in use ends, in unix seconds; `used` for mail clients (`mail`), other nodes (`node`) or operators (`admin`).
pub fn certificate_ends(used: &str, unix_seconds: i64) {
    CERTIFICATE_NOT_AFTER.with(&[used]).set(unix_seconds as f64);
}

/// Says whether the process can serve.
pub fn is_ready(ready: bool) {
    READY.set(if ready { 1.0 } else { 0.0 });
}

/// Looks at the runtime that the process runs on.
pub fn look_at_runtime(runtime: &RuntimeMetrics) {
    let workers = runtime.num_workers();
    let busy: Duration = (0..workers)
        .map(|worker| runtime.worker_total_busy_duration(worker))
        .sum();
    RUNTIME_WORKERS.set(workers as f64);
    RUNTIME_BUSY.set(busy.as_secs_f64());
    RUNTIME_QUEUE.set(runtime.global_queue_depth() as f64);
    RUNTIME_TASKS.set(runtime.num_alive_tasks() as f64);
}

/// Looks at the process, in /proc.
pub(super) fn look() {
    BUILD_INFO.with(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    if let Ok(statm) = std::fs::read_to_string("/proc/self/statm")
        && let Some(pages) = statm
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok())
    {
        RESIDENT_MEMORY.set((pages * rustix::param::page_size() as u64) as f64);
    }
    if let Some(stat) = Stat::read() {
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let seconds = stat.cpu_ticks as f64 / per_second;
        CPU.set(seconds);
        CPU_TOTAL.set(seconds);
        THREADS.set(stat.threads as f64);
        if let Some(booted) = booted() {
            START_TIME.set(booted + stat.start_ticks as f64 / per_second);
        }
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        OPEN_FILES.set(entries.count() as f64);
    }
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    OPEN_FILES_MAX.set(limit.map_or(f64::INFINITY, |limit| limit as f64));
}

/// What /proc/self/stat says (proc_pid_stat(5)).
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// After the machine was started.
    start_ticks: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // A program's name may have spaces and brackets in it; two fields stand before its end.
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
        })
    }
}

/// When the machine was started, unix seconds.
fn booted() -> Option<f64> {
    static BOOTED: OnceLock<Option<f64>> = OnceLock::new();
    *BOOTED.get_or_init(|| {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_understood_whatever_the_program_is_called() {
        let line = "7 (a ) b) S 1 7 7 0 -1 4194304 1 2 3 4 50 60 0 0 20 0 9 0 1234 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.cpu_ticks, stat.threads, stat.start_ticks), (110, 9, 1234));
        assert!(Stat::parse("7 (a) S 1").is_none());
    }
}
