//! NOOP and CHECK. RFC 3501 §6.1.2, §6.4.1: nothing of their own; the dispatcher tells what has changed.

use crate::imap::answer::Answer;

pub(in crate::imap) fn run() -> Answer {
    Answer::ok("completed")
}
