//! CREATE. RFC 3501 §6.3.3, with USE by RFC 6154 §3.

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::types::{MailboxName, SpecialUse};
use rookery_proto::Reason;
use rookery_proto::mailstore::v1::{self as mailstore, CreateMailbox, request};

use super::mailboxes;
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;
use crate::route::CallOptions;

pub(in crate::imap) async fn run(
    client: &mut Client,
    name: &MailboxName,
    uses: &[SpecialUse],
) -> Result<Answer, Failure> {
    // With a delimiter at its end the name only announces children, which changes nothing here.
    let name = name.without_trailing_delimiter();
    if let Err(error) = name.check_new() {
        return Ok(Answer::no(error.to_string()).code(ResponseCode::Cannot));
    }
    let special_use = match uses {
        [] => mailstore::SpecialUse::Unspecified,
        [one] => to_wire(*one),
        // RFC 6154 §3: the server may refuse what it cannot do.
        _ => return Ok(Answer::no("one use a mailbox").code(ResponseCode::UseAttr)),
    };
    let call = CreateMailbox {
        name: name.as_str().to_owned(),
        special_use: special_use.into(),
    };
    let account = client.account()?;
    let created = account
        .call(request::Call::CreateMailbox(call), CallOptions::MUTATION)
        .await;
    match created {
        Ok(_) => {}
        // Either the name is taken, or the use: RFC 6154 §3 has a code of its own for that.
        Err(status) if status.reason == Reason::MailboxExists && !uses.is_empty() => {
            if mailboxes::find(&account, &name).await?.is_none() {
                return Ok(Answer::no("another mailbox has this use").code(ResponseCode::UseAttr));
            }
            return Err(status.into());
        }
        Err(status) => return Err(status.into()),
    }
    Ok(Answer::ok("CREATE completed"))
}

fn to_wire(special_use: SpecialUse) -> mailstore::SpecialUse {
    match special_use {
        SpecialUse::All => mailstore::SpecialUse::All,
        SpecialUse::Archive => mailstore::SpecialUse::Archive,
        SpecialUse::Drafts => mailstore::SpecialUse::Drafts,
        SpecialUse::Flagged => mailstore::SpecialUse::Flagged,
        SpecialUse::Junk => mailstore::SpecialUse::Junk,
        SpecialUse::Sent => mailstore::SpecialUse::Sent,
        SpecialUse::Trash => mailstore::SpecialUse::Trash,
    }
}
