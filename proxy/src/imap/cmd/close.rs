//! CLOSE. RFC 3501 §6.4.2: expunges without a word, unless the mailbox is read-only.

use rookery_proto::Reason;
use rookery_proto::mailstore::v1::{Expunge, request};

use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;
use crate::route::CallOptions;

pub(in crate::imap) async fn run(client: &mut Client) -> Result<Answer, Failure> {
    let selected = client.selected()?;
    let (mailbox, read_only) = (selected.mailbox, selected.read_only);
    if !read_only {
        let call = Expunge {
            mailbox,
            only: false,
            uids: None,
        };
        match client
            .account()?
            .call(request::Call::Expunge(call), CallOptions::MUTATION)
            .await
        {
            Ok(_) => {}
            // Deleted in the meantime: there is nothing to expunge.
            Err(status) if status.reason == Reason::NoMailbox => {}
            Err(status) => return Err(status.into()),
        }
    }
    client.leave().await;
    Ok(Answer::ok("CLOSE completed"))
}
