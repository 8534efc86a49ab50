//! Whether the store's disk has room left for new mail.
//!
//! A write that fails for want of space ends the process, and a store on a full disk does not open again. So what makes
//! the store grow is refused some way before that; what makes it shrink goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::catalogue::DISK_FREE_BYTES;

/// How long a look at the disk is good for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Tells the bytes that are free for this process, or nothing when that cannot be told.
pub type FreeSpace = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// A disk, in bytes; zeros when it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// In all.
    pub total: u64,
    /// Free for this process.
    pub free: u64,
}

/// The disk that a folder is on; nothing when that cannot be told. May block for as long as it takes to look.
pub fn disk_of(folder: &Path) -> Option<Disk> {
    match rustix::fs::statvfs(folder) {
        Ok(seen) => Some(Disk {
            total: seen.f_blocks.saturating_mul(seen.f_frsize),
            free: seen.f_bavail.saturating_mul(seen.f_frsize),
        }),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "cannot tell how full the disk is");
            None
        }
    }
}

/// Watches the free space of one disk, for all shards of a node.
pub struct DiskSpace {
    free: FreeSpace,
    free_bytes_min: u64,
    look_interval: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    nearly_full: bool,
}

impl DiskSpace {
    /// The disk that a folder is on is nearly full with less than `free_bytes_min` free.
    pub fn of_folder(folder: PathBuf, free_bytes_min: u64) -> Self {
        let free = move || disk_of(&folder).map(|disk| disk.free);
        Self::new(Arc::new(free), free_bytes_min, LOOK_INTERVAL)
    }

    /// The same with another way to tell the free space, and to look at it; for tests.
    pub fn new(free: FreeSpace, free_bytes_min: u64, look_interval: Duration) -> Self {
        Self {
            free,
            free_bytes_min,
            look_interval,
            seen: Mutex::default(),
        }
    }

    /// Whether nothing new is to be stored. Looks at the disk at most once a second, and may block as long as that takes.
    pub fn is_nearly_full(&self) -> bool {
        self.nearly_full_at(Instant::now())
    }

    /// The same as it was seen last, if that was lately.
    pub fn was_nearly_full(&self) -> Option<bool> {
        let seen = self.seen.lock();
        let is_fresh = seen.at.is_some_and(|at| at.elapsed() < self.look_interval);
        is_fresh.then_some(seen.nearly_full)
    }

    fn nearly_full_at(&self, now: Instant) -> bool {
        let mut seen = self.seen.lock();
        if seen
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < self.look_interval)
        {
            return seen.nearly_full;
        }
        seen.at = Some(now);
        let Some(free_bytes) = (self.free)() else {
            return seen.nearly_full;
        };
        DISK_FREE_BYTES.set(free_bytes as f64);
        let nearly_full = free_bytes < self.free_bytes_min;
        if nearly_full != seen.nearly_full {
            seen.nearly_full = nearly_full;
            let free_bytes_min = self.free_bytes_min;
            if nearly_full {
                tracing::error!(
                    free_bytes,
                    free_bytes_min,
                    "the disk is nearly full: new mail is refused"
                );
            } else {
                tracing::info!(free_bytes, "the disk has room again: new mail is taken");
            }
        }
        nearly_full
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn looks_once_in_a_while_and_remembers() {
        let free = Arc::new(AtomicU64::new(100));
        let looked = Arc::new(AtomicU64::new(0));
        let probe = {
            let (free, looked) = (Arc::clone(&free), Arc::clone(&looked));
            move || {
                looked.fetch_add(1, Ordering::Relaxed);
                Some(free.load(Ordering::Relaxed)).filter(|free| *free != 0)
            }
        };
        let disk = DiskSpace::new(Arc::new(probe), 100, LOOK_INTERVAL);
        let start = Instant::now();
        assert!(!disk.nearly_full_at(start));
        free.store(99, Ordering::Relaxed);
        assert!(!disk.nearly_full_at(start + LOOK_INTERVAL / 2));
        assert!(disk.nearly_full_at(start + LOOK_INTERVAL));
        // What cannot be told is as it was.
        free.store(0, Ordering::Relaxed);
        assert!(disk.nearly_full_at(start + LOOK_INTERVAL * 2));
        free.store(100, Ordering::Relaxed);
        assert!(!disk.nearly_full_at(start + LOOK_INTERVAL * 3));
        assert_eq!(looked.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_folder_has_a_disk() {
        let folder = tempfile::tempdir().expect("tempdir");
        let at = folder.path().to_owned();
        let disk = disk_of(&at).expect("looks");
        assert!(disk.total >= disk.free && disk.free > 0);
        assert_eq!(disk_of(&at.join("missing")), None);
        assert!(!DiskSpace::of_folder(at.clone(), 1).is_nearly_full());
        assert!(DiskSpace::of_folder(at, u64::MAX).is_nearly_full());
    }
}
