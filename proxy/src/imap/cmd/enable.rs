//! ENABLE. RFC 5161 §3.1: what is not known is passed over, and nothing here needs enabling yet.

use rookery_mail::imap::encode;

use crate::imap::answer::Answer;
use crate::imap::connection::Client;

pub(in crate::imap) fn run(client: &mut Client) -> Answer {
    encode::enabled(&mut client.wire.output, &[]);
    Answer::ok("ENABLE completed")
}
