//! A cluster that grows while it runs.

use anyhow::{Context, Result, bail};

use crate::cluster::{Cluster, Manifest, run_program};

impl Cluster {
    /// Adds mailstores with `playground grow`; their ids. They are in the manifest from then on.
    pub fn grow(&mut self, mailstores: u32) -> Result<Vec<String>> {
        let data = self.data();
        let folder = data.to_str().context("the folder's name is not UTF-8")?;
        let count = mailstores.to_string();
        let output = run_program(&["playground", "grow", "--data", folder, "--mailstores", &count])?;
        if !output.status.success() {
            bail!(
                "the playground does not grow: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let text = std::fs::read_to_string(data.join("cluster.json"))?;
        let written: Manifest = serde_json::from_str(&text)?;
        let mut added = Vec::new();
        for node in written.nodes {
            if self.manifest.nodes.iter().all(|held| held.id != node.id) {
                added.push(node.id.clone());
                self.manifest.nodes.push(node);
            }
        }
        Ok(added)
    }
}
