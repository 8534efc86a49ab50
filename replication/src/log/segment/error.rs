//! Why a log cannot be opened.

use std::io;
use std::path::PathBuf;

use crate::view::Damage;

/// What keeps a log from opening, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Reading, writing or syncing failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that had been synced are no longer what was written.
    #[error(
        "the log {} is damaged at offset {offset}: {reason}. Keep a copy of its folder and check the disk; then empty \
         the node's data folder and rebuild this node's replicas from others, or restore a single node from a backup",
        file.display()
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A newer program wrote it.
    #[error(
        "the log {} has format {found}, this program knows formats up to {known}: start the program that wrote it, or a \
         newer one",
        file.display()
    )]
    Version {
        /// The segment.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Another process, or another part of this one, has it open.
    #[error("the log {} is in use: stop the process that has it open", folder.display())]
    Locked {
        /// The log's folder.
        folder: PathBuf,
    },
}

impl LogError {
    /// What is damaged, when it is that.
    pub(crate) fn damage(&self) -> Option<Damage> {
        let LogError::Damaged { file, offset, reason } = self else {
            return None;
        };
        Some(Damage {
            file: Some(file.clone()),
            place: format!("the log at offset {offset}"),
            reason: reason.clone(),
        })
    }

    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
