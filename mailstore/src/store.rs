//! Opening the node's store, for the process that hosts the role.

use std::path::Path;
use std::sync::Arc;

use rookery_replication::group::{Member, MemberOptions};
use rookery_replication::store::StoreError;

/// A node's open store. Closed, with all that waits written, when the last of its users has gone.
pub type NodeStore = Arc<Member>;

/// Opens the store in a folder, making it when it is not there. Roles that share a process share it.
pub fn open_store(folder: &Path) -> Result<NodeStore, StoreError> {
    Member::open(folder, MemberOptions::default())
}
