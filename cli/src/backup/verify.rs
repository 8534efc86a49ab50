//! `backup verify`: reads everything back, with no cluster at hand.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use anyhow::{bail, ensure};
use serde_json::json;

use super::check::shard::HandOffKey;
use super::check::{Damages, directory, shard};
use super::manifest::{self, Manifest, PartKind};
use super::progress::Progress;
use crate::operate::output;

/// A backup that was read to its end.
pub(super) struct Verified {
    pub(super) manifest: Manifest,
    pub(super) damages: Damages,
    /// Hand-offs that wait, wherever they were found.
    pub(super) hand_offs: HashSet<HandOffKey>,
    pub(super) messages: u64,
}

pub(super) fn run(from: &Path, as_json: bool) -> anyhow::Result<()> {
    let verified = verify(from)?;
    let Verified {
        manifest, damages, ..
    } = &verified;
    if as_json {
        let damage: Vec<_> = damages
            .told
            .iter()
            .map(|damage| json!({ "file": damage.file, "what": damage.what }))
            .collect();
        output::json(&json!({
            "whole": damages.is_empty(), "damage": damage, "damages": damages.count(),
            "backup_id": manifest.backup_id, "cluster_id": manifest.cluster_id, "began": manifest.began,
            "accounts": manifest.accounts, "shards": manifest.shards.len(), "messages": verified.messages,
            "bytes": manifest.bytes(),
        }))?;
    } else {
        let mut out = std::io::stdout().lock();
        for damage in &damages.told {
            writeln!(out, "damaged: {damage}")?;
        }
        if damages.is_empty() {
            writeln!(
                out,
                "the backup is whole: {} accounts, {} messages, {} shards, {} bytes",
                manifest.accounts,
                verified.messages,
                manifest.shards.len(),
                manifest.bytes()
            )?;
        }
    }
    verified.refuse_damage(from)
}

impl Verified {
    /// An error that names the first damage.
    pub(super) fn refuse_damage(&self, from: &Path) -> anyhow::Result<()> {
        let Some(first) = self.damages.told.first() else {
            return Ok(());
        };
        bail!(
            "the backup in {} is damaged in {} places, first {first}: use another backup, or copy the file again",
            from.display(),
            self.damages.count()
        )
    }
}

/// Reads all of a backup.
pub(super) fn verify(from: &Path) -> anyhow::Result<Verified> {
    let manifest = manifest::read(from)?;
    let mut progress = Progress::new("verify", manifest.parts.len());
    let mut verified = Verified {
        damages: Damages::default(),
        hand_offs: HashSet::new(),
        messages: 0,
        manifest,
    };
    for part in &verified.manifest.parts {
        progress.next_part();
        let damages = match part.kind {
            PartKind::Directory => directory::check(from, part, &verified.manifest, &mut progress),
            PartKind::Shard | PartKind::HandOffs => {
                ensure!(
                    part.shard.is_some(),
                    "the backup's manifest has a part of no shard"
                );
                let (found, damages) = shard::check(from, part, &mut progress);
                verified.hand_offs.extend(found.hand_offs);
                verified.messages += found.messages;
                damages
            }
        };
        verified.damages.append(damages);
    }
    Ok(verified)
}
