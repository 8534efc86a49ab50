//! A file layer that drops unsynced bytes at the crash: the record of syncs, and what is left of a folder after it.
//!
//! The record is kept by `shim/unsynced.c`. Legal outcomes of a power cut are many; this one is the harshest for files
//! that are only appended to, or written at their end through descriptors that sync: bytes that neither a sync nor such
//! a write covered go, and so do names of files that no synced folder held. Bytes that were overwritten in place, without
//! a sync, within what had been synced before, stay as they were written last: no node does that.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What is certain of one file: bytes up to `length`, and pieces after it, by their offset.
#[derive(Debug, Default, Clone)]
struct Durable {
    length: u64,
    beyond: BTreeMap<u64, u64>,
}

impl Durable {
    fn up_to(length: u64) -> Self {
        Self {
            length,
            beyond: BTreeMap::new(),
        }
    }

    /// Adds what one write that syncs has made durable.
    fn wrote(&mut self, offset: u64, size: u64) {
        let held = self.beyond.entry(offset).or_default();
        *held = (*held).max(size);
        while let Some((&offset, &size)) = self.beyond.first_key_value() {
            if offset > self.length {
                break;
            }
            self.length = self.length.max(offset + size);
            self.beyond.pop_first();
        }
    }

    fn end(&self) -> u64 {
        let last = self.beyond.iter().map(|(offset, size)| offset + size).max();
        last.unwrap_or(0).max(self.length)
    }
}

/// What is on the disk for certain.
#[derive(Debug, Default)]
pub struct Disk {
    /// Durable bytes by inode.
    files: BTreeMap<u64, Durable>,
    /// Synced entries by the folder's inode.
    entries: BTreeMap<u64, BTreeSet<(u64, String)>>,
    /// What was overwritten by writes that are not known to be durable, by the file's inode, in the order of the writes.
    overwritten: BTreeMap<u64, Vec<Overwritten>>,
}

/// Bytes that a write has overwritten.
#[derive(Debug, Clone)]
struct Overwritten {
    offset: u64,
    size: u64,
    /// Where they are in the file of what was overwritten.
    place: u64,
    /// That file.
    kept: std::path::PathBuf,
}

/// What a crash took away.
#[derive(Debug, Default, Clone, Copy)]
pub struct Dropped {
    /// Bytes of files that stay.
    pub bytes: u64,
    /// Whole files.
    pub files: u64,
}

impl Disk {
    /// Everything that is in a folder now, taken as durable.
    pub fn of(folder: &Path) -> Result<Self> {
        let mut disk = Self::default();
        disk.take_in(folder)?;
        Ok(disk)
    }

    fn take_in(&mut self, folder: &Path) -> Result<()> {
        let inode = std::fs::metadata(folder)?.ino();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            self.entries.entry(inode).or_default().insert((about.ino(), name));
            if about.is_dir() {
                self.take_in(&entry.path())?;
            } else {
                self.files.insert(about.ino(), Durable::up_to(about.len()));
            }
        }
        Ok(())
    }

    /// Adds what a process's record says was synced. The last line may be cut off by the kill: its sync was not answered.
    pub fn replay(&mut self, record: &Path) -> Result<()> {
        let text = std::fs::read_to_string(record).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut kept = record.as_os_str().to_owned();
        kept.push(".undo");
        for line in whole.lines() {
            self.take_line(line, Path::new(&kept))
                .with_context(|| format!("{line:?} in {}", record.display()))?;
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str, kept: &Path) -> Result<()> {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let _device = words.next();
        let mut number = || -> Result<u64> { Ok(words.next().context("a word is missing")?.parse()?) };
        let inode = number()?;
        match kind {
            "F" => {
                let length = number()?;
                self.files.insert(inode, Durable::up_to(length));
            }
            "W" => {
                let (offset, size) = (number()?, number()?);
                self.files.entry(inode).or_default().wrote(offset, size);
                if let Some(overwritten) = self.overwritten.get_mut(&inode)
                    && overwritten.last().is_some_and(|last| last.offset == offset)
                {
                    overwritten.pop();
                }
            }
            "O" => {
                let overwritten = Overwritten {
                    offset: number()?,
                    size: number()?,
                    place: number()?,
                    kept: kept.to_owned(),
                };
                self.overwritten.entry(inode).or_default().push(overwritten);
            }
            "U" => {
                self.files.remove(&inode);
                self.overwritten.remove(&inode);
                for held in self.entries.values_mut() {
                    held.retain(|(entry, _)| *entry != inode);
                }
            }
            "D" => {
                let mut entries = BTreeSet::new();
                for word in words {
                    let (inode, name) = word.split_once('/').context("not an entry")?;
                    entries.insert((inode.parse()?, name.to_owned()));
                }
                self.entries.insert(inode, entries);
            }
            other => bail!("unknown kind {other}"),
        }
        Ok(())
    }

    /// Takes away from a folder whatever is not durable.
    pub fn crash(&self, folder: &Path) -> Result<Dropped> {
        let mut dropped = Dropped::default();
        let inode = std::fs::metadata(folder)?.ino();
        let none = BTreeSet::new();
        let synced = self.entries.get(&inode).unwrap_or(&none);
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let (path, about) = (entry.path(), entry.metadata()?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if about.is_dir() {
                let inside = self.crash(&path)?;
                dropped.bytes += inside.bytes;
                dropped.files += inside.files;
                continue;
            }
            // A name that replaced another, or a synced file under a new name: rename leaves either, and this is one.
            let is_known = synced
                .iter()
                .any(|(inode, held)| *held == name || *inode == about.ino());
            // RocksDB's own log of events is nobody's data.
            let counts = !name.starts_with("LOG");
            if is_known {
                dropped.bytes += self.take_back(&path, about.ino())?;
                let durable = self.files.get(&about.ino()).cloned().unwrap_or_default();
                let bytes = cut(&path, about.len(), &durable)?;
                dropped.bytes += if counts { bytes } else { 0 };
            } else {
                std::fs::remove_file(&path)?;
                dropped.files += u64::from(counts);
            }
        }
        Ok(dropped)
    }
}

