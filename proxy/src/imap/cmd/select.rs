//! SELECT and EXAMINE. RFC 3501 §6.3.1, §6.3.2.

use rookery_mail::imap::encode::{self, Condition, ResponseCode, untagged};
use rookery_mail::imap::types::MailboxName;
use rookery_proto::mailstore::v1::{OpenMailbox, OpenedMailbox, reply, request};

use super::{mailboxes, unexpected};
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::{Client, Selected};
use crate::imap::session::View;
use crate::route::CallOptions;

pub(in crate::imap) async fn run(
    client: &mut Client,
    name: &MailboxName,
    read_only: bool,
) -> Result<Answer, Failure> {
    // Whatever comes of it, the old mailbox is no longer selected.
    client.leave().await;
    let account = client.account()?;
    let Some(mailbox) = mailboxes::id_of(&account, name).await? else {
        return Ok(mailboxes::nonexistent());
    };
    // Only a read-write session takes \Recent away from others.
    let call = request::Call::OpenMailbox(OpenMailbox {
        mailbox,
        claim_recent: !read_only,
    });
    let reply::Call::OpenedMailbox(opened) = account.call(call, CallOptions::READ).await? else {
        return Err(unexpected());
    };
    let view = View::new(&opened);
    describe(&mut client.wire.output, &opened, &view, read_only);
    client.selected = Some(Selected {
        mailbox,
        read_only,
        view,
        stale: false,
    });
    Ok(match read_only {
        true => Answer::ok("EXAMINE completed").code(ResponseCode::ReadOnly),
        false => Answer::ok("SELECT completed").code(ResponseCode::ReadWrite),
    })
}

fn describe(out: &mut Vec<u8>, opened: &OpenedMailbox, view: &View, read_only: bool) {
    let flags = view.flags();
    encode::flags(out, &flags);
    encode::exists(out, view.exists());
    encode::recent(out, view.recent());
    if let Some(first) = view.number_of(opened.first_unseen) {
        untagged(
            out,
            Condition::Ok,
            Some(&ResponseCode::Unseen(first.get())),
            "first unseen message",
        );
    }
    let permanent = match read_only {
        true => ResponseCode::PermanentFlags {
            flags: &[],
            new_keywords: false,
        },
        false => ResponseCode::PermanentFlags {
            flags: &flags,
            // RFC 3501 §7.1: `\*` says that keywords can be made.
            new_keywords: opened.keywords_free > 0,
        },
    };
    untagged(out, Condition::Ok, Some(&permanent), "flags that stay");
    if let Some(mailbox) = &opened.mailbox {
        untagged(
            out,
            Condition::Ok,
            Some(&ResponseCode::UidValidity(mailbox.uid_validity)),
            "UIDs valid",
        );
        untagged(
            out,
            Condition::Ok,
            Some(&ResponseCode::UidNext(mailbox.uid_next)),
            "predicted next UID",
        );
    }
}
