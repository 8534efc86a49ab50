//! CAPABILITY. RFC 3501 §6.1.1.

use rookery_mail::imap::encode;

use crate::imap::answer::Answer;
use crate::imap::connection::Client;

pub(in crate::imap) fn run(client: &mut Client) -> Answer {
    let capabilities = client.capabilities();
    encode::capability(&mut client.wire.output, &capabilities);
    Answer::ok("CAPABILITY completed")
}
