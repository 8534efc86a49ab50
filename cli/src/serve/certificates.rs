//! The node's certificate for calls between nodes: read at the start, and again whenever a file of it changes.
//!
//! Whoever renews certificates may put a new one in place at any time, or a CA file with the CA that comes next beside the one of now.
//! What cannot be used is told, and what works stays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rookery_process::telemetry;
use rookery_proto::remote::NodeTls;
use tokio_util::sync::CancellationToken;

use super::config::Config;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files of a node's certificate.
pub(super) struct NodeFiles {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    /// What is used of them.
    used: Option<Content>,
}

/// What was in them.
#[derive(PartialEq, Eq)]
struct Content {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl NodeFiles {
    /// As configured.
    pub(super) fn of(config: &Config) -> Self {
        let node = &config.node;
        Self {
            ca: node.ca.clone(),
            certificate: node.certificate.clone(),
            key: node.key.clone(),
            used: None,
        }
    }

    /// The certificate of this cluster, node and role, or nobody would take its calls.
    pub(super) fn load(&mut self, config: &Config) -> anyhow::Result<NodeTls> {
        let node = &config.node;
        let read = self.read()?;
        let tls = NodeTls::from_pem(&read.ca, &read.certificate, &read.key)
            .with_context(|| format!("cannot use the node's certificate {}", node.certificate.display()))?;
        let (peer, role) = (tls.peer(), config.role());
        if tls.cluster() != node.cluster || peer.node != node.id || peer.role != role {
            bail!(
                "{} is of the {} {} of cluster {}, not of the {} {} of cluster {}: remove rookery.toml and issue one with \
                 `rookery init`",
                node.certificate.display(),
                peer.role.as_str(),
                peer.node,
                tls.cluster(),
                role.as_str(),
                node.id,
                node.cluster
            );
        }
        tell_end(&tls);
        self.used = Some(read);
        Ok(tls)
    }

    /// Reads the files again and again, and has new connections made with what they hold, until cancelled.
    pub(super) async fn follow(mut self, tls: NodeTls, cancel: CancellationToken) {
        let mut refused: Option<(Content, bool)> = None;
        while cancel
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            let Ok(now) = self.read() else { continue };
            if self.used.as_ref() == Some(&now) {
                refused = None;
                continue;
            }
            match tls.replace(&now.ca, &now.certificate, &now.key) {
                Ok(()) => {
                    tell_end(&tls);
                    tracing::info!(certificate = %self.certificate.display(), "the node's certificate was read again");
                    (self.used, refused) = (Some(now), None);
                }
                // Told at the second look: files that are being replaced one after the other do not go together for a moment.
                Err(error) if refused.as_ref().is_some_and(|(held, _)| *held == now) => {
                    let is_told = refused.replace((now, true)).is_some_and(|(_, is_told)| is_told);
                    if !is_told {
                        tracing::error!(
                            error = format!("{:#}", anyhow::Error::from(error)),
                            certificate = %self.certificate.display(),
                            "the node's new certificate cannot be used; the old one stays"
                        );
                    }
                }
                Err(_) => refused = Some((now, false)),
            }
        }
    }

    fn read(&self) -> anyhow::Result<Content> {
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Content {
            ca: read(&self.ca)?,
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }
}

fn tell_end(tls: &NodeTls) {
    telemetry::certificate_ends("node", tls.expires_at());
}
