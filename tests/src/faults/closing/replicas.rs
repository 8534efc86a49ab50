//! The replicas of each shard hold the same rows, once all of them are there again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::stage::Stage;
use super::Closing;

/// How long replicas may take to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(90);

/// See the file.
pub(super) struct ReplicasEqual;

impl Closing for ReplicasEqual {
    fn name(&self) -> &'static str {
        "replicas are equal by digest"
    }

    fn check(&self, stage: &Stage) -> Result<Vec<String>> {
        let until = Instant::now() + CATCH_UP_MAX;
        loop {
            let output = stage.try_operate(&["--json", "shard", "verify"])?;
            let said: Value = serde_json::from_slice(&output.stdout)
                .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
            let replicas = stage.replicas();
            let (wrong, open) = read(&said, replicas)?;
            // What has not caught up yet may, what differs stays so.
            if !wrong.is_empty() || open.is_empty() || Instant::now() >= until {
                return Ok([wrong, open].concat());
            }
        }
    }
}

/// What differs, and what could not be compared.
fn read(said: &Value, replicas: usize) -> Result<(Vec<String>, Vec<String>)> {
    let (mut wrong, mut open) = (Vec::new(), Vec::new());
    let shards = said["shards"].as_array().context("no shards were compared")?;
    for shard in shards {
        let compared = shard["replicas"].as_array().map_or(0, Vec::len);
        match shard["verdict"].as_str() {
            Some("equal") if compared == replicas => {}
            Some("different") => wrong.push(format!("differing replicas: {shard}")),
            _ => open.push(format!("not compared: {shard}")),
        }
    }
    Ok((wrong, open))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shard_must_be_equal_in_all_its_replicas() {
        let shard = |verdict: &str, replicas: usize| json!({ "shards": [{ "verdict": verdict, "replicas": vec![json!({}); replicas] }] });
        let counts = |said: Value| {
            let (wrong, open) = read(&said, 3).unwrap();
            (wrong.len(), open.len())
        };
        assert_eq!(counts(shard("equal", 3)), (0, 0));
        assert_eq!(counts(shard("equal", 2)), (0, 1));
        assert_eq!(counts(shard("busy", 3)), (0, 1));
        assert_eq!(counts(shard("different", 3)), (1, 0));
        assert!(read(&json!({}), 3).is_err());
    }
}
