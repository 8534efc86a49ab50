//! EXPUNGE, and UID EXPUNGE. RFC 3501 §6.4.3, RFC 4315 §2.1.

use rookery_mail::imap::types::{Numbering, SequenceSet};
use rookery_proto::mailstore::v1::{Expunge, reply, request};

use super::unexpected;
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;
use crate::imap::session::UidRuns;
use crate::route::CallOptions;

pub(in crate::imap) async fn run(client: &mut Client, only: Option<&SequenceSet>) -> Result<Answer, Failure> {
    let selected = client.selected()?;
    if selected.read_only {
        return Ok(read_only());
    }
    let mailbox = selected.mailbox;
    let uids = only
        .map(|set| selected.view.spans(set, Numbering::Uid))
        .transpose()?;
    if uids.as_ref().is_some_and(UidRuns::is_empty) {
        return Ok(Answer::ok("EXPUNGE completed"));
    }
    let call = Expunge {
        mailbox,
        only: uids.is_some(),
        uids: uids.map(|uids| uids.to_wire()),
    };
    let reply = client
        .account()?
        .call(request::Call::Expunge(call), CallOptions::MUTATION)
        .await?;
    let reply::Call::Expunged(expunged) = reply else {
        return Err(unexpected());
    };
    let gone = UidRuns::from_wire(expunged.uids.as_ref());
    let told = client.selected()?.view.expunged(&gone, expunged.modseq);
    client.tell(told).await?;
    Ok(Answer::ok("EXPUNGE completed"))
}

/// The mailbox was opened by EXAMINE.
pub(super) fn read_only() -> Answer {
    Answer::no("the mailbox was opened read-only")
}
