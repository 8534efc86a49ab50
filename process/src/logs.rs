//! Logs to standard error, as text for people or JSON for programs, and where spans of traces go from.

mod line;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::traces::{self, Exporting, TARGET, TracesConfig};

/// The `[log]` section.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// What is logged: a level, or directives such as `info,rookery_proxy=debug`.
    pub level: String,
    /// The form of its lines: for people, or one JSON object a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// The consensus library tells each step of each group; what matters of it is told by the roles. Spans of traces are made whatever is
/// logged.
fn with_quiet(level: &str) -> String {
    let spans = format!("{level},{TARGET}=info");
    match level.contains("openraft") {
        true => spans,
        false => format!("{spans},openraft=error"),
    }
}

impl LogConfig {
    /// Whether the level is one; says why not.
    pub fn check(&self) -> Result<(), String> {
        self.filter().map(|_| ())
    }

    fn filter(&self) -> Result<EnvFilter, String> {
        EnvFilter::try_new(with_quiet(&self.level)).map_err(|error| {
            format!(
                "log.level {:?} is not a level such as \"info\": {error}",
                self.level
            )
        })
    }
}

/// Begins to log, and gives what exports traces where there are to be some. A second call in one process changes nothing.
pub fn init(
    config: &LogConfig,
    traces: &TracesConfig,
    node: &str,
    cluster: &str,
) -> Result<Option<Exporting>, String> {
    let filter = config.filter()?;
    let (tracer, exporting) = traces::prepare(traces, node, cluster)
        .map_err(|error| error.to_string())?
        .unzip();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    // An error means that something logs already: in tests, or a second node in the process.
    let _ = match config.format {
        LogFormat::Text => {
            let lines = lines.event_format(line::Text::new());
            registry.with(lines).with(tracer.map(traces::layer)).try_init()
        }
        LogFormat::Json => {
            let lines = lines
                .fmt_fields(JsonFields::new())
                .event_format(line::Object::new());
            registry.with(lines).with(tracer.map(traces::layer)).try_init()
        }
    };
    Ok(exporting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(config: &LogConfig) -> Result<Option<Exporting>, String> {
        super::init(config, &TracesConfig::default(), "proxy-1", "c")
    }

    #[test]
    fn a_second_call_changes_nothing_and_a_wrong_level_is_named() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let config = LogConfig {
                format,
                ..LogConfig::default()
            };
            assert!(matches!(init(&config), Ok(None)));
        }
        let wrong = LogConfig {
            level: "rookery=loudest".to_owned(),
            ..LogConfig::default()
        };
        assert!(init(&wrong).err().unwrap().contains("rookery=loudest"));
    }
}
