//! Files of rows: written in bounded pieces with their hashes, read back with every hash checked.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::BytesMut;
use rookery_proto::rows::{Row, RowColumn, RowDecoder, hex};

use super::manifest::FileEntry;

/// A file that has reached this size is followed by another.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How every file begins.
const MAGIC: &[u8] = b"rookery backup 1\n";

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Writes the files of one part.
pub(super) struct PartWriter {
    folder: PathBuf,
    name: String,
    file_bytes_max: u64,
    open: Option<OpenFile>,
    done: Vec<FileEntry>,
    scratch: BytesMut,
}

struct OpenFile {
    path: PathBuf,
    column: RowColumn,
    number: u32,
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    entry: FileEntry,
}

impl PartWriter {
    /// A part whose files are named so.
    pub(super) fn new(folder: &Path, name: String, file_bytes_max: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            name,
            file_bytes_max,
            open: None,
            done: Vec::new(),
            scratch: BytesMut::new(),
        }
    }

    /// Adds a row. Columns must come one after the other.
    pub(super) fn add(&mut self, row: &Row) -> anyhow::Result<()> {
        let number = match &self.open {
            Some(open) if open.column == row.column && open.entry.bytes < self.file_bytes_max => None,
            Some(open) if open.column == row.column => Some(open.number + 1),
            _ => Some(0),
        };
        if let Some(number) = number {
            self.close()?;
            self.open = Some(OpenFile::new(&self.folder, &self.name, row.column, number)?);
        }
        self.scratch.clear();
        row.encode_into(&mut self.scratch)?;
        if let Some(open) = &mut self.open {
            open.write(&self.scratch)?;
            open.entry.rows += 1;
        }
        Ok(())
    }

    fn close(&mut self) -> anyhow::Result<()> {
        if let Some(open) = self.open.take() {
            self.done.push(open.close()?);
        }
        Ok(())
    }

    /// Ends the last file and syncs it.
    pub(super) fn finish(mut self) -> anyhow::Result<Vec<FileEntry>> {
        self.close()?;
        Ok(self.done)
    }

    /// Removes what was written.
    pub(super) fn discard(self) -> anyhow::Result<()> {
        let written = self.open.map(|open| open.path);
        let done = self.done.iter().map(|entry| self.folder.join(&entry.name));
        for path in done.chain(written) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

impl OpenFile {
    fn new(folder: &Path, part: &str, column: RowColumn, number: u32) -> anyhow::Result<Self> {
        let name = format!("{part}.{}.{number:03}", column.name());
        let path = folder.join(&name);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut open = Self {
            path,
            column,
            number,
            file: BufWriter::with_capacity(READ_BYTES, file),
            hasher: blake3::Hasher::new(),
            entry: FileEntry {
                name,
                bytes: 0,
                rows: 0,
                blake3: String::new(),
            },
        };
        open.write(MAGIC)?;
        Ok(open)
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.hasher.update(bytes);
        self.entry.bytes += bytes.len() as u64;
        self.file.write_all(bytes).with_context(|| no_room(&self.path))
    }

    fn close(self) -> anyhow::Result<FileEntry> {
        let Self {
            path,
            file,
            hasher,
            mut entry,
            ..
        } = self;
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .with_context(|| no_room(&path))?;
        file.sync_all().with_context(|| no_room(&path))?;
        entry.blake3 = hasher.finalize().to_hex().to_string();
        Ok(entry)
    }
}

fn no_room(path: &Path) -> String {
    format!(
        "cannot write {}: make room there, or give another folder",
        path.display()
    )
}

/// A file that is not what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub(super) struct Damage {
    /// The file's name.
    pub(super) file: String,
    /// What is wrong, with the key when it is known.
    pub(super) what: String,
}

/// Reads rows of files in order, and each file to its end.
pub(super) struct RowReader {
    folder: PathBuf,
    files: std::vec::IntoIter<FileEntry>,
    open: Option<Reading>,
    /// The file that is being read, or was last.
    name: String,
    buffer: Vec<u8>,
}

struct Reading {
    entry: FileEntry,
    file: File,
    hasher: blake3::Hasher,
    decoder: RowDecoder,
    /// Bytes of [`MAGIC`] still to come.
    magic: &'static [u8],
    bytes: u64,
    rows: u64,
    last_key: Vec<u8>,
}

