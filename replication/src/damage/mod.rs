//! Damage that reads and writes of the store have met: which file, told once a place, counted, and passed on to whoever has
//! the node rebuilt or restarted. Never repairs anything.

mod blob;
mod files;
#[cfg(test)]
mod tests;
mod wal;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rocksdb::ErrorKind;
use tokio::sync::watch;

use crate::batch::Column;
use crate::catalogue::DAMAGES;
use crate::view::Damage;

/// Says what a key names, for people.
pub type DescribeKey = fn(Column, &[u8]) -> String;

/// Places that are remembered: those beyond are told again each time.
const PLACES_MAX: usize = 10_000;

/// What operators are told beside what is damaged.
pub(crate) const ADVICE: &str = "nothing of it is served. Check the disk. A node whose replicas have others is rebuilt \
                                 from them by itself; what has only this copy comes from a backup (docs/reliability.md)";

/// What has been met so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    /// The first damage.
    pub first: Option<Damage>,
    /// Damage after which the store takes no more writes until it is opened anew.
    pub stopped: Option<Damage>,
}

/// The damage of one store.
pub struct Damages {
    folder: PathBuf,
    describe: DescribeKey,
    /// What was found at a place.
    places: Mutex<HashMap<String, Damage>>,
    met: watch::Sender<Met>,
}

impl Damages {
    pub(crate) fn new(folder: &Path, describe: DescribeKey) -> Self {
        Self {
            folder: folder.to_owned(),
            describe,
            places: Mutex::default(),
            met: watch::Sender::default(),
        }
    }

    /// What has been met, and what will be.
    pub fn watch(&self) -> watch::Receiver<Met> {
        self.met.subscribe()
    }

    /// The damage behind an error of a read, when it is one.
    pub(crate) fn of_read(
        &self,
        error: &rocksdb::Error,
        column: Option<Column>,
        key: &[u8],
    ) -> Option<Damage> {
        let reason = damage_reason(error)?;
        let place = self.place(column, key);
        if let Some(known) = self.places.lock().get(&place) {
            return Some(known.clone());
        }
        let file = files::named_file(&self.folder, &reason).or_else(|| {
            let may_be_blob = column == Some(Column::Bodies);
            let found = may_be_blob.then(|| blob::damaged_blob(&self.folder, Some(key)));
            Some(found??.0)
        });
        Some(self.met(Damage { file, place, reason }))
    }

    /// The damage behind an error of a scan, when it is one: of what follows a key.
    pub(crate) fn of_scan(
        &self,
        error: &rocksdb::Error,
        column: Option<Column>,
        last: &[u8],
    ) -> Option<Damage> {
        let reason = damage_reason(error)?;
        let mut place = format!("what follows {}", self.place(column, last));
        if let Some(known) = self.places.lock().get(&place) {
            return Some(known.clone());
        }
        let mut file = files::named_file(&self.folder, &reason);
        if file.is_none()
            && column == Some(Column::Bodies)
            && let Some((blob, key)) = blob::damaged_blob(&self.folder, None)
        {
            file = Some(blob);
            if let Some(key) = key {
                place = self.place(column, &key);
            }
        }
        Some(self.met(Damage { file, place, reason }))
    }

    fn place(&self, column: Option<Column>, key: &[u8]) -> String {
        match column {
            Some(column) => (self.describe)(column, key),
            None => format!(
                "the node's own row {}",
                String::from_utf8_lossy(key).escape_debug()
            ),
        }
    }

    /// The damage behind an error of a write, when it is one: the store has met it while it compacted, and takes no more
    /// writes.
    pub(crate) fn of_write(&self, error: &rocksdb::Error) -> Option<Damage> {
        if error.kind() != ErrorKind::Corruption {
            return None;
        }
        let reason = error.to_string();
        let file = files::named_file(&self.folder, &reason);
        let place = match &file {
            Some(file) => format!("{}, to be compacted,", name(file)),
            None => "what was to be compacted".to_owned(),
        };
        let damage = self.met(Damage { file, place, reason });
        self.met.send_modify(|met| {
            met.stopped.get_or_insert_with(|| damage.clone());
        });
        Some(damage)
    }

    /// Notes damage that was found elsewhere, such as in the log.
    pub(crate) fn met(&self, damage: Damage) -> Damage {
        let mut places = self.places.lock();
        if let Some(known) = places.get(&damage.place) {
            return known.clone();
        }
        if places.len() < PLACES_MAX {
            places.insert(damage.place.clone(), damage.clone());
        }
        drop(places);
        tracing::error!("{damage}: {ADVICE}");
        DAMAGES.with(&[kind(damage.file.as_deref())]).increment(1);
        self.met.send_modify(|met| {
            met.first.get_or_insert_with(|| damage.clone());
        });
        damage
    }
}

/// The damage that keeps a store from opening, when it is that.
pub(crate) fn of_opening(folder: &Path, error: &rocksdb::Error) -> Option<Damage> {
    let reason = damage_reason(error)?;
    let file = files::named_file(folder, &reason).or_else(|| {
        let of_rows = reason.contains("propert");
        wal::damaged_log(folder).or_else(|| (!of_rows).then(|| files::description(folder)))
    });
    Some(Damage {
        file,
        place: String::new(),
        reason,
    })
}

/// A store whose files are there but what names them: to be looked at before it is opened.
pub(crate) fn before_opening(folder: &Path) -> Option<Damage> {
    Some(Damage {
        file: Some(files::missing(folder)?),
        place: String::new(),
        reason: "it is not there, though other files of the store are".to_owned(),
    })
}

/// What is wrong, when the bytes are: not when the system has run out of something.
fn damage_reason(error: &rocksdb::Error) -> Option<String> {
    let text = error.to_string();
    let is_damage = match error.kind() {
        ErrorKind::Corruption => true,
        // A file that has gone, and a disk that cannot read what it has.
        ErrorKind::IOError => {
            text.contains("No such file or directory") || text.contains("Input/output error")
        }
        _ => false,
    };
    is_damage.then_some(text)
}

fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn kind(file: Option<&Path>) -> &'static str {
    match file
        .and_then(Path::extension)
        .and_then(|extension| extension.to_str())
    {
        Some("sst") => "sst",
        Some("blob") => "blob",
        Some("log") => "log",
        _ => "other",
    }
}

/// A key as bytes, where nobody knows what it names.
pub(crate) fn describe_bytes(column: Column, key: &[u8]) -> String {
    let bytes: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    match key.first_chunk() {
        Some(group) => format!(
            "key {bytes} of group {} in {}",
            u32::from_be_bytes(*group),
            column.name()
        ),
        None => format!("key {bytes} in {}", column.name()),
    }
}
