//! Messages whose bodies are read before their turn comes, several at once: a fetch of many whole messages waits for a disk, and
//! decompresses, in more than one place.

use std::collections::VecDeque;

use super::Snapshot;
use super::batch::Messages;
use super::message::OpenMessage;
use super::threads::BODIES_AT_ONCE;
use crate::schema::{MessageNumber, ReadError};

/// Messages that are opened together.
const MESSAGES_MAX: usize = 128;

/// Bytes of bodies that are read ahead.
const BYTES_MAX: u64 = 1024 * 1024;

/// A larger body is read when its turn comes, in pieces.
const BODY_BYTES_MAX: u64 = 128 * 1024;

/// Opens the first of these messages, and further ones with their bodies as far as there is room for them.
pub(super) fn open(
    snapshot: &Snapshot,
    messages: &Messages,
    numbers: impl Iterator<Item = MessageNumber>,
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
            let body = message.body();
            Some(
                snapshot
                    .bodies
                    .read_range(&snapshot.reader(), &body, 0..body.hash.size),
            )
        };
        let bodies = snapshot.threads.map_while(BODIES_AT_ONCE, &opened, read);
        for (message, body) in std::iter::zip(&mut opened, bodies) {
            // What cannot be read is told when its turn comes, after those before it.
            if let Ok(body) = body {
                message.hold(body);
            }
        }
    }
    Ok(opened.into())
}
