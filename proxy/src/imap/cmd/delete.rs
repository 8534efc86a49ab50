//! DELETE. RFC 3501 §6.3.4. Mailboxes below stay, and their parent is then shown as \Noselect.

use rookery_mail::imap::types::MailboxName;
use rookery_proto::mailstore::v1::{DeleteMailbox, request};

use super::mailboxes;
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;
use crate::route::CallOptions;

pub(in crate::imap) async fn run(client: &mut Client, name: &MailboxName) -> Result<Answer, Failure> {
    let account = client.account()?;
    let Some(mailbox) = mailboxes::id_of(&account, name).await? else {
        return Ok(mailboxes::nonexistent());
    };
    account
        .call(
            request::Call::DeleteMailbox(DeleteMailbox { mailbox }),
            CallOptions::MUTATION,
        )
        .await?;
    if client
        .selected
        .as_ref()
        .is_some_and(|selected| selected.mailbox == mailbox)
    {
        // There is nothing left to select; its messages go with the answer.
        let told = client
            .selected()?
            .view
            .deleted(crate::imap::session::Expunges::Told);
        client.tell(told).await?;
    }
    Ok(Answer::ok("DELETE completed"))
}
