//! What the calls of the directory work on, for as long as this member leads.

use std::sync::Arc;

use rookery_replication::group::Group;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::credentials::Credentials;
use crate::instances::Instances;
use crate::mover::Moves;
use crate::plan::node::Cluster;
use crate::provision::Provisioner;
use crate::rebalancer::Desk;
use crate::reports::Reports;
use crate::splitter::Splits;
use crate::state::State;
use crate::tokens::Tokens;
use crate::watch::Picture;

/// The parts, put together for one leadership.
pub(crate) struct Core {
    pub(crate) cluster: Cluster,
    /// This node's id.
    pub(crate) own: String,
    pub(crate) group: Arc<Group>,
    pub(crate) state: Arc<State>,
    pub(crate) picture: Arc<Picture>,
    /// What nodes have said last of what they have.
    pub(crate) reports: Reports,
    /// Which process is which node.
    pub(crate) instances: Instances,
    pub(crate) rebalance: Desk,
    pub(crate) moves: Moves,
    pub(crate) splits: Splits,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) tokens: Tokens,
    pub(crate) provisioner: Arc<Provisioner>,
    /// The group's members are to be others.
    pub(crate) members_changed: Notify,
    /// Ends what runs without an end of its own.
    pub(crate) cancel: CancellationToken,
    /// Ends watches, before the calls that others have under way.
    pub(crate) watches_end: CancellationToken,
}
