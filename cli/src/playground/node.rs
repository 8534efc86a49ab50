//! One node's process: start, wait until it says that it is ready, stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a node may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);

/// What is needed to start a node.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Node id, such as `mailstore-1`.
    pub(super) id: String,
    /// Role as in the command line: `directory`, `mailstore`, `proxy` or `serve`.
    pub(super) role: &'static str,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its configuration file.
    pub(super) config: PathBuf,
    /// The program.
    pub(super) program: PathBuf,
}

/// A node's process.
pub(super) struct Node {
    pub(super) plan: Plan,
    child: Child,
    endpoints: BTreeMap<String, String>,
}

impl Plan {
    /// The command that starts the node again after it was killed.
    pub(super) fn restart(&self) -> Vec<String> {
        let path = |path: &PathBuf| path.display().to_string();
        vec![
            path(&self.program),
            self.role.to_owned(),
            "--config".to_owned(),
            path(&self.config),
        ]
    }
}

impl Node {
    /// Starts the process and waits until it is ready.
    pub(super) async fn start(plan: Plan) -> anyhow::Result<Self> {
        let mut node = Self::spawn(plan)?;
        node.ready().await?;
        Ok(node)
    }

    /// Starts the process. Its log goes to `log` in its folder.
    pub(super) fn spawn(plan: Plan) -> anyhow::Result<Self> {
        let log_path = plan.folder.join("log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .with_context(|| format!("cannot write {}", log_path.display()))?;
        let child = Command::new(&plan.program)
            .arg(plan.role)
            .arg("--config")
            .arg(&plan.config)
            // So that kill -9 of the playground ends its nodes too. One that is started again by hand has no owner.
            .args(["--owner", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", plan.program.display()))?;
        Ok(Self {
            plan,
            child,
            endpoints: BTreeMap::new(),
        })
    }

    /// Waits for the line with which a role says that it serves: JSON of its endpoints.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let failed = || {
            anyhow!(
                "{} did not start: see {}",
                self.plan.id,
                self.plan.folder.join("log").display()
            )
        };
        let output = self.child.stdout.take().ok_or_else(failed)?;
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line).await?;
        if read == 0 {
            return Err(failed());
        }
        self.endpoints = serde_json::from_str(&line)
            .with_context(|| format!("{} did not print its endpoints but {line:?}", self.plan.id))?;
        Ok(())
    }

    /// The process's id.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where it listens, by name.
    pub(super) fn endpoints(&self) -> &BTreeMap<String, String> {
        &self.endpoints
    }

    /// One of its endpoints.
    pub(super) fn endpoint(&self, name: &str) -> anyhow::Result<&str> {
        self.endpoints
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| anyhow!("{} has no endpoint {name}", self.plan.id))
    }

    /// Asks the process to stop, kills it when it does not, and does the same to one that was started in its place.
    pub(super) async fn stop(&mut self) {
        if let Some(pid) = self.child.id() {
            super::stop::terminate(pid);
            if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
                tracing::warn!(node = %self.plan.id, "did not stop in time: killed");
                if let Err(error) = self.child.kill().await {
                    tracing::warn!(node = %self.plan.id, %error, "cannot kill");
                }
            }
        }
        super::stop::stop_successor(&self.plan).await;
    }
}
