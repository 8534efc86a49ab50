//! The format on disk, byte for byte, and what is done with a newer one.

use std::fmt::Write;

use bytes::Bytes;
use rookery_replication::log::{Log, LogError, LogOptions, Record, SegmentLog};

use super::{BLOCK, append, at, options, picture, segments};

const GOLDEN: &str = include_str!("format-1.hex");
const LOG: u64 = 0x0123_4567_89ab_cdef;

fn header(format: u32) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..8].copy_from_slice(b"RKRYSEGM");
    block[8..12].copy_from_slice(&format.to_le_bytes());
    block[16..24].copy_from_slice(&LOG.to_le_bytes());
    block[24] = 1;
    let crc = crc32c::crc32c(&block[..BLOCK - 4]);
    block[BLOCK - 4..].copy_from_slice(&crc.to_le_bytes());
    block
}

/// Rows of 32 bytes with their offsets, without those that are zero.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, row) in bytes.chunks(32).enumerate() {
        if row.iter().any(|byte| *byte != 0) {
            write!(text, "{:04x} ", number * 32).unwrap();
            row.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            text.push('\n');
        }
    }
    text
}

fn unhex(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for line in text.lines() {
        let (offset, row) = line.split_once(' ').unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        for at in 0..row.len() / 2 {
            bytes[offset + at] = u8::from_str_radix(&row[2 * at..2 * at + 2], 16).unwrap();
        }
    }
    bytes
}

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 4 * BLOCK as u64,
        ..options()
    }
}

fn records() -> Vec<Record> {
    vec![
        Record::Vote(Bytes::from_static(b"vote")),
        Record::Entry(at(2, 7), Bytes::from_static(b"first")),
        Record::Entry(at(2, 8), Bytes::from_static(b"second")),
        Record::Truncate(Some(7)),
        Record::Entry(at(3, 8), Bytes::new()),
        Record::Purge(at(2, 7)),
    ]
}

#[test]
fn the_format_is_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("0000000000000001.log");
    let mut begun = header(1);
    begun.resize(4 * BLOCK, 0);
    std::fs::write(&file, begun).unwrap();
    let log = SegmentLog::open(folder.path(), small()).unwrap();
    append(&*log, 0x55, records()).unwrap();
    log.close();
    let written = hex(&std::fs::read(&file).unwrap());
    assert_eq!(written, GOLDEN, "\n{written}");
}

#[test]
fn a_log_of_this_format_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("0000000000000001.log"),
        unhex(GOLDEN, 4 * BLOCK),
    )
    .unwrap();
    let log = SegmentLog::open(folder.path(), small()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let expected = SegmentLog::open(other.path(), small()).unwrap();
    append(&*expected, 0x55, records()).unwrap();
    assert_eq!(picture(&*log), picture(&*expected));
    assert_eq!(picture(&*log).len(), 1);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0000000000000001.log"), header(2)).unwrap();
    let error = SegmentLog::open(folder.path(), small()).map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Version {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("start the program that wrote it"),
        "{error}"
    );
    assert_eq!(segments(folder.path()).len(), 1);
}

#[test]
fn what_a_file_held_before_is_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = unhex(GOLDEN, 4 * BLOCK);
    // The last batch becomes one of a newer program in the segment that the file was before.
    let batch = 3 * BLOCK..3 * BLOCK + 64;
    bytes[batch.start + 8] = 2;
    for (segment, fits) in [(0, true), (1, false)] {
        bytes[batch.start + 24] = segment;
        let batch = &mut bytes[batch.clone()];
        let crc = crc32c::crc32c_append(crc32c::crc32c(&batch[..12]), &batch[16..]);
        batch[12..16].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(folder.path().join("0000000000000001.log"), &bytes).unwrap();
        let opened = SegmentLog::open(folder.path(), small());
        assert_eq!(opened.is_ok(), fits, "{:?}", opened.map(|_| ()));
    }
}
