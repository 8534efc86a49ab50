//! Opening the store, and what becomes of one that is damaged: rebuilt from other nodes when they have all of it, served without
//! what is damaged when they have not, and refused when it cannot be opened either.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::bail;
use rookery_mailstore::node::{Asking, Mailstore, NotRebuilt, replace_replicas};
use rookery_proto::Role;
use rookery_proto::directory::v1::NodeRole;

use super::hurt::StoreFolder;
use super::wiring::Wiring;

/// How long a node that can serve the rest of its store waits at the start for others to replace it. Tried again later.
const OPENABLE_PATIENCE: Duration = Duration::from_secs(10);

/// How often a node with a damaged store looks whether the others are whole.
const OTHERS_INTERVAL: Duration = Duration::from_secs(1);

/// How long what still reads the store may take to end before it is opened anew.
const RELEASE_MAX: Duration = Duration::from_secs(10);

/// Pause between two looks at that.
const RELEASE_LOOK: Duration = Duration::from_millis(20);

impl Wiring {
    /// Opens the store. Takes as long as it takes others to replace one that cannot be opened; may be given up meanwhile.
    pub(super) async fn open_store(&mut self) -> anyhow::Result<()> {
        let folder = StoreFolder::of(&self.data);
        let (why, may_open) = match folder.mark() {
            Some(why) => (why, true),
            None => match self.opened(&folder, false) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let Some(damage) = error.damage() else {
                        return Err(error.into());
                    };
                    let why = damage.to_string();
                    folder.set_mark(&why)?;
                    (why, false)
                }
            },
        };
        tracing::error!("the store in {} is damaged: {why}", folder.path().display());
        let mut patience = may_open.then_some(OPENABLE_PATIENCE);
        loop {
            let not_rebuilt = match self.rebuilt(&folder, patience).await? {
                Ok(()) => return Ok(self.opened(&folder, false)?),
                Err(not_rebuilt) => not_rebuilt,
            };
            if may_open {
                match self.opened(&folder, true) {
                    Ok(()) => {
                        tracing::error!(
                            "the damaged store is not rebuilt, since {not_rebuilt}: what is not damaged is served"
                        );
                        self.is_damaged = true;
                        return Ok(());
                    }
                    Err(error) if error.damage().is_none() => return Err(error.into()),
                    Err(error) => tracing::error!("{error}"),
                }
            }
            if patience.take().is_none() || matches!(not_rebuilt, NotRebuilt::OnlyCopy(_) | NotRebuilt::Alone)
            {
                bail!(
                    "the store in {} is damaged and cannot be used ({why}), and is not rebuilt, since {not_rebuilt}. Keep \
                     a copy of it and check the disk; then move it away and restore a backup into a new cluster \
                     (docs/backup.md)",
                    folder.path().display()
                );
            }
        }
    }

    fn opened(
        &mut self,
        folder: &StoreFolder,
        is_damaged: bool,
    ) -> Result<(), rookery_mailstore::StoreError> {
        let peers = Arc::clone(&self.peers) as _;
        let config = self.config.mailstore.clone().unwrap_or_default();
        let node = &self.config.node.id;
        let store = rookery_mailstore::open_store(&folder.path(), node, peers, &config, is_damaged)?;
        self.store = Some(store);
        Ok(())
    }

    /// Has this node's replicas replaced by new ones, and puts the store aside.
    async fn rebuilt(
        &self,
        folder: &StoreFolder,
        patience: Option<Duration>,
    ) -> anyhow::Result<Result<(), NotRebuilt>> {
        let section = match &self.config.mailstore {
            Some(section) if self.config.directory.is_none() => section,
            // The directory has one copy.
            _ => return Ok(Err(NotRebuilt::Alone)),
        };
        let address = match &self.listener {
            Some(listener) => self.advertised(listener.local_addr()?),
            None => String::new(),
        };
        let asking = Asking {
            cluster_id: self.config.node.cluster.clone(),
            node: self.describe(NodeRole::Mailstore, address),
            directory: self.directory_caller(Role::Mailstore)?,
        };
        if let Err(not_rebuilt) = replace_replicas(section, asking, patience).await {
            return Ok(Err(not_rebuilt));
        }
        let aside = folder.set_aside()?;
        tracing::warn!(
            "this node's replicas are made anew from those of other nodes; the damaged store is kept in {} until the next \
             one, and may be removed",
            aside.display()
        );
        Ok(Ok(()))
    }

    /// Waits until damage was met because of which the process has to begin anew, and marks the store. An error when it must
    /// not go on.
    pub(super) async fn until_hurt(&self) -> anyhow::Result<()> {
        let Some(store) = &self.store else {
            return std::future::pending().await;
        };
        let folder = StoreFolder::of(&self.data);
        let mut met = store.store().damages().watch();
        loop {
            let (first, stopped) = {
                let met = met.borrow_and_update();
                (met.first.clone(), met.stopped.clone())
            };
            if let Some(damage) = stopped {
                if self.is_damaged {
                    bail!("{damage}: the store takes no more writes");
                }
                // Opened anew, it goes on beside what is damaged.
                return folder.set_mark(&damage.to_string());
            }
            let why = first.map(|damage| damage.to_string()).or_else(|| {
                // Once marked, it waits for the others to be whole.
                self.is_damaged.then(|| folder.mark()).flatten()
            });
            let others = self.mailstore.as_ref().is_some_and(Mailstore::others_are_whole);
            if let Some(why) = why.filter(|_| others && self.config.directory.is_none()) {
                return folder.set_mark(&why);
            }
            // The sender is the store, which is held here.
            let _ = tokio::time::timeout(OTHERS_INTERVAL, met.changed()).await;
        }
    }

    /// Says, once the roles have been stopped, whether nobody has the store any more.
    pub(super) fn release(&self) -> impl Future<Output = bool> + use<> {
        let store = self
            .store
            .as_ref()
            .map_or_else(Weak::new, |member| Arc::downgrade(member.store()));
        async move {
            let gone = async {
                while store.strong_count() > 0 {
                    tokio::time::sleep(RELEASE_LOOK).await;
                }
            };
            tokio::time::timeout(RELEASE_MAX, gone).await.is_ok()
        }
    }
}
