//! RENAME. RFC 3501 §6.3.5; INBOX keeps its place and gives its messages away.

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::types::MailboxName;
use rookery_proto::mailstore::v1::{RenameMailbox, request};

use super::mailboxes;
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;
use crate::route::CallOptions;

pub(in crate::imap) async fn run(
    client: &mut Client,
    from: &MailboxName,
    to: &MailboxName,
) -> Result<Answer, Failure> {
    let to = to.without_trailing_delimiter();
    if let Err(error) = to.check_new() {
        return Ok(Answer::no(error.to_string()).code(ResponseCode::Cannot));
    }
    let account = client.account()?;
    let from = from.without_trailing_delimiter();
    let call = RenameMailbox {
        // None: it may be a level that LIST shows as \Noselect, and whose mailboxes are renamed.
        mailbox: mailboxes::id_of(&account, &from).await?.unwrap_or(0),
        level: from.as_str().to_owned(),
        new_name: to.as_str().to_owned(),
    };
    account
        .call(request::Call::RenameMailbox(call), CallOptions::MUTATION)
        .await?;
    Ok(Answer::ok("RENAME completed"))
}
