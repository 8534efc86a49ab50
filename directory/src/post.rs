//! Who serves: the parts of a directory that leads, while this member does, and who leads otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rookery_proto::{Reason, Status};
use rookery_replication::group::{Group, Member};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::members::Members;

/// What lasts from one leadership to the next.
pub(crate) struct Post {
    pub(crate) members: Members,
    pub(crate) member: Arc<Member>,
    /// Held while a replica is opened or removed.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// A leader has said that this member is none yet.
    is_awaited: AtomicBool,
    /// This member's replica, once it is open.
    group: watch::Sender<Option<Arc<Group>>>,
    serving: watch::Sender<Option<Arc<Core>>>,
    /// Ends what runs without an end of its own.
    pub(crate) cancel: CancellationToken,
    /// Ends watches, before the calls that others have under way.
    pub(crate) watches_end: CancellationToken,
}

impl Post {
    pub(crate) fn new(members: Members, member: Arc<Member>) -> Self {
        Self {
            members,
            member,
            opening: tokio::sync::Mutex::default(),
            is_awaited: AtomicBool::new(false),
            group: watch::Sender::new(None),
            serving: watch::Sender::new(None),
            cancel: CancellationToken::new(),
            watches_end: CancellationToken::new(),
        }
    }

    /// The parts, if this member leads; NOT_LEADER with the leader's address otherwise.
    pub(crate) fn core(&self) -> Result<Arc<Core>, Status> {
        self.serving.borrow().clone().ok_or_else(|| self.not_leading())
    }

    /// From now on these are the parts, or nothing is served.
    pub(crate) fn serve(&self, core: Option<Arc<Core>>) {
        self.serving.send_replace(core);
    }

    /// Waits until this member serves.
    pub(crate) async fn until_serving(&self) {
        // The sender is here.
        let _ = self.serving.subscribe().wait_for(Option::is_some).await;
    }

    /// This member's replica, if it is open.
    pub(crate) fn group(&self) -> Option<Arc<Group>> {
        self.group.borrow().clone()
    }

    /// Waits for it.
    pub(crate) async fn until_open(&self) -> Arc<Group> {
        let mut group = self.group.subscribe();
        loop {
            if let Some(open) = group.borrow_and_update().clone() {
                return open;
            }
            // The sender is here.
            let _ = group.changed().await;
        }
    }

    /// The replica is open, or open no more.
    pub(crate) fn set_group(&self, group: Option<Arc<Group>>) {
        if let Some(group) = &group {
            group.set_preferred(self.members.is_first());
        }
        self.group.send_replace(group);
    }

    /// Notes whether the leader's configuration is waited for, which does not name this member yet.
    pub(crate) fn note_awaited(&self, is_awaited: bool) {
        self.is_awaited.store(is_awaited, Ordering::Relaxed);
    }

    /// Whether somebody leads who does not take this member in yet. It has no replica then.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed) && self.group.borrow().is_none()
    }

    /// The node that leads, as far as is known here.
    pub(crate) fn leader(&self) -> Option<String> {
        self.group()?.leader()
    }

    /// What is said of calls that only a leader answers.
    pub(crate) fn not_leading(&self) -> Status {
        let own = self.members.own();
        let (leader, message) = match self.leader() {
            Some(leader) if leader == own => (
                self.members.address(own),
                format!("{own} is about to lead the directory: try again"),
            ),
            Some(leader) => (
                self.members.address(&leader),
                format!("{own} does not lead the directory: {leader} does"),
            ),
            None => (
                "",
                format!("{own} does not lead the directory, and knows of nobody who does: try again"),
            ),
        };
        Status {
            leader: leader.to_owned(),
            ..Status::new(Reason::NotLeader, message)
        }
    }
}
