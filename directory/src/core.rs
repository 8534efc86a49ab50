//! What the calls of the directory work on.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::credentials::Credentials;
use crate::plan::node::Cluster;
use crate::provision::Provisioner;
use crate::state::State;
use crate::tokens::Tokens;
use crate::watch::Picture;

/// The parts, put together.
pub(crate) struct Core {
    pub(crate) cluster: Cluster,
    pub(crate) state: Arc<State>,
    pub(crate) picture: Arc<Picture>,
    pub(crate) credentials: Credentials,
    pub(crate) tokens: Tokens,
    pub(crate) provisioner: Arc<Provisioner>,
    /// Ends what runs without an end of its own.
    pub(crate) cancel: CancellationToken,
    /// Ends watches, before the calls that others have under way.
    pub(crate) watches_end: CancellationToken,
}
