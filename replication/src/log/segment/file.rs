//! Files of segments: how they are named, made, written, synced and read. Knows nothing of what is in them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::format::BLOCK;

/// How segments are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// Past the page cache into files that are filled with zeros beforehand: a sync writes data and nothing else. Where
    /// the file system refuses this, as [`Writing::Buffered`].
    Direct,
    /// Through the page cache into files that are filled with zeros beforehand.
    Buffered,
    /// Through the page cache into files that grow.
    Growing,
}

/// What names of segments end with.
const SEGMENT: &str = ".log";
/// What names of segments end with that nothing needs and that are used again.
const SPARE: &str = ".spare";
/// What names of files end with that are being made.
const UNFINISHED: &str = ".unfinished";

/// Bytes that are written at once when a file is filled with zeros.
const FILL_BYTES: usize = 1024 * 1024;

pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}{SEGMENT}"))
}

pub(super) fn spare_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}{SPARE}"))
}

/// The log's files in a folder.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Numbers of segments, ascending.
    pub(super) segments: Vec<u64>,
    pub(super) spares: Vec<PathBuf>,
    pub(super) unfinished: Vec<PathBuf>,
}

pub(super) fn list(folder: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let number = |name: &str| u64::from_str_radix(name, 16).ok();
        if let Some(number) = name.strip_suffix(SEGMENT).and_then(number) {
            files.segments.push(number);
        } else if name.ends_with(SPARE) {
            files.spares.push(path);
        } else if name.ends_with(UNFINISHED) {
            files.unfinished.push(path);
        }
    }
    files.segments.sort_unstable();
    Ok(files)
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A segment that is open.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    write: File,
    read: File,
    /// A write returns when it is durable.
    syncs_itself: bool,
}

impl SegmentFile {
    /// Opens a segment that is there.
    pub(super) fn open(folder: &Path, number: u64, writing: Writing) -> io::Result<Self> {
        let path = segment_path(folder, number);
        let (write, syncs_itself) = open_to_write(&path, writing)?;
        Ok(Self {
            number,
            read: File::open(&path)?,
            path,
            write,
            syncs_itself,
        })
    }

    /// Makes a segment that holds a header only, durable with its name. Takes a spare file if there is one.
    pub(super) fn create(
        folder: &Path,
        number: u64,
        header: &[u8; BLOCK],
        spare: Option<PathBuf>,
        bytes: u64,
        writing: Writing,
    ) -> io::Result<Self> {
        let made = match spare {
            Some(spare) => spare,
            None => {
                let path = folder.join(format!("{number:016x}{UNFINISHED}"));
                let file = File::create(&path)?;
                if writing != Writing::Growing {
                    fill(&file, bytes)?;
                }
                file.sync_all()?;
                path
            }
        };
        let mut buffer = Aligned::default();
        buffer.begin(BLOCK);
        buffer.bytes().extend_from_slice(header);
        let (file, syncs_itself) = open_to_write(&made, writing)?;
        write(&file, syncs_itself, buffer.written(), 0)?;
        let path = segment_path(folder, number);
        std::fs::rename(&made, &path)?;
        sync_folder(folder)?;
        Self::open(folder, number, writing)
    }

    /// Writes at an offset and waits until it is durable.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write(&self.write, self.syncs_itself, bytes, offset)
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.read.metadata()?.len())
    }
}

fn open_to_write(path: &Path, writing: Writing) -> io::Result<(File, bool)> {
    if writing == Writing::Direct {
        match OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
            .open(path)
        {
            Ok(file) => return Ok((file, true)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    Ok((OpenOptions::new().write(true).open(path)?, false))
}

fn write(file: &File, syncs_itself: bool, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    if syncs_itself {
        return Ok(());
    }
    file.sync_data()
}

/// Zeros that are written, not only reserved: else the first write of each block would change the file's extents, and
/// its sync would write those too.
fn fill(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let len = (bytes - offset).min(FILL_BYTES as u64);
        file.write_all_at(&zeros[..len as usize], offset)?;
        offset += len;
    }
    Ok(())
}

/// A buffer that begins where direct writes want it, used again and again.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    /// Empties it and makes room, so that filling it with up to `len` bytes does not move it.
    pub(super) fn begin(&mut self, len: usize) {
        self.bytes.clear();
        let capacity = len + BLOCK;
        if self.bytes.capacity() < capacity {
            self.bytes = Vec::with_capacity(capacity);
        }
        self.start = self.bytes.as_ptr().align_offset(BLOCK);
        self.bytes.resize(self.start, 0);
    }

    /// To append to.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where what is written begins within [`Self::bytes`].
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// What has been appended.
    pub(super) fn written_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// What has been appended.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Fills the last block with zeros.
    pub(super) fn pad(&mut self) {
        let len = (self.bytes.len() - self.start).next_multiple_of(BLOCK);
        self.bytes.resize(self.start + len, 0);
    }
}
