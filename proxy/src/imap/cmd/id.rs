//! ID. RFC 2971: both sides say who they are, and nothing follows from it.

use rookery_mail::imap::encode;

use crate::imap::answer::Answer;
use crate::imap::connection::Client;

pub(in crate::imap) fn run(client: &mut Client, pairs: &[(String, Option<String>)]) -> Answer {
    let name = pairs.iter().find(|(field, _)| field.eq_ignore_ascii_case("name"));
    tracing::debug!(address = %client.peer.address, name = ?name.and_then(|(_, value)| value.as_deref()), "IMAP ID");
    encode::id(
        &mut client.wire.output,
        &[("name", Some("Rookery")), ("vendor", Some("Rookery"))],
    );
    Answer::ok("ID completed")
}
