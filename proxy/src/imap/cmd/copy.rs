//! COPY. RFC 3501 §6.4.7, COPYUID by RFC 4315 §3. Messages that have gone are passed over.

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::types::{MailboxName, Numbering, SequenceSet, Uid};
use rookery_proto::Reason;
use rookery_proto::mailstore::v1::{Copied, Copy, UidSet, reply, request};

use super::{mailboxes, unexpected};
use crate::imap::answer::{Answer, Code, Failure, no_target};
use crate::imap::connection::Client;
use crate::imap::session::runs::wire_ranges;
use crate::route::{Account, CallOptions};

pub(in crate::imap) async fn run(
    client: &mut Client,
    numbering: Numbering,
    set: &SequenceSet,
    name: &MailboxName,
) -> Result<Answer, Failure> {
    let copied = copy(client, numbering, set, name, false).await?;
    let answer = Answer::ok("COPY completed");
    Ok(match copied.as_ref().and_then(code) {
        Some(code) => answer.lists(code),
        None => answer,
    })
}

/// Copies or moves; `None` when the set names nothing.
pub(super) async fn copy(
    client: &mut Client,
    numbering: Numbering,
    set: &SequenceSet,
    name: &MailboxName,
    take: bool,
) -> Result<Option<Copied>, Failure> {
    let account = client.account()?;
    let selected = client.selected()?;
    let uids = selected.view.spans(set, numbering)?;
    let from = selected.mailbox;
    let Some(to) = mailboxes::id_of(&account, name).await? else {
        return Err(no_target().into());
    };
    if uids.is_empty() {
        return Ok(None);
    }
    let call = Copy {
        from,
        uids: Some(uids.to_wire()),
        to,
        r#move: take,
    };
    match account
        .call(request::Call::Copy(call), CallOptions::MUTATION)
        .await
    {
        Ok(reply::Call::Copied(copied)) => Ok(Some(copied)),
        Ok(_) => Err(unexpected()),
        Err(status) if status.reason == Reason::NoMailbox => Err(missing(&account, to).await?.into()),
        Err(status) => Err(status.into()),
    }
}

/// Source or target has gone since it was looked up. Only for the target may the client be told to create a mailbox:
/// RFC 3501 §6.4.7.
async fn missing(account: &Account, target: u32) -> Result<Answer, Failure> {
    let found = mailboxes::all(account).await?.mailboxes;
    Ok(if found.iter().any(|mailbox| mailbox.id == target) {
        Answer::no("the selected mailbox was deleted").code(ResponseCode::Nonexistent)
    } else {
        no_target()
    })
}

/// COPYUID; `None` when nothing was copied.
pub(super) fn code(copied: &Copied) -> Option<Code> {
    let (source, target) = (uids(copied.source.as_ref()), uids(copied.target.as_ref()));
    if source.is_empty() || source.len() != target.len() {
        return None;
    }
    Some(Code::CopyUid {
        validity: copied.uid_validity,
        source,
        target,
    })
}

/// The UIDs of a set one by one.
pub(in crate::imap) fn uids(set: Option<&UidSet>) -> Vec<Uid> {
    wire_ranges(set).flatten().filter_map(Uid::new).collect()
}