impl RowReader {
    /// The rows of one column of a part.
    pub(super) fn new(folder: &Path, files: &[FileEntry], column: RowColumn) -> Self {
        let marker = format!(".{}.", column.name());
        let files: Vec<FileEntry> = files
            .iter()
            .filter(|file| file.name.contains(&marker))
            .cloned()
            .collect();
        Self {
            folder: folder.to_owned(),
            files: files.into_iter(),
            open: None,
            name: String::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Damage of the file that is being read, or was last.
    pub(super) fn damage(&self, what: impl Into<String>) -> Damage {
        Damage {
            file: self.name.clone(),
            what: what.into(),
        }
    }

    /// The next row. After damage there is nothing more.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, Damage> {
        loop {
            if self.open.is_none() {
                let Some(entry) = self.files.next() else {
                    return Ok(None);
                };
                self.name.clone_from(&entry.name);
                self.open = Some(Reading::open(&self.folder, entry)?);
            }
            let Some(open) = &mut self.open else {
                return Ok(None);
            };
            let step = open.step(&mut self.buffer);
            match step {
                Ok(Step::Row(row)) => return Ok(Some(row)),
                Ok(Step::More) => {}
                Ok(Step::End) => self.open = None,
                Err(what) => {
                    let damage = self.damage(what);
                    self.open = None;
                    self.files = Vec::new().into_iter();
                    return Err(damage);
                }
            }
        }
    }
}

enum Step {
    Row(Row),
    More,
    End,
}

impl Reading {
    fn open(folder: &Path, entry: FileEntry) -> Result<Self, Damage> {
        let file = File::open(folder.join(&entry.name)).map_err(|error| Damage {
            file: entry.name.clone(),
            what: format!("cannot be read: {error}"),
        })?;
        Ok(Self {
            entry,
            file,
            hasher: blake3::Hasher::new(),
            decoder: RowDecoder::default(),
            magic: MAGIC,
            bytes: 0,
            rows: 0,
            last_key: Vec::new(),
        })
    }

    fn step(&mut self, buffer: &mut [u8]) -> Result<Step, String> {
        match self.decoder.next_row() {
            Ok(Some(row)) => {
                self.rows += 1;
                self.last_key.clear();
                self.last_key.extend_from_slice(&row.key);
                return Ok(Step::Row(row));
            }
            Ok(None) => {}
            Err(error) => {
                let at = self.decoder.taken() + MAGIC.len() as u64;
                let after = match self.last_key.as_slice() {
                    [] => String::new(),
                    key => format!(", after the row {}", hex(key)),
                };
                return Err(format!("damaged from byte {at} on{after}: {error}"));
            }
        }
        let read = self
            .file
            .read(buffer)
            .map_err(|error| format!("cannot be read: {error}"))?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return self.end().map(|()| Step::End);
        }
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        let magic = self.magic.len().min(piece.len());
        let (begin, rest) = piece.split_at(magic);
        let (expected, later) = self.magic.split_at(magic);
        if begin != expected {
            return Err("damaged: it does not begin as a file of a backup".to_owned());
        }
        self.magic = later;
        self.decoder.push(rest);
        Ok(Step::More)
    }

    fn end(&self) -> Result<(), String> {
        if self.bytes != self.entry.bytes {
            return Err(format!(
                "damaged: it has {} bytes instead of {}",
                self.bytes, self.entry.bytes
            ));
        }
        self.decoder.finish().map_err(|error| error.to_string())?;
        if self.rows != self.entry.rows || !self.magic.is_empty() {
            return Err(format!(
                "damaged: it has {} rows instead of {}",
                self.rows, self.entry.rows
            ));
        }
        if self.hasher.finalize().to_hex().as_str() != self.entry.blake3 {
            return Err("damaged: its hash is not the manifest's".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        (0..100u8)
            .map(|number| Row {
                column: RowColumn::ALL[usize::from(number / 40)],
                key: vec![number, 1].into(),
                value: vec![number; 300].into(),
            })
            .collect()
    }

    fn written(folder: &Path) -> Vec<FileEntry> {
        let mut part = PartWriter::new(folder, "shard-00001".to_owned(), 4_000);
        rows().iter().for_each(|row| part.add(row).unwrap());
        part.finish().unwrap()
    }

    fn read_all(folder: &Path, files: &[FileEntry]) -> Result<Vec<Row>, Damage> {
        let mut found = Vec::new();
        for column in RowColumn::ALL {
            let mut reader = RowReader::new(folder, files, column);
            while let Some(row) = reader.next_row()? {
                found.push(row);
            }
        }
        Ok(found)
    }

    #[test]
    fn rows_come_back_out_of_files_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let files = written(folder.path());
        assert!(files.len() > 6, "{files:?}");
        assert!(files.iter().all(|file| file.bytes < 4_400));
        assert_eq!(read_all(folder.path(), &files), Ok(rows()));
    }

    #[test]
    fn any_damaged_byte_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let files = written(folder.path());
        let path = folder.path().join(&files[1].name);
        let whole = std::fs::read(&path).unwrap();
        // The first line and the first row, then here and there.
        for position in (0..400).chain((400..whole.len()).step_by(97)) {
            let mut damaged = whole.clone();
            damaged[position] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            let damage = read_all(folder.path(), &files).unwrap_err();
            assert_eq!(damage.file, files[1].name, "byte {position}");
        }
        for cut in [0, 5, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read_all(folder.path(), &files).unwrap_err().file, files[1].name);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_all(folder.path(), &files).unwrap_err().file, files[1].name);
    }

    #[test]
    fn what_is_discarded_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = PartWriter::new(folder.path(), "p".to_owned(), 4_000);
        rows().iter().for_each(|row| part.add(row).unwrap());
        part.discard().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
