//! Which recent messages sessions have taken, until that is written down.
//!
//! Nobody waits for an entry: it goes along with others after a while, and when the leader ends in order. When it ends otherwise, messages
//! are recent once more. RFC 3501 §2.3.2: whether a session is the first to be notified may be impossible to tell, and then they should be.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::plan::RecentClaim;
use crate::schema::{AccountId, MailboxId, Uid};

/// Mailboxes of which it is remembered; with more of them their messages are recent once more.
const CLAIMS_MAX: usize = 10_000;

/// What sessions have taken of a shard's mailboxes.
#[derive(Default)]
pub struct RecentClaims {
    below: Mutex<BTreeMap<(AccountId, MailboxId), Uid>>,
}

impl RecentClaims {
    /// From which UID on messages are recent to the next session; `stored` is what the mailbox's record says.
    pub fn recent_from(&self, account: AccountId, mailbox: MailboxId, stored: Uid) -> Uid {
        let below = self.below.lock();
        below
            .get(&(account, mailbox))
            .map_or(stored, |below| (*below).max(stored))
    }

    /// Takes the messages below a UID for one session. From which UID on they were recent until now: of two that ask at once, one
    /// alone hears of a message.
    pub fn take(&self, account: AccountId, mailbox: MailboxId, stored: Uid, below: Uid) -> Uid {
        let mut taken = self.below.lock();
        let key = (account, mailbox);
        let before = taken.get(&key).map_or(stored, |taken| (*taken).max(stored));
        if below > before && (taken.len() < CLAIMS_MAX || taken.contains_key(&key)) {
            taken.insert(key, below);
        }
        before
    }

    /// Some that are not written down yet.
    pub(super) fn unwritten(&self, count_max: usize) -> Vec<RecentClaim> {
        let below = self.below.lock();
        let claims = below.iter().map(|((account, mailbox), below)| RecentClaim {
            account: *account,
            mailbox: *mailbox,
            below: *below,
        });
        claims.take(count_max).collect()
    }

    /// These are written down: what was not taken since is forgotten.
    pub(super) fn written(&self, claims: &[RecentClaim]) {
        let mut below = self.below.lock();
        for claim in claims {
            let key = (claim.account, claim.mailbox);
            if below.get(&key) == Some(&claim.below) {
                below.remove(&key);
            }
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.below.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: AccountId = AccountId(1);

    #[test]
    fn a_message_is_recent_to_one_who_asks() {
        let claims = RecentClaims::default();
        let inbox = MailboxId::INBOX;
        assert_eq!(claims.recent_from(ANN, inbox, Uid(3)), Uid(3));
        assert_eq!(claims.take(ANN, inbox, Uid(3), Uid(5)), Uid(3));
        assert_eq!(claims.take(ANN, inbox, Uid(3), Uid(5)), Uid(5));
        assert_eq!(claims.recent_from(ANN, inbox, Uid(3)), Uid(5));
        assert_eq!(claims.recent_from(ANN, MailboxId(2), Uid(3)), Uid(3));
        assert_eq!(claims.recent_from(AccountId(2), inbox, Uid(3)), Uid(3));
        // What is below is taken already.
        assert_eq!(claims.take(ANN, inbox, Uid(3), Uid(4)), Uid(5));
        assert_eq!(claims.recent_from(ANN, inbox, Uid(3)), Uid(5));
    }

    #[test]
    fn what_was_taken_while_it_was_written_is_written_next() {
        let claims = RecentClaims::default();
        let inbox = MailboxId::INBOX;
        claims.take(ANN, inbox, Uid(1), Uid(5));
        claims.take(AccountId(2), inbox, Uid(1), Uid(2));
        let written = claims.unwritten(100);
        assert_eq!(written.len(), 2);
        claims.take(ANN, inbox, Uid(1), Uid(7));
        claims.written(&written);
        let left = RecentClaim {
            account: ANN,
            mailbox: inbox,
            below: Uid(7),
        };
        assert_eq!(claims.unwritten(100), [left]);
        claims.written(&[left]);
        assert_eq!(claims.unwritten(100), []);
    }

    #[test]
    fn it_is_bounded() {
        let claims = RecentClaims::default();
        let inbox = MailboxId::INBOX;
        for account in 0..2 * CLAIMS_MAX as u64 {
            assert_eq!(claims.take(AccountId(account), inbox, Uid(1), Uid(2)), Uid(1));
        }
        assert_eq!(claims.unwritten(usize::MAX).len(), CLAIMS_MAX);
        // Those that are remembered go on being it.
        assert_eq!(claims.take(AccountId(0), inbox, Uid(1), Uid(3)), Uid(2));
        assert_eq!(claims.take(AccountId(0), inbox, Uid(1), Uid(3)), Uid(3));
    }
}
