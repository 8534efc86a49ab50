//! MOVE. RFC 6851. COPYUID comes untagged, before the EXPUNGEs; messages that have gone are passed over.

use rookery_mail::imap::encode::{Condition, ResponseCode, untagged};
use rookery_mail::imap::types::{MailboxName, Numbering, SequenceSet};

use super::{copy, expunge};
use crate::imap::answer::{Answer, Code, Failure};
use crate::imap::connection::Client;
use crate::imap::session::UidRuns;

pub(in crate::imap) async fn run(
    client: &mut Client,
    numbering: Numbering,
    set: &SequenceSet,
    name: &MailboxName,
) -> Result<Answer, Failure> {
    if client.selected()?.read_only {
        return Ok(expunge::read_only());
    }
    if let Some(copied) = copy::copy(client, numbering, set, name, true).await? {
        if let Some(Code::CopyUid {
            validity,
            source,
            target,
        }) = copy::code(&copied)
        {
            let code = ResponseCode::CopyUid {
                validity,
                source: &source,
                target: &target,
            };
            untagged(&mut client.wire.output, Condition::Ok, Some(&code), "moved");
        }
        let gone = UidRuns::from_wire(copied.source.as_ref());
        let told = client.selected()?.view.moved(&gone);
        client.tell(told).await?;
    }
    Ok(Answer::ok("MOVE completed"))
}
