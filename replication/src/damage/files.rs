//! Which file RocksDB means: its errors name files of rows, and few others. Only reads.

use std::path::{Path, PathBuf};

/// Names the current description of the files.
const CURRENT: &str = "CURRENT";

/// What names of descriptions begin with.
const MANIFEST: &str = "MANIFEST-";

/// The file that an error names, in the store's folder.
pub(super) fn named_file(folder: &Path, text: &str) -> Option<PathBuf> {
    // What RocksDB adds to an error of an opening, whatever it is.
    let text = match text.rfind(" The file ") {
        Some(at) if text.ends_with("may be corrupted.") && is_row_error(&text[..at]) => &text[..at],
        _ => text,
    };
    text.split(|char: char| char.is_whitespace() || "\"'(),;:".contains(char))
        .filter_map(|word| word.trim_end_matches('.').rsplit('/').next())
        .find(|name| is_file_name(name))
        .map(|name| folder.join(name))
}

/// Whether an error is one of a file of rows rather than of what describes the files.
fn is_row_error(text: &str) -> bool {
    text.contains(".sst") || text.contains("propert")
}

fn is_file_name(name: &str) -> bool {
    let is_number = |stem: &str| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
    match name.rsplit_once('.') {
        Some((stem, "sst" | "blob")) => is_number(stem),
        Some(_) => false,
        None => name == CURRENT || name.strip_prefix(MANIFEST).is_some_and(is_number),
    }
}

/// What describes the other files, when the store cannot be opened and nothing else is named: CURRENT when it does not name
/// a description that is there, the description otherwise.
pub(super) fn description(folder: &Path) -> PathBuf {
    let current = folder.join(CURRENT);
    std::fs::read_to_string(&current)
        .ok()
        .and_then(|name| {
            let name = name.strip_suffix('\n')?;
            let named = folder.join(name);
            (is_file_name(name) && name != CURRENT && named.is_file()).then_some(named)
        })
        .unwrap_or(current)
}

/// A file of the store that should be there when others are: without CURRENT, RocksDB would take the folder for a new one.
pub(super) fn missing(folder: &Path) -> Option<PathBuf> {
    let current = folder.join(CURRENT);
    if current.exists() {
        return None;
    }
    let others = std::fs::read_dir(folder)
        .ok()?
        .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_file_name)));
    others.then_some(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_what_rocksdb_says() {
        let folder = Path::new("/store");
        for (said, file) in [
            (
                "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4  in /srv/rows/000012.sst offset 0 size 5",
                Some("000012.sst"),
            ),
            (
                "IO error: No such file or directory: While open a file for random read: /srv/rows/000009.blob: No such file or directory",
                Some("000009.blob"),
            ),
            (
                "Corruption: Can't access /000007.sst: IO error",
                Some("000007.sst"),
            ),
            (
                "Corruption: bad record in MANIFEST-000004.",
                Some("MANIFEST-000004"),
            ),
            (
                "Corruption: CURRENT file does not end with newline",
                Some("CURRENT"),
            ),
            ("Corruption: Blob CRC mismatch", None),
            ("Corruption: something.sst", None),
        ] {
            assert_eq!(
                named_file(folder, said),
                file.map(|file| folder.join(file)),
                "{said}"
            );
        }
    }
}
