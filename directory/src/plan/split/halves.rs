//! Which accounts of a shard go: half of them, by number. Pure.
//!
//! The busiest accounts, as far as they are known, are decided on first: the busiest of all stays, and each of the others goes where the
//! calls are fewer so far. What has been decided of them is in the split's row. The others follow in the order of their ids, each to the
//! side that has fewer accounts, with nothing but two numbers to be remembered: where nobody is known to be busy, every second one goes.

use std::cmp::Reverse;

use crate::schema::AccountId;
use crate::schema::split::SplitRow;

/// The busiest accounts that are decided on by themselves.
const BUSIEST_MAX: usize = 32;

/// The split of so many accounts, with what becomes of the busiest; `busiest` are the calls a second of each.
pub(super) fn halved(mut split: SplitRow, accounts: u64, busiest: &[(AccountId, u64)]) -> SplitRow {
    split.expected = accounts / 2;
    let mut busiest = busiest.to_vec();
    busiest.sort_unstable_by_key(|(id, calls)| (Reverse(*calls), *id));
    busiest.truncate(BUSIEST_MAX);
    let (mut calls_staying, mut calls_going) = (0u64, 0u64);
    for (id, calls) in busiest {
        let may_go = split.going < split.expected;
        let may_stay = split.staying < accounts - split.expected;
        if may_go && (calls_going < calls_staying || !may_stay) {
            split.going += 1;
            split.busy_going.push(id.0);
            calls_going = calls_going.saturating_add(calls);
        } else if may_stay {
            split.staying += 1;
            split.busy_staying.push(id.0);
            calls_staying = calls_staying.saturating_add(calls);
        }
    }
    split
}

/// Whether an account goes that is decided on now.
pub(super) fn goes(split: &mut SplitRow, id: AccountId) -> bool {
    if split.busy_staying.contains(&id.0) {
        return false;
    }
    if split.busy_going.contains(&id.0) {
        return true;
    }
    let goes = split.going < split.staying;
    match goes {
        true => split.going += 1,
        false => split.staying += 1,
    }
    goes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the accounts 1 to `accounts` go.
    fn gone(accounts: u64, busiest: &[(u64, u64)]) -> Vec<u64> {
        let busiest: Vec<(AccountId, u64)> = busiest
            .iter()
            .map(|(id, calls)| (AccountId(*id), *calls))
            .collect();
        let mut split = halved(SplitRow::default(), accounts, &busiest);
        assert_eq!(split.expected, accounts / 2);
        (1..=accounts)
            .filter(|id| goes(&mut split, AccountId(*id)))
            .collect()
    }

    #[test]
    fn where_nobody_is_busy_every_second_one_goes() {
        assert_eq!(gone(6, &[]), [2, 4, 6]);
        assert_eq!(gone(7, &[]), [2, 4, 6]);
        assert_eq!(gone(400_000, &[]).len(), 200_000);
    }

    #[test]
    fn the_busiest_are_parted_and_the_others_make_the_numbers_even() {
        assert_eq!(gone(6, &[(4, 900), (6, 500)]), [2, 5, 6]);
        // One does as much as the three next.
        assert_eq!(gone(8, &[(1, 900), (2, 300), (3, 300), (4, 250)]), [2, 3, 4, 8]);
        // One does all the work: it stays, and half of the others go.
        let gone = gone(100, &[(50, 1_000)]);
        assert!(gone.len() == 50 && !gone.contains(&50), "{gone:?}");
    }

    #[test]
    fn there_are_never_more_of_them_than_half() {
        let many: Vec<(u64, u64)> = (1..=60)
            .map(|id| (id, if id == 1 { u64::MAX } else { id }))
            .collect();
        for accounts in [2, 3, 10, 31, 32, 33, 60, 200] {
            let known = &many[..many.len().min(accounts as usize)];
            assert_eq!(gone(accounts, known).len() as u64, accounts / 2, "{accounts}");
        }
        // More are said to be busy than there are.
        assert_eq!(gone(2, &[(1, 7), (2, 6), (3, 5)]), [2]);
    }
}
