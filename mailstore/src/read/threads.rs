//! Threads that share the work of one read over many messages: bodies that are read, messages that are judged.
//!
//! They are started when they are first needed, and all reads of a node share them: however many clients ask at once, no more
//! threads come.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::shard::{count_as_own, thread_time};

/// The fewest that wait for a disk at once where more than one shall: a disk answers several as soon as one.
const AT_DISK_MIN: usize = 8;

/// With fewer items for each thread, the caller does the work alone: to wake a thread takes as long as some.
const ITEMS_EACH_MIN: usize = 8;

/// What bounds a read, and so how many threads are of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// One for each of them, the caller among them.
    Processors,
    /// As many as wait at once.
    Disk,
}

/// See the file. Threads that wait for work look for it for a while first, so there are no more of them than are of use.
pub struct ReadThreads {
    working: Helpers,
    waiting: Helpers,
}

/// Threads beside the caller's.
struct Helpers {
    count: usize,
    /// None if they cannot be started.
    pool: OnceLock<Option<ThreadPool>>,
}

impl Helpers {
    fn new(count: usize) -> Self {
        Self {
            count,
            pool: OnceLock::new(),
        }
    }

    fn pool(&self) -> Option<&ThreadPool> {
        let start = || {
            let named = ThreadPoolBuilder::new().thread_name(|number| format!("read-{number}"));
            // Without them, a read takes longer.
            named.num_threads(self.count).build().ok()
        };
        self.pool.get_or_init(start).as_ref()
    }
}

impl ReadThreads {
    /// As many as are of use.
    pub fn new() -> Self {
        Self {
            working: Helpers::new(cores() - 1),
            waiting: Helpers::new(AT_DISK_MIN.max(cores()) - 1),
        }
    }

    /// None: every caller does its work alone, one item after the other.
    pub fn none() -> Self {
        Self {
            working: Helpers::new(0),
            waiting: Helpers::new(0),
        }
    }

    /// What `each` gives for the items, by their positions, in order, up to the first for which it gives nothing; later ones may have been
    /// looked at in vain. Blocks, and does its part.
    pub(super) fn map_while<T: Sync, R: Send>(
        &self,
        bound: Bound,
        items: &[T],
        each: impl Fn(usize, &T) -> Option<R> + Sync,
    ) -> Vec<R> {
        let helpers = match bound {
            Bound::Processors => &self.working,
            Bound::Disk => &self.waiting,
        };
        let parts = (helpers.count + 1).min(items.len() / ITEMS_EACH_MIN);
        let pool = match parts {
            0 | 1 => None,
            _ => helpers.pool(),
        };
        let Some(pool) = pool else {
            let mut positions = 0..;
            let mut items = items.iter();
            return std::iter::from_fn(|| each(positions.next()?, items.next()?)).collect();
        };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut mine = Vec::with_capacity(items.len() / parts);
            loop {
                let position = next.fetch_add(1, Ordering::Relaxed);
                let made = items.get(position).and_then(|item| each(position, item));
                let Some(made) = made else { return mine };
                mine.push((position, made));
            }
        };
        let done = Mutex::new((Vec::with_capacity(items.len()), Duration::ZERO));
        pool.in_place_scope(|scope| {
            for _ in 1..parts {
                scope.spawn(|_| {
                    let before = thread_time();
                    let mut mine = work();
                    let spent = thread_time().saturating_sub(before);
                    let mut done = done.lock();
                    done.0.append(&mut mine);
                    done.1 += spent;
                });
            }
            let mut mine = work();
            done.lock().0.append(&mut mine);
        });
        let (mut made, spent) = done.into_inner();
        count_as_own(spent);
        made.sort_unstable_by_key(|(position, _)| *position);
        let in_order = std::iter::zip(0.., made).take_while(|(expected, (position, _))| expected == position);
        in_order.map(|(_, (_, made))| made).collect()
    }
}

impl Default for ReadThreads {
    fn default() -> Self {
        Self::new()
    }
}

/// Processors that this process may use; one at least.
pub(super) fn cores() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = (ReadThreads, Bound)> {
        let each = [ReadThreads::new as fn() -> ReadThreads, ReadThreads::none];
        let of = |new: fn() -> ReadThreads| [(new(), Bound::Processors), (new(), Bound::Disk)];
        each.into_iter().flat_map(of)
    }

    #[test]
    fn all_that_is_made_comes_in_order_with_threads_and_without() {
        let items: Vec<u32> = (0..1000).collect();
        for (threads, bound) in all() {
            let made = threads.map_while(bound, &items, |position, item| Some((position, item * 2)));
            let expected: Vec<_> = (0..1000).map(|number| (number as usize, number * 2)).collect();
            assert_eq!(made, expected);
            assert!(
                threads
                    .map_while(bound, &[], |_, item: &u32| Some(*item))
                    .is_empty()
            );
        }
    }

    #[test]
    fn nothing_comes_from_the_first_on_that_gave_nothing() {
        let items: Vec<u32> = (0..1000).collect();
        for (threads, bound) in all() {
            for end in [0, 1, 500, 999] {
                let made = threads.map_while(bound, &items, |_, item| (*item != end).then_some(*item));
                assert_eq!(made, items[..end as usize]);
            }
        }
    }

    #[test]
    fn what_the_threads_spend_is_the_callers() {
        let threads = ReadThreads::new();
        let before = thread_time();
        let one = std::time::Duration::from_millis(1);
        threads.map_while(Bound::Disk, &[(); 20], |_, ()| {
            let began = thread_time();
            while thread_time() - began < one {
                std::hint::spin_loop();
            }
            Some(())
        });
        assert!(thread_time() - before >= 20 * one);
    }
}
