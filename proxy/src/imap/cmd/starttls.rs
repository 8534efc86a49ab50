//! STARTTLS. RFC 3501 §6.2.1. The handshake follows once the answer is sent.

use crate::imap::answer::Answer;
use crate::imap::connection::Client;

pub(in crate::imap) fn run(client: &mut Client) -> Answer {
    if client.tls {
        return Answer::bad("TLS is active already");
    }
    if client.context.tls.is_none() {
        return Answer::bad("TLS is not available");
    }
    client.upgrade = true;
    Answer::ok("begin TLS negotiation now")
}
