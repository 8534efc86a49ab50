//! STORE. RFC 3501 §6.4.6. Messages that have gone are passed over: iOS stores flags for them and wants OK.

use rookery_mail::imap::encode::FetchLine;
use rookery_mail::imap::types::{Flag, Numbering, SequenceSet, StoreAction, Uid};
use rookery_proto::mailstore::v1::{Store, reply, request, store::Mode};

use super::{expunge, unexpected};
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;
use crate::imap::session::view::stored_flags;
use crate::route::CallOptions;

pub(in crate::imap) async fn run(
    client: &mut Client,
    numbering: Numbering,
    set: &SequenceSet,
    action: StoreAction,
    silent: bool,
    flags: &[Flag],
) -> Result<Answer, Failure> {
    let selected = client.selected()?;
    let uids = selected.view.spans(set, numbering)?;
    if selected.read_only {
        return Ok(expunge::read_only());
    }
    if uids.is_empty() {
        return Ok(Answer::ok("STORE completed"));
    }
    let mode = match action {
        StoreAction::Replace => Mode::Replace,
        StoreAction::Add => Mode::Add,
        StoreAction::Remove => Mode::Remove,
    };
    let call = Store {
        mailbox: selected.mailbox,
        uids: Some(uids.to_wire()),
        mode: mode.into(),
        flags: Some(stored_flags(flags)),
        unchanged_since: 0,
    };
    let reply = client
        .account()?
        .call(request::Call::Store(call), CallOptions::MUTATION)
        .await?;
    let reply::Call::Stored(stored) = reply else {
        return Err(unexpected());
    };
    // A keyword that is new here is in FLAGS before it is in FETCH.
    let told = client.selected()?.view.learn_keywords(&stored.messages);
    client.tell(told).await?;
    if !silent {
        for message in &stored.messages {
            let Some(selected) = &client.selected else { break };
            let (Some(number), Some(uid)) = (selected.view.number_of(message.uid), Uid::new(message.uid))
            else {
                continue;
            };
            let flags = selected.view.flags_of(message.uid, message.flags.as_ref());
            let out = &mut client.wire.output;
            let mut line = FetchLine::start(out, number);
            if numbering == Numbering::Uid {
                line.uid(out, uid);
            }
            line.flags(out, &flags);
            line.finish(out);
            client.wire.drain().await?;
        }
    }
    let view = &mut client.selected()?.view;
    match silent {
        false => view.stored(&stored.messages, stored.modseq),
        true => view.stored_untold(stored.modseq),
    }
    Ok(Answer::ok("STORE completed"))
}
