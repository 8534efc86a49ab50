//! Messages whose bodies are read before their turn comes, several at once: a fetch of many whole messages waits for a disk, and
//! decompresses, in more than one place.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Snapshot;
use super::batch::Messages;
use super::message::OpenMessage;
use super::threads::{Bound, cores};
use crate::schema::{MessageNumber, ReadError};
use crate::shard::thread_time;

/// Messages that are opened together.
const MESSAGES_MAX: usize = 256;

/// Bytes of bodies that are read ahead.
const BYTES_MAX: u64 = 1024 * 1024;

/// A larger body is read when its turn comes, in pieces.
const BODY_BYTES_MAX: u64 = 128 * 1024;

/// What the bodies of a fetch wait for.
pub(super) struct Pace {
    cores: usize,
    bound: Bound,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            cores: cores(),
            bound: Bound::Processors,
        }
    }

    /// Takes in what the last ones took, by the clock and of processors: less than a quarter of what these could have done is waiting, three
    /// quarters are work. What lies between changes nothing, for processors have other work too.
    fn note(&mut self, clock: Duration, worked: Duration) {
        let possible = clock.saturating_mul(u32::try_from(self.cores).unwrap_or(u32::MAX));
        if worked.saturating_mul(4) < possible {
            self.bound = Bound::Disk;
        } else if worked.saturating_mul(4) >= possible.saturating_mul(3) {
            self.bound = Bound::Processors;
        }
    }
}

/// Opens the first of these messages, and further ones with their bodies as far as there is room for them.
pub(super) fn open(
    snapshot: &Snapshot,
    messages: &Messages,
    numbers: impl Iterator<Item = MessageNumber>,
    pace: &mut Pace,
) -> Result<VecDeque<OpenMessage>, ReadError> {
    let mut opened = Vec::new();
    let mut bytes = 0;
    for number in numbers.take(MESSAGES_MAX) {
        let message = OpenMessage::new(messages.get(snapshot, number)?);
        let size = message.body().hash.size;
        let is_small = size <= BODY_BYTES_MAX;
        if !opened.is_empty() && (!is_small || bytes + size > BYTES_MAX) {
            break;
        }
        bytes += size;
        opened.push(message);
        if !is_small {
            break;
        }
    }
    if opened.len() > 1 {
        let read = |_, message: &OpenMessage| {
            let reader = snapshot.reader();
            Some(snapshot.bodies.read_once(&reader, &message.body()))
        };
        let (began, before) = (Instant::now(), thread_time());
        let bodies = snapshot.threads.map_while(pace.bound, &opened, read);
        pace.note(began.elapsed(), thread_time().saturating_sub(before));
        for (message, body) in std::iter::zip(&mut opened, bodies) {
            // What cannot be read is told when its turn comes, after those before it.
            if let Ok(body) = body {
                message.hold(body);
            }
        }
    }
    Ok(opened.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_are_read_at_once_while_they_wait() {
        let mut pace = Pace {
            cores: 2,
            bound: Bound::Processors,
        };
        for (worked, bound) in [
            (20, Bound::Processors),
            (5, Bound::Processors),
            (4, Bound::Disk),
            (14, Bound::Disk),
            (15, Bound::Processors),
        ] {
            pace.note(Duration::from_millis(10), Duration::from_millis(worked));
            assert_eq!(pace.bound, bound, "{worked} of 10 ms");
        }
        pace.note(Duration::ZERO, Duration::ZERO);
        assert_eq!(pace.bound, Bound::Processors);
    }
}
