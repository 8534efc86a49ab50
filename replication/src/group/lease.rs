//! Reads without asking first: for a while after a quorum has confirmed a leader, no other can be elected.
//!
//! A voter that hears of a leader elects no other for [`VOTER_LEASE`] (Ongaro, "Consensus: Bridging Theory and
//! Practice", §6.4.1), and one that has just started elects none for as long, for it may have forgotten that it heard. The leader counts
//! from when it asked, and for a shorter time, so that the clocks may run at rates as different as
//! [`LEASE`] and that time are. A clock that leaps ahead breaks it, which is why this is an option; one that stands still while the
//! machine sleeps does not, for it is one that counts sleep.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// For so long a replica that has heard of a leader votes for no other; one that is opened again waits as long before it votes.
pub(super) const VOTER_LEASE: Duration = Duration::from_millis(1000);

/// How long a leader reads on the word of a quorum.
const LEASE: Duration = Duration::from_millis(500);

/// A moment of a clock that goes on while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(Duration);

impl Moment {
    pub(super) fn now() -> Self {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the call fills the structure that it is given.
        #[allow(unsafe_code)]
        let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
        // It fails for clocks that are not there alone.
        debug_assert_eq!(result, 0);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Self(Duration::new(
            seconds,
            u32::try_from(now.tv_nsec).unwrap_or_default(),
        ))
    }

    /// A later moment.
    #[cfg(test)]
    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0 + time)
    }

    /// The time since an earlier moment.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

#[derive(Debug, Default)]
struct Held {
    term: u64,
    /// Good before this moment.
    until: Option<Duration>,
    /// In this term and all before it there is none: the leadership is being handed over.
    given_up: u64,
}

/// The lease of one replica, which is good while it leads.
#[derive(Debug)]
pub(super) struct Lease {
    is_on: bool,
    /// Before this it votes for nobody: it may have said, before it was opened, that it would not.
    votes_from: Option<Instant>,
    held: Mutex<Held>,
}

impl Lease {
    /// `is_on`: whether it is given at all.
    pub(super) fn new(is_on: bool, votes_from: Option<Instant>) -> Self {
        Self {
            is_on,
            votes_from,
            held: Mutex::default(),
        }
    }

    /// Whether the replica may vote for another than the leader that it last heard of.
    pub(super) fn may_vote(&self, now: Instant) -> bool {
        self.votes_from.is_none_or(|from| now >= from)
    }

    /// A quorum has confirmed, after `asked`, that this replica leads in a term.
    pub(super) fn confirmed(&self, term: u64, asked: Moment) {
        let mut held = self.held.lock();
        if !self.is_on || term <= held.given_up || term < held.term {
            return;
        }
        let until = asked.0 + LEASE;
        if term > held.term || held.until < Some(until) {
            (held.term, held.until) = (term, Some(until));
        }
    }

    /// Whether the leader of a term may read without asking.
    pub(super) fn holds(&self, term: u64, now: Moment) -> bool {
        let held = self.held.lock();
        self.is_on && held.term == term && held.until.is_some_and(|until| now.0 < until)
    }

    /// Another is asked to take over from the leader of a term: it needs not wait until the lease is over.
    pub(super) fn give_up(&self, term: u64) {
        let mut held = self.held.lock();
        held.given_up = held.given_up.max(term);
        if held.term <= term {
            held.until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(10_000 + millis))
    }

    #[test]
    fn a_lease_counts_from_the_question_and_ends() {
        let lease = Lease::new(true, None);
        assert!(!lease.holds(3, at(0)));
        lease.confirmed(3, at(0));
        assert!(lease.holds(3, at(499)));
        assert!(!lease.holds(3, at(500)));
        assert!(!lease.holds(4, at(1)), "of another term");
        // An answer that comes late takes nothing back.
        lease.confirmed(3, at(200));
        lease.confirmed(3, at(100));
        assert!(lease.holds(3, at(699)));
        lease.confirmed(2, at(900));
        assert!(!lease.holds(2, at(901)) && !lease.holds(3, at(901)));
    }

    #[test]
    fn who_hands_over_has_no_lease_in_that_term_again() {
        let lease = Lease::new(true, None);
        lease.confirmed(3, at(0));
        lease.give_up(3);
        assert!(!lease.holds(3, at(1)));
        lease.confirmed(3, at(2));
        assert!(!lease.holds(3, at(3)));
        lease.confirmed(5, at(4));
        assert!(lease.holds(5, at(5)));
    }

    #[test]
    fn an_option_that_is_off_gives_none() {
        let lease = Lease::new(false, None);
        lease.confirmed(1, at(0));
        assert!(!lease.holds(1, at(1)));
    }

    #[test]
    fn one_that_was_opened_again_waits_before_it_votes() {
        let from = Instant::now() + VOTER_LEASE;
        let lease = Lease::new(false, Some(from));
        assert!(!lease.may_vote(Instant::now()) && lease.may_vote(from));
        assert!(Lease::new(false, None).may_vote(Instant::now()));
    }

    #[test]
    fn the_clock_goes_on() {
        let first = Moment::now();
        assert!(first <= Moment::now() && first > Moment(Duration::ZERO));
    }
}
