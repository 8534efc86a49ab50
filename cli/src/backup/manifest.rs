//! `manifest.json`: what a backup consists of, with the hash of every file and, in its last line, its own.

use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The version that is written.
pub(super) const FORMAT: u32 = 1;

/// The manifest's name.
pub(super) const NAME: &str = "manifest.json";

/// The largest manifest that is read.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

const TAIL_BEGIN: &str = ",\n  \"blake3\": \"";
const TAIL_END: &str = "\"\n}\n";
const HASH_CHARS: usize = 64;

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// [`FORMAT`]
    pub(super) format: u32,
    /// The program that wrote it.
    pub(super) version: String,
    /// Random; names this backup.
    pub(super) backup_id: String,
    /// The cluster that it is of.
    pub(super) cluster_id: String,
    /// Unix seconds.
    pub(super) began: u64,
    /// Unix seconds.
    pub(super) ended: u64,
    /// The highest id that was given to an account.
    pub(super) last_account: u64,
    /// Accounts, without deleted ones.
    pub(super) accounts: u64,
    /// The shards of the cluster.
    pub(super) shards: Vec<u32>,
    /// What it consists of, in the order in which it was written.
    pub(super) parts: Vec<Part>,
}

/// What was read at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Of what.
    pub(super) kind: PartKind,
    /// Of which shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shard: Option<u32>,
    /// Unix seconds.
    pub(super) at: u64,
    /// Its files, in order.
    pub(super) files: Vec<FileEntry>,
}

/// What a part is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartKind {
    /// A shard's hand-offs, before any shard was read.
    HandOffs,
    /// All of a shard.
    Shard,
    /// Domains, addresses, aliases, accounts.
    Directory,
}

/// A file of rows of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    /// Within the backup's folder.
    pub(super) name: String,
    /// Its size.
    pub(super) bytes: u64,
    /// Number of rows.
    pub(super) rows: u64,
    /// Hash of all of it.
    pub(super) blake3: String,
}

impl Manifest {
    /// The text of the file.
    pub(super) fn to_text(&self) -> anyhow::Result<String> {
        let text = serde_json::to_string_pretty(self)?;
        let body = text.strip_suffix("\n}").context("the manifest has no fields")?;
        let hash = blake3::hash(body.as_bytes()).to_hex();
        Ok(format!("{body}{TAIL_BEGIN}{hash}{TAIL_END}"))
    }

    /// Reads a manifest and checks that it is whole.
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        let damaged = || "it is damaged: its hash does not fit".to_owned();
        let tail_bytes = TAIL_BEGIN.len() + HASH_CHARS + TAIL_END.len();
        let split = text.len().checked_sub(tail_bytes).ok_or_else(damaged)?;
        let (body, tail) = text.split_at_checked(split).ok_or_else(damaged)?;
        let hash = tail
            .strip_prefix(TAIL_BEGIN)
            .and_then(|rest| rest.strip_suffix(TAIL_END));
        if hash != Some(blake3::hash(body.as_bytes()).to_hex().as_str()) {
            return Err(damaged());
        }
        let whole = format!("{body}\n}}");
        let format: FormatOnly = serde_json::from_str(&whole).map_err(|error| error.to_string())?;
        if format.format != FORMAT {
            return Err(format!(
                "it has format {}, and this version reads {FORMAT}: use the version that wrote it",
                format.format
            ));
        }
        let manifest: Self = serde_json::from_str(&whole).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether the parts are those of a whole backup.
    fn check(&self) -> Result<(), String> {
        let of = |kind| self.parts.iter().filter(move |part| part.kind == kind);
        if of(PartKind::Directory).count() != 1 {
            return Err("it names no directory, or several".to_owned());
        }
        let mut found: Vec<u32> = of(PartKind::Shard).filter_map(|part| part.shard).collect();
        found.sort_unstable();
        let mut wanted = self.shards.clone();
        wanted.sort_unstable();
        if found != wanted {
            return Err("its parts are not those of its shards".to_owned());
        }
        let names = self.parts.iter().flat_map(|part| &part.files);
        for file in names {
            let is_plain = file
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
            if file.name.starts_with('.') || !is_plain {
                return Err(format!("{:?} is not the name of a file of a backup", file.name));
            }
        }
        Ok(())
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.parts
            .iter()
            .flat_map(|part| &part.files)
            .map(|file| file.bytes)
            .sum()
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Reads the manifest of a backup's folder.
pub(super) fn read(folder: &Path) -> anyhow::Result<Manifest> {
    let path = folder.join(NAME);
    let size = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "{} is not a whole backup: it has no {NAME}; it is another folder, or its making broke off",
                folder.display()
            );
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if size > BYTES_MAX {
        bail!("{} is damaged: it is too large for a manifest", path.display());
    }
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest = String::from_utf8(bytes)
        .map_err(|_| "it is damaged: it is not text".to_owned())
        .and_then(|text| Manifest::from_text(&text));
    manifest.map_err(|reason| anyhow::anyhow!("the backup cannot be used, because of {NAME}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn manifest() -> Manifest {
        let part = |kind, shard| Part {
            kind,
            shard,
            at: 5,
            files: vec![FileEntry {
                name: "a-1.rows.000".into(),
                bytes: 1,
                rows: 2,
                blake3: "00".into(),
            }],
        };
        Manifest {
            format: FORMAT,
            version: "1".into(),
            backup_id: "b".into(),
            cluster_id: "c".into(),
            began: 1,
            ended: 2,
            last_account: 3,
            accounts: 3,
            shards: vec![0, 1],
            parts: vec![
                part(PartKind::HandOffs, Some(1)),
                part(PartKind::Shard, Some(0)),
                part(PartKind::Shard, Some(1)),
                part(PartKind::Directory, None),
            ],
        }
    }

    #[test]
    fn is_read_as_it_was_written_and_is_plain_json() {
        let text = manifest().to_text().unwrap();
        assert_eq!(Manifest::from_text(&text), Ok(manifest()));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["parts"][1]["kind"], "shard");
        assert_eq!(value["blake3"].as_str().unwrap().len(), HASH_CHARS);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found() {
        let text = manifest().to_text().unwrap();
        for position in 0..text.len() {
            assert!(Manifest::from_text(&text[..position]).is_err());
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                if let Ok(damaged) = String::from_utf8(bytes) {
                    assert!(Manifest::from_text(&damaged).is_err(), "{position} {bit}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_whole_backup_is_refused() {
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            Manifest::from_text(&manifest.to_text().unwrap()).unwrap_err()
        };
        assert!(refused(|manifest| manifest.format = 2).contains("format 2"));
        assert!(refused(|manifest| drop(manifest.parts.pop())).contains("directory"));
        assert!(refused(|manifest| manifest.shards.push(2)).contains("shards"));
        let bad_name = |manifest: &mut Manifest| manifest.parts[0].files[0].name = "../x".into();
        assert!(refused(bad_name).contains("../x"));
    }
}
