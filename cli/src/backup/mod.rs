//! `rookery backup`: a consistent copy of all mail and of the directory in a folder, checked, and put back.
//!
//! Owns the folder's format; what is in a row is decided by the schemas of mailstore and directory. Never holds more of a
//! backup in memory than a few rows and, of one shard at a time, the names of its messages and bodies.

mod check;
mod create;
mod files;
mod hold;
mod manifest;
mod progress;
mod restore;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use crate::operate::Connection;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write all mail and the directory to a folder, while mail flows
    Create {
        /// The folder, which is made
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Read a backup back and check all of it; needs no cluster
    Verify {
        /// The backup's folder
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
    /// Check a backup, then put it into an empty cluster; can be run again after it broke off
    Restore {
        /// The backup's folder
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
}

impl Command {
    pub(crate) async fn run(self, connection: &Connection, as_json: bool) -> anyhow::Result<()> {
        match self {
            Command::Create { to } => create::run(&mut connection.connect_all().await?, &to, as_json).await,
            Command::Verify { from } => verify::run(&from, as_json),
            Command::Restore { from } => {
                let mut clients = connection.connect_all().await?;
                restore::run(&mut clients, &from, as_json).await
            }
        }
    }
}
