//! A file layer that drops unsynced bytes at the crash: the record of syncs, and what is left of a folder after it.
//!
//! The record is kept by `shim/unsynced.c`. Legal outcomes of a power cut are many; this one is the harshest for files
//! that are only appended to, as RocksDB's are: bytes beyond the last synced length go, and so do names of files that no
//! synced folder held.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rookery_tests::peers;

/// Builds the shim; the library's path.
pub(super) fn build_shim(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/unsynced.c");
    let library = folder.join("unsynced.so");
    let mut command = Command::new(peers::find("gcc"));
    command
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl");
    peers::run(&mut command).unwrap();
    library
}

/// What is on the disk for certain.
#[derive(Default)]
pub(super) struct Disk {
    /// Synced length by inode.
    lengths: BTreeMap<u64, u64>,
    /// Synced entries by the folder's inode.
    entries: BTreeMap<u64, BTreeSet<(u64, String)>>,
}

/// What a crash took away.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Dropped {
    /// Bytes of files that stay.
    pub(super) bytes: u64,
    /// Whole files.
    pub(super) files: u64,
}

impl Disk {
    /// Everything that is in a folder now, taken as durable.
    pub(super) fn of(folder: &Path) -> Self {
        let mut disk = Self::default();
        disk.take_in(folder);
        disk
    }

    fn take_in(&mut self, folder: &Path) {
        let inode = std::fs::metadata(folder).unwrap().ino();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            self.entries.entry(inode).or_default().insert((about.ino(), name));
            if about.is_dir() {
                self.take_in(&entry.path());
            } else {
                self.lengths.insert(about.ino(), about.len());
            }
        }
    }

    /// Adds what a process's record says was synced. The last line may be cut off by the kill: its sync was not answered.
    pub(super) fn replay(&mut self, record: &Path) {
        let text = std::fs::read_to_string(record).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let mut words = line.split(' ');
            let kind = words.next().unwrap();
            let _device = words.next().unwrap();
            let inode: u64 = words.next().unwrap().parse().unwrap();
            match kind {
                "F" => {
                    self.lengths.insert(inode, words.next().unwrap().parse().unwrap());
                }
                "U" => {
                    self.lengths.remove(&inode);
                    for held in self.entries.values_mut() {
                        held.retain(|(entry, _)| *entry != inode);
                    }
                }
                "D" => {
                    let entry = |word: &str| {
                        let (inode, name) = word.split_once('/').unwrap();
                        (inode.parse().unwrap(), name.to_owned())
                    };
                    self.entries.insert(inode, words.map(entry).collect());
                }
                other => panic!("unknown line {other} in {}", record.display()),
            }
        }
    }

    /// Takes away from a folder whatever is not durable.
    pub(super) fn crash(&self, folder: &Path) -> Dropped {
        let mut dropped = Dropped::default();
        let inode = std::fs::metadata(folder).unwrap().ino();
        let none = BTreeSet::new();
        let synced = self.entries.get(&inode).unwrap_or(&none);
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, about) = (entry.path(), entry.metadata().unwrap());
            let name = entry.file_name().to_string_lossy().into_owned();
            if about.is_dir() {
                let inside = self.crash(&path);
                dropped.bytes += inside.bytes;
                dropped.files += inside.files;
                continue;
            }
            // A name that replaced another, or a synced file under a new name: rename leaves either, and this is one.
            let is_known = synced
                .iter()
                .any(|(inode, held)| *held == name || *inode == about.ino());
            let length = self
                .lengths
                .get(&about.ino())
                .copied()
                .unwrap_or(0)
                .min(about.len());
            // RocksDB's own log of events is nobody's data.
            let counts = !name.starts_with("LOG");
            if !is_known {
                std::fs::remove_file(&path).unwrap();
                dropped.files += u64::from(counts);
            } else if length < about.len() {
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(length).unwrap();
                dropped.bytes += if counts { about.len() - length } else { 0 };
            }
        }
        dropped
    }
}

#[test]
fn what_no_sync_covered_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("kept"), "0123456789").unwrap();
    let mut disk = Disk::of(folder.path());
    std::fs::write(at("kept"), "0123456789and more").unwrap();
    std::fs::write(at("new"), "nobody synced this name").unwrap();
    std::fs::write(at("half"), "synced, not").unwrap();
    std::fs::rename(at("half"), at("half-renamed")).unwrap();
    let inode = |name: &str| std::fs::metadata(at(name)).unwrap().ino();
    let record = folder.path().with_extension("record");
    let (root, kept, half) = (
        std::fs::metadata(folder.path()).unwrap().ino(),
        inode("kept"),
        inode("half-renamed"),
    );
    let lines = format!("F 1 {half} 6\nD 1 {root} {kept}/kept {half}/half\nF 1 {kept} 99999");
    std::fs::write(&record, lines).unwrap();
    disk.replay(&record);
    std::fs::remove_file(&record).unwrap();
    let dropped = disk.crash(folder.path());
    assert_eq!((dropped.bytes, dropped.files), (8 + 5, 1));
    assert_eq!(
        std::fs::read_to_string(at("kept")).unwrap(),
        "0123456789",
        "a line cut off does not count"
    );
    assert_eq!(std::fs::read_to_string(at("half-renamed")).unwrap(), "synced");
    assert!(!at("new").exists());
}
