//! Whether a process can serve: named conditions, each met or not with a reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The conditions of a process. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    conditions: Arc<Mutex<BTreeMap<String, Option<String>>>>,
    changed: watch::Sender<()>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            conditions: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Health {
    /// A process without conditions is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// The condition is met.
    pub fn met(&self, condition: &str) {
        self.set(condition, None);
    }

    /// The condition is not met, and why.
    pub fn unmet(&self, condition: &str, reason: impl Into<String>) {
        self.set(condition, Some(reason.into()));
    }

    fn set(&self, condition: &str, reason: Option<String>) {
        let before = self
            .conditions
            .lock()
            .insert(condition.to_owned(), reason.clone());
        if before.as_ref() != Some(&reason) {
            self.changed.send_replace(());
        }
    }

    /// What is not met: `condition: reason` each. Empty when ready.
    pub fn missing(&self) -> Vec<String> {
        let conditions = self.conditions.lock();
        let unmet = conditions
            .iter()
            .filter_map(|(name, reason)| Some((name, reason.as_ref()?)));
        unmet.map(|(name, reason)| format!("{name}: {reason}")).collect()
    }

    /// Waits until every condition is met.
    pub async fn ready(&self) {
        let mut changed = self.changed.subscribe();
        while !self.missing().is_empty() {
            // The sender lives in `self`.
            let _ = changed.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_follows_the_conditions() {
        let health = Health::new();
        health.unmet("store", "opening");
        assert_eq!(health.missing(), ["store: opening"]);
        let waiting = tokio::spawn({
            let health = health.clone();
            async move { health.ready().await }
        });
        health.met("store");
        waiting.await.unwrap();
        assert!(health.missing().is_empty());
    }
}
