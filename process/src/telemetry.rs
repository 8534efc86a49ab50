//! The process's metrics in Prometheus' text form.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of duration histograms, in seconds.
const SECONDS_BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once for the process: nodes that share a process share their metrics.
pub fn install() {
    HANDLE.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
            .ok()?
            .install_recorder()
            .ok()
    });
}

/// Folds what histograms have gathered, so that they stay small when nobody reads them. To be called every few seconds.
pub fn upkeep() {
    if let Some(handle) = HANDLE.get().and_then(Option::as_ref) {
        handle.run_upkeep();
    }
}

/// All metrics as Prometheus reads them.
pub fn render() -> String {
    process_facts();
    HANDLE
        .get()
        .and_then(Option::as_ref)
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Memory, CPU and descriptors of the process, read from /proc when asked for.
#[allow(clippy::cast_precision_loss)]
fn process_facts() {
    if let Ok(statm) = std::fs::read_to_string("/proc/self/statm")
        && let Some(pages) = statm
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok())
    {
        let page = rustix::param::page_size() as u64;
        metrics::gauge!("rookery_process_resident_memory_bytes").set((pages * page) as f64);
    }
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
        && let Some((_, fields)) = stat.rsplit_once(')')
    {
        // Fields 14 and 15 of the line are user and system time in clock ticks; two fields stand before the bracket.
        let ticks = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum::<u64>();
        let per_second = rustix::param::clock_ticks_per_second();
        metrics::gauge!("rookery_process_cpu_seconds").set(ticks as f64 / per_second as f64);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("rookery_process_open_files").set(entries.count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_however_often_they_are_installed() {
        install();
        install();
        metrics::counter!("rookery_test_calls").increment(2);
        metrics::histogram!("rookery_test_wait_seconds").record(0.002);
        upkeep();
        let text = render();
        for expected in [
            "rookery_test_calls 2",
            "rookery_test_wait_seconds_bucket{le=\"0.0025\"} 1",
            "rookery_process_resident_memory_bytes ",
            "rookery_process_cpu_seconds ",
            "rookery_process_open_files ",
        ] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
    }
}
