//! LOGOUT. RFC 3501 §6.1.3: BYE, the tagged OK, and the connection is closed by the server (mbsync waits for it).

use rookery_mail::imap::encode::{Condition, untagged};

use crate::imap::answer::Answer;
use crate::imap::connection::Client;

pub(in crate::imap) async fn run(client: &mut Client) -> Answer {
    untagged(&mut client.wire.output, Condition::Bye, None, "logging out");
    client.leave().await;
    client.leaving = true;
    Answer::ok("LOGOUT completed")
}
