//! UNSELECT. RFC 3691: as CLOSE, and nothing is expunged.

use crate::imap::answer::Answer;
use crate::imap::connection::Client;

pub(in crate::imap) fn run(client: &mut Client) -> Answer {
    client.selected = None;
    Answer::ok("UNSELECT completed")
}
