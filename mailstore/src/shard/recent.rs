//! Which recent messages sessions have taken, until that is written down.
//!
//! Nobody waits for an entry: it goes along with others after a while, and when the leader ends in order. When it ends otherwise, messages
//! are recent once more. RFC 3501 §2.3.2: whether a session is the first to be notified may be impossible to tell, and then they should be.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::plan::RecentClaim;
use crate::schema::{AccountId, MailboxId, Uid};

/// Mailboxes of which it is remembered; with more of them their messages are recent once more.
const CLAIMS_MAX: usize = 10_000;

/// How long what is written down is remembered still: longer than a read waits whose snapshot is from before.
const WRITTEN_KEPT: Duration = Duration::from_secs(5);

/// What was taken of a mailbox.
struct Taken {
    below: Uid,
    /// Since when it is written down.
    written: Option<Instant>,
}

/// What sessions have taken of a shard's mailboxes.
#[derive(Default)]
pub struct RecentClaims {
    taken: Mutex<BTreeMap<(AccountId, MailboxId), Taken>>,
}

impl RecentClaims {
    /// From which UID on messages are recent to the next session; `stored` is what the mailbox's record says.
    pub fn recent_from(&self, account: AccountId, mailbox: MailboxId, stored: Uid) -> Uid {
        let taken = self.taken.lock();
        taken
            .get(&(account, mailbox))
            .map_or(stored, |taken| taken.below.max(stored))
    }

    /// Takes the messages below a UID for one session. From which UID on they were recent until now: of two that ask at once, one
    /// alone hears of a message.
    pub fn take(&self, account: AccountId, mailbox: MailboxId, stored: Uid, below: Uid) -> Uid {
        let mut all = self.taken.lock();
        let key = (account, mailbox);
        let before = all.get(&key).map_or(stored, |taken| taken.below.max(stored));
        if below > before && (all.len() < CLAIMS_MAX || all.contains_key(&key)) {
            all.insert(key, Taken { below, written: None });
        }
        before
    }

    /// What is not written down yet, of all accounts or of one.
    pub(super) fn unwritten(&self, of: Option<AccountId>) -> Vec<RecentClaim> {
        let all = self.taken.lock();
        let unwritten = all.iter().filter(|((account, _), taken)| {
            taken.written.is_none() && of.is_none_or(|wanted| wanted == *account)
        });
        unwritten
            .map(|((account, mailbox), taken)| RecentClaim {
                account: *account,
                mailbox: *mailbox,
                below: taken.below,
            })
            .collect()
    }

    /// These are written down: what was not taken since is forgotten after a while.
    pub(super) fn written(&self, claims: &[RecentClaim], now: Instant) {
        let mut all = self.taken.lock();
        for claim in claims {
            let taken = all.get_mut(&(claim.account, claim.mailbox));
            if let Some(taken) = taken.filter(|taken| taken.below == claim.below) {
                taken.written = Some(now);
            }
        }
    }

    /// Forgets what has been written down for a while.
    pub(super) fn forget_written(&self, now: Instant) {
        let is_kept = |taken: &Taken| taken.written.is_none_or(|since| now < since + WRITTEN_KEPT);
        self.taken.lock().retain(|_, taken| is_kept(taken));
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.taken.lock().clear();
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
        let (inbox, now) = (MailboxId::INBOX, Instant::now());
        claims.take(ANN, inbox, Uid(1), Uid(5));
        claims.take(AccountId(2), inbox, Uid(1), Uid(2));
        assert_eq!(claims.unwritten(Some(ANN)).len(), 1);
        let written = claims.unwritten(None);
        assert_eq!(written.len(), 2);
        claims.take(ANN, inbox, Uid(1), Uid(7));
        claims.written(&written, now);
        let left = RecentClaim {
            account: ANN,
            mailbox: inbox,
            below: Uid(7),
        };
        assert_eq!(claims.unwritten(None), [left]);
        claims.written(&[left], now);
        assert_eq!(claims.unwritten(None), []);
        // One who reads what was stored before takes nothing twice.
        claims.forget_written(now + WRITTEN_KEPT / 2);
        assert_eq!(claims.recent_from(ANN, inbox, Uid(1)), Uid(7));
        claims.forget_written(now + WRITTEN_KEPT);
        assert_eq!(claims.recent_from(ANN, inbox, Uid(1)), Uid(1));
    }

    #[test]
    fn it_is_bounded() {
        let claims = RecentClaims::default();
        let inbox = MailboxId::INBOX;
        for account in 0..2 * CLAIMS_MAX as u64 {
            assert_eq!(claims.take(AccountId(account), inbox, Uid(1), Uid(2)), Uid(1));
        }
        assert_eq!(claims.unwritten(None).len(), CLAIMS_MAX);
        // Those that are remembered go on being it.
        assert_eq!(claims.take(AccountId(0), inbox, Uid(1), Uid(3)), Uid(2));
        assert_eq!(claims.take(AccountId(0), inbox, Uid(1), Uid(3)), Uid(3));
    }
}
