//! What is told when the page is asked for, and not before: figures that somebody has anyway, and need only be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

type Look = Arc<dyn Fn() + Send + Sync>;

static LOOKS: Mutex<Vec<(u64, Look)>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// As long as it is held, something is looked at each time that the page is asked for.
#[must_use = "nothing is gathered once it is dropped"]
#[derive(Debug)]
pub struct Gathering(u64);

/// Has `look` set gauges whenever the page is asked for. It runs where blocking is allowed, and should take a moment at most.
pub fn gather(look: impl Fn() + Send + Sync + 'static) -> Gathering {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    LOOKS.lock().push((number, Arc::new(look)));
    Gathering(number)
}

impl Drop for Gathering {
    fn drop(&mut self) {
        LOOKS.lock().retain(|(number, _)| *number != self.0);
    }
}

/// Looks at everything.
pub(super) fn look() {
    // None of them is held while they look: one may end meanwhile.
    let looks: Vec<Look> = LOOKS.lock().iter().map(|(_, look)| Arc::clone(look)).collect();
    for look in looks {
        look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_looked_at_no_more() {
        let looked = Arc::new(AtomicU64::new(0));
        let gathering = {
            let looked = Arc::clone(&looked);
            gather(move || {
                looked.fetch_add(1, Ordering::Relaxed);
            })
        };
        look();
        let times = looked.load(Ordering::Relaxed);
        assert!(times > 0);
        drop(gathering);
        assert_eq!(Arc::strong_count(&looked), 1);
    }
}
