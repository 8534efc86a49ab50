//! Where a process listens, remembered in its data folder.
//!
//! With port 0 in the configuration the system chooses, and after a restart the same port is asked for first: whoever
//! knew the node's addresses finds it again.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rookery_process::data_folder::write_whole;

/// The process's endpoints by name.
pub(crate) struct Endpoints {
    path: PathBuf,
    before: BTreeMap<String, String>,
    now: BTreeMap<String, String>,
}

impl Endpoints {
    /// What is remembered in a data folder.
    pub(crate) fn load(folder: &Path) -> Self {
        let path = folder.join("endpoints.json");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // A file that cannot be read is as good as none: new ports are chosen.
        let before = serde_json::from_str(&text).unwrap_or_default();
        Self {
            path,
            before,
            now: BTreeMap::new(),
        }
    }

    /// The address to bind: as configured, or with port 0 the one of before if it is still free.
    pub(crate) fn wanted(&self, name: &str, configured: SocketAddr) -> SocketAddr {
        if configured.port() != 0 {
            return configured;
        }
        let before = self
            .before
            .get(name)
            .and_then(|held| held.parse::<SocketAddr>().ok());
        before
            .filter(|before| before.ip() == configured.ip() && std::net::TcpListener::bind(before).is_ok())
            .unwrap_or(configured)
    }

    /// Takes note of where something listens.
    pub(crate) fn bound(&mut self, name: &str, address: impl ToString) {
        self.now.insert(name.to_owned(), address.to_string());
    }

    /// Remembers all and says to whoever started the process that it serves: one line of JSON on standard output.
    pub(crate) fn announce(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string(&self.now)?;
        write_whole(&self.path, &text)?;
        let mut out = std::io::stdout().lock();
        // Nobody need be listening.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        Ok(())
    }
}
