//! The process's metrics in Prometheus' text form: what there are ([`metric`]), what each process tells of itself ([`facts`]), and what
//! is looked at when the page is asked for ([`gather()`]).

mod facts;
mod gather;
mod metric;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use facts::{CATALOGUE, Total, begin, certificate_ends, is_ready, look_at_runtime};
pub(crate) use facts::{HTTP_REQUESTS, HTTP_SECONDS, SPANS_LOST};
pub use gather::{Gathering, gather};
pub use metric::{Counter, Gauge, Held, Histogram, Kind, Label, Metric, Presence};

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once for the process: nodes that share a process share their metrics. What was recorded before is lost.
/// The catalogues say what there may be beside what every process tells.
pub fn install(catalogues: &[&[&'static Metric]]) {
    HANDLE.get_or_init(|| {
        let all = || CATALOGUE.iter().chain(catalogues.iter().copied().flatten());
        let mut builder = PrometheusBuilder::new();
        for metric in all().filter(|metric| metric.kind == Kind::Histogram) {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, metric.buckets()).ok()?;
        }
        let handle = builder.install_recorder().ok()?;
        all().for_each(|metric| metric.describe());
        begin();
        Some(handle)
    });
}

/// Whether there is a recorder: otherwise nothing is recorded, and there is no page.
pub fn is_on() -> bool {
    HANDLE.get().is_some_and(Option::is_some)
}

/// Folds what histograms have gathered, so that they stay small when nobody reads them. To be called every few seconds.
pub fn upkeep() {
    if let Some(handle) = HANDLE.get().and_then(Option::as_ref) {
        handle.run_upkeep();
    }
}

/// All metrics as Prometheus reads them; nothing when there is no recorder. May block for a moment.
pub fn render() -> Option<String> {
    let handle = HANDLE.get().and_then(Option::as_ref)?;
    facts::look();
    gather::look();
    let mut page = handle.render();
    facts::write_totals(&mut page);
    Some(page)
}

#[cfg(test)]
#[allow(unreachable_pub)]
pub(crate) mod tests {
    use super::*;

    crate::catalogue! {
        Always Counter CALLS "rookery_test_calls" [] "Calls of this test";
        Used Histogram WAIT "rookery_test_wait_seconds" [kind: &["short", "long"]] "How long this test has waited";
        Used Histogram RECORDS "rookery_test_records" [] "Records of this test";
        Used Counter UNUSED "rookery_test_unused_total" [] "What never is";
    }

    #[test]
    fn metrics_are_rendered_however_often_they_are_installed() {
        install(&[CATALOGUE]);
        install(&[]);
        begin();
        assert!(is_on());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        look_at_runtime(&runtime.metrics());
        let _gathering = gather(|| CALLS.increment(2));
        WAIT.with(&["short"]).record(0.002);
        RECORDS.record(3.0);
        upkeep();
        let text = render().unwrap();
        for expected in [
            "# HELP rookery_test_calls Calls of this test\n# TYPE rookery_test_calls counter\nrookery_test_calls 2",
            "# TYPE rookery_test_wait_seconds histogram",
            "rookery_test_wait_seconds_bucket{kind=\"short\",le=\"0.0025\"} 1",
            "rookery_test_records_bucket{le=\"4\"} 1",
            "rookery_process_resident_memory_bytes ",
            "rookery_process_cpu_seconds ",
            "# TYPE rookery_process_cpu_seconds_total counter",
            "rookery_runtime_workers 1",
            "rookery_build_info{version=\"",
        ] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
        assert!(!text.contains("rookery_test_unused_total"), "{text}");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        for (name, at_least, at_most) in [
            ("rookery_process_open_files ", 3.0, 1e6),
            ("rookery_process_open_files_max ", 3.0, f64::INFINITY),
            ("rookery_process_threads ", 2.0, 1e4),
            ("rookery_process_start_time_seconds ", now - 3_600.0, now + 1.0),
        ] {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            let value: f64 = value.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap();
            assert!((at_least..=at_most).contains(&value), "{name}{value}");
        }
    }
}
