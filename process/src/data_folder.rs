//! A node's data folder: who it belongs to, and that only one process uses it.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// The format of data folders that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

const IDENTITY_FILE: &str = "identity.toml";
const LOCK_FILE: &str = "lock";
const PID_FILE: &str = "pid";

/// Whose folder it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: String,
    /// The node's id.
    pub node: String,
    /// The node's role.
    pub role: String,
    /// Format of what lies in the folder.
    pub format: u32,
}

/// The folder cannot be used. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read or written.
    #[error("cannot use the data folder {path}: {source}")]
    Io {
        /// Folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the data folder {0} is in use by another process: stop that one first")]
    InUse(PathBuf),
    /// It is another node's.
    #[error("the data folder {path} belongs to {held}, not to {wanted}: give this node a folder of its own")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        held: String,
        /// Who wants it.
        wanted: String,
    },
    /// A newer program wrote it.
    #[error(
        "the data folder {path} has format {format}, newer than this program's {FORMAT}: use the newer program"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// Its identity file is damaged.
    #[error("{path} cannot be understood ({message}): restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

/// An open data folder. Other processes are kept out until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Opens the folder, creating it for its owner alone when it is not there. A new folder becomes this node's; one that belongs to another
    /// cluster, node or role, that is in use, or that is of a newer format is refused.
    pub fn open(path: &Path, cluster: &str, node: &str, role: &str) -> Result<Self, FolderError> {
        let failed = |at: &Path| {
            let path = at.to_path_buf();
            move |source| FolderError::Io { path, source }
        };
        make_private(path).map_err(failed(path))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => FolderError::InUse(path.to_path_buf()),
            other => failed(&lock_path)(other.into()),
        })?;
        let wanted = Identity {
            cluster: cluster.into(),
            node: node.into(),
            role: role.into(),
            format: FORMAT,
        };
        match read_identity(path)? {
            None => write_whole(
                &path.join(IDENTITY_FILE),
                &toml::to_string(&wanted).unwrap_or_default(),
            )?,
            Some(held) if held.format > FORMAT => {
                return Err(FolderError::Newer {
                    path: path.to_path_buf(),
                    format: held.format,
                });
            }
            Some(held)
                if Identity {
                    format: FORMAT,
                    ..held.clone()
                } != wanted =>
            {
                return Err(FolderError::Foreign {
                    path: path.to_path_buf(),
                    held: describe(&held),
                    wanted: describe(&wanted),
                });
            }
            Some(_) => {}
        }
        write_whole(&path.join(PID_FILE), &format!("{}\n", std::process::id()))?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a folder that its owner alone can read, with the folders on the way to it. One that is there stays as it is.
pub fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

fn describe(identity: &Identity) -> String {
    format!(
        "{} {} of cluster {}",
        identity.role, identity.node, identity.cluster
    )
}

fn read_identity(folder: &Path) -> Result<Option<Identity>, FolderError> {
    let path = folder.join(IDENTITY_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map(Some)
            .map_err(|error| FolderError::Damaged {
                path,
                message: error.message().to_owned(),
            }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FolderError::Io { path, source }),
    }
}

/// Writes a file whole and at once: after a crash it is the old one or the new one.
pub fn write_whole(path: &Path, text: &str) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io {
        path: path.to_path_buf(),
        source,
    };
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_belongs_to_one_process_and_one_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node");
        let held = DataFolder::open(&path, "c1", "mailstore-1", "mailstore").unwrap();
        let again = DataFolder::open(&path, "c1", "mailstore-1", "mailstore");
        assert!(matches!(again, Err(FolderError::InUse(_))), "{again:?}");
        drop(held);
        for (cluster, node, role) in [
            ("c2", "mailstore-1", "mailstore"),
            ("c1", "mailstore-2", "mailstore"),
            ("c1", "mailstore-1", "proxy"),
        ] {
            let foreign = DataFolder::open(&path, cluster, node, role);
            assert!(matches!(foreign, Err(FolderError::Foreign { .. })), "{foreign:?}");
        }
        DataFolder::open(&path, "c1", "mailstore-1", "mailstore").unwrap();
    }

    #[test]
    fn a_new_folder_is_for_its_owner_and_another_stays_as_it_is() {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some/node");
        DataFolder::open(&path, "c1", "n", "r").unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        DataFolder::open(&path, "c1", "n", "r").unwrap();
        assert_eq!(mode(&path), 0o750);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataFolder::open(&file, "c1", "n", "r").unwrap_err();
        assert!(matches!(error, FolderError::Io { .. }), "{error}");
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = "cluster = \"c1\"\nnode = \"n\"\nrole = \"r\"\nformat = 2\n";
        fs::write(folder.path().join(IDENTITY_FILE), text).unwrap();
        let error = DataFolder::open(folder.path(), "c1", "n", "r").unwrap_err();
        assert!(matches!(error, FolderError::Newer { format: 2, .. }), "{error}");
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(IDENTITY_FILE), "cluster = ").unwrap();
        let error = DataFolder::open(folder.path(), "c1", "n", "r").unwrap_err();
        assert!(matches!(error, FolderError::Damaged { .. }), "{error}");
    }
}
