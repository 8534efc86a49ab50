//! Channels to nodes, kept for as long as the node has the same address.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rookery_proto::directory::v1::Node;
use rookery_proto::{Caller, MailstoreProtocol};

/// Makes channels to mailstore nodes: over the network, or within the process.
pub trait Connect: Send + Sync + 'static {
    /// A channel to a node. Does not block: the connection is made when it is first used.
    fn connect(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>>;
}

/// A channel and the address that it leads to.
type Channel = (String, Arc<dyn Caller<MailstoreProtocol>>);

/// One channel for each mailstore node.
pub struct Nodes {
    connect: Arc<dyn Connect>,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Nodes {
    /// No channels yet.
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self {
            connect,
            channels: Mutex::new(HashMap::new()),
        }
    }

    /// The channel to a node; a new one when its address changed.
    pub fn channel(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        let mut channels = self.channels.lock();
        if let Some((address, channel)) = channels.get(&node.id)
            && *address == node.address
        {
            return Arc::clone(channel);
        }
        let channel = self.connect.connect(node);
        channels.insert(node.id.clone(), (node.address.clone(), Arc::clone(&channel)));
        channel
    }

    /// Drops channels to nodes that are no longer in the cluster.
    pub fn retain(&self, known: impl Fn(&str) -> bool) {
        self.channels.lock().retain(|id, _| known(id));
    }
}
