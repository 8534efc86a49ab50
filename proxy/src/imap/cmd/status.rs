//! STATUS. RFC 3501 §6.3.10, SIZE by RFC 8438.

use rookery_mail::imap::encode;
use rookery_mail::imap::types::{MailboxName, StatusItem};
use rookery_proto::mailstore::v1::Mailbox;

use super::mailboxes;
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;

pub(in crate::imap) async fn run(
    client: &mut Client,
    name: &MailboxName,
    items: &[StatusItem],
) -> Result<Answer, Failure> {
    let account = client.account()?;
    let Some(mailbox) = mailboxes::find(&account, name).await? else {
        return Ok(mailboxes::nonexistent());
    };
    write(&mut client.wire.output, name, &mailbox, items);
    Ok(Answer::ok("STATUS completed"))
}

/// One untagged STATUS, with the name as the client wrote it.
pub(super) fn write(out: &mut Vec<u8>, name: &MailboxName, mailbox: &Mailbox, items: &[StatusItem]) {
    let values: Vec<_> = items.iter().map(|item| (*item, value(mailbox, *item))).collect();
    encode::status_items(out, name, &values);
}

fn value(mailbox: &Mailbox, item: StatusItem) -> u64 {
    match item {
        StatusItem::Messages => mailbox.messages.into(),
        StatusItem::Recent => mailbox.recent.into(),
        StatusItem::UidNext => mailbox.uid_next.into(),
        StatusItem::UidValidity => mailbox.uid_validity.into(),
        StatusItem::Unseen => mailbox.unseen.into(),
        StatusItem::Size => mailbox.size,
    }
}
