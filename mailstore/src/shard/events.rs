//! The shard's change feed: what is durable, to whoever subscribed; events of one mailbox are joined.
//!
//! A slow reader costs at most [`EVENTS_WAITING_MAX`] mailboxes of memory and delays nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rookery_proto::mailstore::v1::{MailboxEvent, ShardEvent};
use tokio::sync::Notify;

/// Mailboxes whose events may wait for a reader; beyond that all are dropped and the reader is told to refresh.
pub const EVENTS_WAITING_MAX: usize = 10_000;

/// What a subscription yields.
pub type Events = ShardEvent;

/// Where the writer publishes.
#[derive(Debug, Default)]
pub struct EventHub {
    subscribers: Mutex<Vec<Weak<Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By account and mailbox: the modseq.
    mailboxes: BTreeMap<(u64, u32), u64>,
    overflow: bool,
    closed: bool,
}

impl EventHub {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> Subscription {
        let waiting = Arc::new(Waiting::default());
        self.subscribers.lock().push(Arc::downgrade(&waiting));
        Subscription { waiting }
    }

    /// Tells all who listen. Never waits for them.
    pub fn publish(&self, events: &[MailboxEvent]) {
        if events.is_empty() {
            return;
        }
        self.each(|state| state.add(events));
    }

    /// Ends all subscriptions, once they have been read.
    pub fn close(&self) {
        self.each(|state| state.closed = true);
    }

    fn each(&self, act: impl Fn(&mut State)) {
        self.subscribers.lock().retain(|subscriber| {
            let Some(waiting) = subscriber.upgrade() else {
                return false;
            };
            act(&mut waiting.state.lock());
            waiting.changed.notify_one();
            true
        });
    }
}

impl State {
    fn add(&mut self, events: &[MailboxEvent]) {
        for event in events {
            let modseq = self.mailboxes.entry((event.account, event.mailbox)).or_default();
            *modseq = event.modseq.max(*modseq);
        }
        if self.mailboxes.len() > EVENTS_WAITING_MAX {
            self.mailboxes.clear();
            self.overflow = true;
        }
    }

    fn take(&mut self) -> Option<ShardEvent> {
        if self.mailboxes.is_empty() && !self.overflow {
            return None;
        }
        let mailboxes = std::mem::take(&mut self.mailboxes)
            .into_iter()
            .map(|((account, mailbox), modseq)| MailboxEvent {
                account,
                mailbox,
                modseq,
            })
            .collect();
        Some(ShardEvent {
            mailboxes,
            overflow: std::mem::take(&mut self.overflow),
        })
    }
}

/// One reader of a shard's events.
#[derive(Debug)]
pub struct Subscription {
    waiting: Arc<Waiting>,
}

impl Subscription {
    /// All that has changed since the last call; waits until something has. `None` when the shard has closed. Nothing is
    /// lost when the future is dropped.
    pub async fn next(&mut self) -> Option<ShardEvent> {
        loop {
            {
                let mut state = self.waiting.state.lock();
                if let Some(event) = state.take() {
                    return Some(event);
                }
                if state.closed {
                    return None;
                }
            }
            self.waiting.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(account: u64, mailbox: u32, modseq: u64) -> MailboxEvent {
        MailboxEvent {
            account,
            mailbox,
            modseq,
        }
    }

    #[tokio::test]
    async fn joins_events_and_says_when_it_dropped_some() {
        let hub = EventHub::new();
        hub.publish(&[event(1, 1, 1)]);
        let (mut reader, other) = (hub.subscribe(), hub.subscribe());
        hub.publish(&[event(1, 1, 2), event(2, 1, 1)]);
        hub.publish(&[event(1, 1, 3)]);
        let first = reader.next().await.expect("open");
        assert_eq!(
            first,
            ShardEvent {
                mailboxes: vec![event(1, 1, 3), event(2, 1, 1)],
                overflow: false
            }
        );
        drop(other);
        for account in 0..=EVENTS_WAITING_MAX as u64 {
            hub.publish(&[event(account, 1, 1)]);
        }
        assert_eq!(
            reader.next().await,
            Some(ShardEvent {
                mailboxes: Vec::new(),
                overflow: true
            })
        );
        hub.publish(&[event(5, 1, 9)]);
        hub.close();
        assert_eq!(reader.next().await.map(|event| event.mailboxes.len()), Some(1));
        assert_eq!(reader.next().await, None);
    }
}
