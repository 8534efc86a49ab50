//! Logs to standard error, as text for people or JSON for programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

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

/// The consensus library tells each step of each group; what matters of it is told by the roles.
fn with_quiet(level: &str) -> String {
    match level.contains("openraft") {
        true => level.to_owned(),
        false => format!("{level},openraft=error"),
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

/// Begins to log. A second call in one process changes nothing.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let filter = config.filter()?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // An error means that something logs already: in tests, or a second node in the process.
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_call_changes_nothing_and_a_wrong_level_is_named() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let config = LogConfig {
                format,
                ..LogConfig::default()
            };
            assert_eq!(init(&config), Ok(()));
        }
        let wrong = LogConfig {
            level: "rookery=loudest".to_owned(),
            ..LogConfig::default()
        };
        assert!(init(&wrong).unwrap_err().contains("rookery=loudest"));
    }
}
