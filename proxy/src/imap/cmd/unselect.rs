//! UNSELECT. RFC 3691: as CLOSE, and nothing is expunged.

use crate::imap::answer::Answer;
use crate::imap::connection::Client;

pub(in crate::imap) async fn run(client: &mut Client) -> Answer {
    client.leave().await;
    Answer::ok("UNSELECT completed")
}
