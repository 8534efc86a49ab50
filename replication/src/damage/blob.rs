//! Which blob file has a key's damaged record: RocksDB's error does not name it. Only reads.
//!
//! Walks the records of RocksDB's blob files by their headers, as `db/blob/blob_log_format.h` describes them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes before the first record.
const FILE_HEADER: u64 = 30;

/// Bytes after the last record.
const FILE_FOOTER: u64 = 32;

/// First bytes of a file, and of its end.
const MAGIC: [u8; 4] = 2_395_959_u32.to_le_bytes();

/// Bytes before a record's key: length of the key, of the value, expiration, checksum of these, checksum of key and value.
const RECORD_HEADER: usize = 32;

/// A key longer than this is none of ours.
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// How long the search may take: who reads waits for it.
const SEARCH_MAX: Duration = Duration::from_secs(2);

/// What a file shows.
#[derive(PartialEq, Eq)]
enum Found {
    /// A record that is damaged, and its key as it is read.
    Record(Vec<u8>),
    /// Damage of another kind, or an end that is missing.
    Malformed,
    /// Nothing of either kind.
    Nothing,
}

/// The file in which a key's record is damaged, or any record when no key is given, and that record's key; or else one that
/// is not what it should be. `None` when the search finds none in its time.
pub(super) fn damaged_blob(folder: &Path, key: Option<&[u8]>) -> Option<(PathBuf, Option<Vec<u8>>)> {
    let began = Instant::now();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "blob"))
        .collect();
    // Names are numbers with leading zeros. The newest may be in the making, without an end: it is looked at last.
    files.sort_unstable();
    let mut malformed = None;
    for path in files {
        match look(&path, key, began) {
            Ok(Found::Record(key)) => return Some((path, Some(key))),
            Ok(Found::Nothing) => {}
            Ok(Found::Malformed) | Err(_) => {
                malformed.get_or_insert((path, None));
            }
        }
    }
    malformed
}

fn look(path: &Path, key: Option<&[u8]>, began: Instant) -> io::Result<Found> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0)?;
    if magic != MAGIC {
        return Ok(Found::Malformed);
    }
    let end = len.saturating_sub(FILE_FOOTER);
    let mut at = FILE_HEADER;
    while at < end {
        if began.elapsed() >= SEARCH_MAX {
            return Ok(Found::Nothing);
        }
        let mut header = [0; RECORD_HEADER];
        file.read_exact_at(&mut header, at)?;
        let (key_len, value_len) = (long(&header[..8]), long(&header[8..16]));
        let sum = masked(crc32c::crc32c(&header[..24]));
        if sum != word(&header[24..28]) || key_len > KEY_BYTES_MAX || value_len > len {
            return Ok(Found::Malformed);
        }
        let mut found = vec![0; key_len as usize];
        file.read_exact_at(&mut found, at + RECORD_HEADER as u64)?;
        let value_at = at + RECORD_HEADER as u64 + key_len;
        // Of a damaged key most is still this one.
        if key.is_none_or(|key| is_nearly(&found, key)) {
            let mut value = vec![0; value_len as usize];
            file.read_exact_at(&mut value, value_at)?;
            let sum = crc32c::crc32c_append(crc32c::crc32c(&found), &value);
            if masked(sum) != word(&header[28..]) {
                return Ok(Found::Record(found));
            }
        }
        at = value_at + value_len;
    }
    let mut footer = [0; FILE_FOOTER as usize];
    file.read_exact_at(&mut footer, end)?;
    let (fields, sum) = footer.split_at(footer.len() - 4);
    let is_whole = at == end && footer.starts_with(&MAGIC) && masked(crc32c::crc32c(fields)) == word(sum);
    Ok(if is_whole {
        Found::Nothing
    } else {
        Found::Malformed
    })
}

fn is_nearly(found: &[u8], key: &[u8]) -> bool {
    let others = found.iter().zip(key).filter(|(one, other)| one != other).count();
    found.len() == key.len() && others <= 1
}

/// RocksDB's checksums are masked, since they are of bytes that may hold checksums.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn long(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}
