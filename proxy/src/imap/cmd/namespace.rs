//! NAMESPACE. RFC 2342: the one personal namespace.

use rookery_mail::imap::encode;

use crate::imap::answer::Answer;
use crate::imap::connection::Client;

pub(in crate::imap) fn run(client: &mut Client) -> Answer {
    encode::namespace(&mut client.wire.output);
    Answer::ok("NAMESPACE completed")
}