impl Disk {
    /// Puts back what writes have overwritten that are not durable, the last first; how many bytes.
    fn take_back(&self, path: &Path, inode: u64) -> Result<u64> {
        let mut bytes = 0;
        for overwritten in self.overwritten.get(&inode).into_iter().flatten().rev() {
            let mut piece = vec![0; usize::try_from(overwritten.size)?];
            std::fs::File::open(&overwritten.kept)?.read_exact_at(&mut piece, overwritten.place)?;
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            file.write_all_at(&piece, overwritten.offset)?;
            bytes += overwritten.size;
        }
        Ok(bytes)
    }
}

/// Leaves of a file what is durable; the bytes that went.
fn cut(path: &Path, length: u64, durable: &Durable) -> Result<u64> {
    if durable.length >= length {
        return Ok(0);
    }
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut pieces = Vec::new();
    for (&offset, &size) in &durable.beyond {
        let end = (offset + size).min(length);
        if offset < end {
            let mut piece = vec![0; usize::try_from(end - offset)?];
            file.read_exact_at(&mut piece, offset)?;
            pieces.push((offset, piece));
        }
    }
    let kept: u64 = pieces.iter().map(|(_, piece)| piece.len() as u64).sum();
    file.set_len(durable.length)?;
    // What lies between durable pieces reads as zeros.
    file.set_len(durable.end().min(length))?;
    for (offset, piece) in pieces {
        file.write_all_at(&piece, offset)?;
    }
    Ok(length - durable.length - kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_write_overwrote_that_was_not_durable_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (file, record) = (folder.path().join("log"), folder.path().with_extension("record"));
        std::fs::write(&file, "0123456789").unwrap();
        let mut disk = Disk::of(folder.path()).unwrap();
        let inode = std::fs::metadata(&file).unwrap().ino();
        std::fs::write(&file, "abcdefghij").unwrap();
        let undo = folder.path().with_extension("record.undo");
        std::fs::write(&undo, "01235656").unwrap();
        // The first was completed, the other two, of the same place, were not.
        let lines = format!("O 1 {inode} 0 4 0\nW 1 {inode} 0 4\nO 1 {inode} 5 2 4\nO 1 {inode} 5 2 6\n");
        std::fs::write(&record, lines).unwrap();
        disk.replay(&record).unwrap();
        let dropped = disk.crash(folder.path()).unwrap();
        assert_eq!(dropped.bytes, 4);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "abcde56hij");
        for file in [record, undo] {
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn what_no_sync_covered_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("kept"), "0123456789").unwrap();
        let mut disk = Disk::of(folder.path()).unwrap();
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
        disk.replay(&record).unwrap();
        std::fs::remove_file(&record).unwrap();
        let dropped = disk.crash(folder.path()).unwrap();
        assert_eq!((dropped.bytes, dropped.files), (8 + 5, 1));
        assert_eq!(
            std::fs::read_to_string(at("kept")).unwrap(),
            "0123456789",
            "a line cut off does not count"
        );
        assert_eq!(std::fs::read_to_string(at("half-renamed")).unwrap(), "synced");
        assert!(!at("new").exists());
    }

    #[test]
    fn writes_that_sync_stay_and_what_lies_between_them_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "").unwrap();
        let mut disk = Disk::of(folder.path()).unwrap();
        std::fs::write(&path, "first|unsynced|third|tail").unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        for line in [format!("W 1 {inode} 15 6"), format!("W 1 {inode} 0 6")] {
            disk.take_line(&line, Path::new("none")).unwrap();
        }
        let dropped = disk.crash(folder.path()).unwrap();
        assert_eq!(dropped.bytes, 9 + 4);
        assert_eq!(
            std::fs::read(&path).unwrap(),
            b"first|\0\0\0\0\0\0\0\0\0third|",
            "the gap reads as zeros"
        );
        // The write between completes: the whole is one piece.
        disk.take_line(&format!("W 1 {inode} 6 9"), Path::new("none"))
            .unwrap();
        assert_eq!(disk.files[&inode].length, 21);
    }
}
