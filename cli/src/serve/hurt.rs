//! The folder of a damaged store: its mark, and how it is put aside so that the node's replicas can be made anew.
//!
//! The mark lies in the store's folder and goes with it. Never decides whether other nodes have what is put aside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rookery_process::data_folder::write_whole;

/// The store's folder within the data folder.
const STORE_FOLDER: &str = "store";

/// Where a damaged store is kept for the operator: the last one only.
const ASIDE_FOLDER: &str = "store.damaged";

/// In the store's folder: says that it is damaged, and why.
const MARK: &str = "DAMAGED";

/// When stores were put aside: a line of Unix seconds each.
const REBUILDS: &str = "rebuilds";

/// Rebuilds in [`REBUILDS_PERIOD`]: a node that is hurt more often has a bad disk, or bad memory.
const REBUILDS_MAX: usize = 3;

/// See [`REBUILDS_MAX`].
const REBUILDS_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// A node's store as a folder.
#[derive(Debug, Clone)]
pub(super) struct StoreFolder {
    data: PathBuf,
}

impl StoreFolder {
    /// Of the node with this data folder.
    pub(super) fn of(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
        }
    }

    /// Its path.
    pub(super) fn path(&self) -> PathBuf {
        self.data.join(STORE_FOLDER)
    }

    /// Why the store is marked as damaged.
    pub(super) fn mark(&self) -> Option<String> {
        match fs::read_to_string(self.path().join(MARK)) {
            Ok(why) => Some(why.trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("its mark cannot be read: {error}")),
        }
    }

    /// Marks the store as damaged, durably; the first mark stays.
    pub(super) fn set_mark(&self, why: &str) -> anyhow::Result<()> {
        if self.mark().is_none() {
            let path = self.path().join(MARK);
            write_whole(&path, &format!("{why}\n"))
                .with_context(|| format!("cannot mark the store as damaged in {}", path.display()))?;
        }
        Ok(())
    }

    /// Refuses when the node has been rebuilt too often of late.
    pub(super) fn check_rebuilds(&self) -> anyhow::Result<()> {
        let lately = self.rebuilds().len();
        if lately >= REBUILDS_MAX {
            bail!(
                "the store is damaged, and has been rebuilt {lately} times within a day already: check this machine's \
                 memory and disk; then remove {} and start the node again",
                self.data.join(REBUILDS).display()
            );
        }
        Ok(())
    }

    /// Puts the store aside, in place of one that was put aside before. The next start finds none. The node must not have it
    /// open.
    pub(super) fn set_aside(&self) -> anyhow::Result<PathBuf> {
        self.check_rebuilds()?;
        self.note_rebuild()?;
        let (path, aside) = (self.path(), self.data.join(ASIDE_FOLDER));
        let failed = |what: &'static str| {
            let aside = aside.display().to_string();
            move || format!("cannot {what} {aside}")
        };
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(failed("remove"));
            }
            _ => {}
        }
        fs::rename(&path, &aside).with_context(failed("put the damaged store aside in"))?;
        File::open(&self.data)?.sync_all()?;
        Ok(aside)
    }

    fn note_rebuild(&self) -> anyhow::Result<()> {
        let mut lines: String = self.rebuilds().iter().map(|at| format!("{at}\n")).collect();
        lines.push_str(&format!("{}\n", now()));
        write_whole(&self.data.join(REBUILDS), &lines).context("cannot note that the store is rebuilt")?;
        Ok(())
    }

    /// Rebuilds within the period.
    fn rebuilds(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.data.join(REBUILDS)).unwrap_or_default();
        let now = now();
        text.lines()
            .filter_map(|line| line.trim().parse().ok())
            .filter(|at| now.saturating_sub(*at) < REBUILDS_PERIOD.as_secs())
            .collect()
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_store_is_put_aside_a_bounded_number_of_times() {
        let data = tempfile::tempdir().unwrap();
        let store = StoreFolder::of(data.path());
        for round in 0..REBUILDS_MAX {
            fs::create_dir_all(store.path()).unwrap();
            fs::write(store.path().join("round"), round.to_string()).unwrap();
            assert_eq!(store.mark(), None);
            store.set_mark("000012.sst is damaged").unwrap();
            store.set_mark("another").unwrap();
            assert_eq!(store.mark().as_deref(), Some("000012.sst is damaged"));
            let aside = store.set_aside().unwrap();
            assert!(!store.path().exists());
            assert_eq!(
                fs::read_to_string(aside.join("round")).unwrap(),
                round.to_string()
            );
        }
        fs::create_dir_all(store.path()).unwrap();
        let refused = store.set_aside().unwrap_err().to_string();
        assert!(
            refused.contains("within a day") && refused.contains("rebuilds"),
            "{refused}"
        );
        assert!(store.path().exists());
        // A day later it is rebuilt again.
        let then = now() - REBUILDS_PERIOD.as_secs();
        fs::write(
            data.path().join(REBUILDS),
            format!("{then}\n").repeat(REBUILDS_MAX),
        )
        .unwrap();
        store.set_aside().unwrap();
    }
}
