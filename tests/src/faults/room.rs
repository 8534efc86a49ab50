//! A small disk of a node's own, which can be filled up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::peers;

/// Size of the disk, in bytes. Its pages are memory, but only those in use.
const DISK_BYTES: u64 = 768 << 20;

/// The file that takes up the room.
const BALLAST: &str = "ballast";

/// A file system of its own over a node's folder; taken away when dropped.
#[derive(Debug)]
pub struct Room {
    mounted: PathBuf,
}

impl Room {
    /// Puts a file system over a folder, with what is in the folder. The node must not run.
    pub fn over(folder: &Path) -> Result<Self> {
        let aside = folder.with_extension("aside");
        fs::rename(folder, &aside)?;
        fs::create_dir(folder)?;
        let options = format!("size={DISK_BYTES},mode=700");
        let mut mount = Command::new(peers::find("mount"));
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder);
        peers::run(&mut mount).context("a small disk cannot be mounted: run as root")?;
        let room = Self {
            mounted: folder.to_owned(),
        };
        let mut copy = Command::new(peers::find("cp"));
        copy.arg("-a").arg(aside.join(".")).arg(folder);
        peers::run(&mut copy)?;
        fs::remove_dir_all(&aside)?;
        Ok(room)
    }

    /// Takes up all room but so many bytes.
    pub fn fill(&self, left: u64) -> Result<()> {
        let ballast = File::create(self.mounted.join(BALLAST))?;
        loop {
            let about = statvfs(&self.mounted)?;
            let free = about.f_bavail.saturating_mul(about.f_frsize);
            let bytes = free.saturating_sub(left);
            if bytes == 0 {
                return Ok(());
            }
            match fallocate(&ballast, FallocateFlags::empty(), 0, bytes) {
                // The node has taken some of it meanwhile.
                Err(rustix::io::Errno::NOSPC) => {}
                filled => return Ok(filled?),
            }
        }
    }

    /// Gives the room back.
    pub fn empty(&self) -> Result<()> {
        match fs::remove_file(self.mounted.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Lazily, since a node that is being stopped may still have files open; what fails is in the way of nobody.
        let _ = Command::new(peers::find("umount"))
            .arg("-l")
            .arg(&self.mounted)
            .output();
    }
}
