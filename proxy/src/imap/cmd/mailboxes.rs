//! From the names that clients use to mailboxes and their ids.

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::types::MailboxName;
use rookery_proto::mailstore::v1::{ListMailboxes, Mailbox, Mailboxes, reply, request};

use super::unexpected;
use crate::imap::answer::{Answer, Failure};
use crate::route::{Account, CallOptions};

/// The id of INBOX in every account.
const INBOX_ID: u32 = 1;

/// All mailboxes and subscriptions of the account.
pub(super) async fn all(account: &Account) -> Result<Mailboxes, Failure> {
    match account
        .call(request::Call::ListMailboxes(ListMailboxes {}), CallOptions::READ)
        .await?
    {
        reply::Call::Mailboxes(mailboxes) => Ok(mailboxes),
        _ => Err(unexpected()),
    }
}

/// The mailbox of that name.
pub(super) async fn find(account: &Account, name: &MailboxName) -> Result<Option<Mailbox>, Failure> {
    // Thunderbird sends a trailing delimiter with names of folders.
    let name = name.without_trailing_delimiter();
    let mailboxes = all(account).await?.mailboxes;
    Ok(mailboxes
        .into_iter()
        .find(|mailbox| mailbox.name == name.as_str()))
}

/// The id of the mailbox of that name.
pub(super) async fn id_of(account: &Account, name: &MailboxName) -> Result<Option<u32>, Failure> {
    if name.is_inbox() {
        return Ok(Some(INBOX_ID));
    }
    Ok(find(account, name).await?.map(|mailbox| mailbox.id))
}

/// There is no such mailbox.
pub(super) fn nonexistent() -> Answer {
    Answer::no("no such mailbox").code(ResponseCode::Nonexistent)
}
