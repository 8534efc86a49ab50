//! APPEND. RFC 3501 §6.3.11, several messages by RFC 3502, APPENDUID by RFC 4315 §3.
//!
//! Messages are taken while they arrive: small ones are kept until the command is whole, the others stream to the shard
//! under an upload id. Memory is bounded whatever the client sends. When they are stored is up to
//! `connection/appends.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rand::Rng;
use rookery_mail::imap::encode::continuation;
use rookery_mail::imap::frame::Recovery;
use rookery_mail::imap::parse::AppendHead;
use rookery_mail::imap::types::{AppendMessage, Uid};
use rookery_proto::Status;
use rookery_proto::mailstore::v1::{
    self as mailstore, Append, Appended, InternalDate, NewBody, new_body, reply, request,
};

use super::mailboxes;
use crate::imap::answer::{Answer, Code, End, Failure, no_target};
use crate::imap::connection::Client;
use crate::imap::session::State;
use crate::imap::session::view::stored_flags;
use crate::route::{Account, CallOptions, Upload};

/// Bytes of the messages of one command that are kept here; what goes beyond is uploaded.
pub(in crate::imap) const INLINE_BYTES_MAX: u64 = 256 * 1024;

/// How long one upload may take in all.
const UPLOAD_MAX: Duration = Duration::from_secs(30 * 60);

/// An APPEND on its way.
pub(in crate::imap) struct Appending {
    mailbox: u32,
    messages: Vec<Source>,
    inline_bytes: u64,
}

/// Where the bytes of a message are.
enum Source {
    Inline(BytesMut),
    Upload {
        upload: Upload,
        /// Bytes that have not come yet.
        remaining: u64,
    },
}

/// The literal of a message is announced: lets it in, or says why not.
pub(in crate::imap) async fn announced(client: &mut Client, head: AppendHead) -> Result<(), End> {
    if let Err(answer) = admit(client, &head).await {
        client.appending = None;
        client.settle_appends().await?;
        let recovery = client.reader.refuse_append();
        answer.write(&mut client.wire.output, &head.tag);
        return match recovery {
            Recovery::Close => Err(End::Bye("too much to skip")),
            Recovery::Ready | Recovery::Discarding => Ok(()),
        };
    }
    if client.reader.accept_append() {
        continuation(&mut client.wire.output, "go on");
    }
    Ok(())
}

async fn admit(client: &mut Client, head: &AppendHead) -> Result<(), Answer> {
    let account = match (client.state(), client.account()) {
        (State::Authenticated | State::Selected, Ok(account)) => account,
        _ => return Err(Answer::bad("log in first")),
    };
    if head.index == 0 {
        let mailbox = match mailboxes::id_of(&account, &head.mailbox).await {
            Ok(Some(mailbox)) => mailbox,
            Ok(None) => return Err(no_target()),
            Err(Failure::Refused(answer)) => return Err(answer),
            Err(Failure::Ended(_)) => return Err(Answer::no("not possible")),
        };
        client.appending = Some(Box::new(Appending {
            mailbox,
            messages: Vec::new(),
            inline_bytes: 0,
        }));
    }
    let Some(appending) = &mut client.appending else {
        return Err(Answer::bad("a message without its command"));
    };
    let inline = appending.inline_bytes + head.size;
    appending.messages.push(if inline <= INLINE_BYTES_MAX {
        appending.inline_bytes = inline;
        Source::Inline(BytesMut::new())
    } else {
        let deadline = Instant::now() + UPLOAD_MAX;
        Source::Upload {
            upload: account.upload(rand::rng().random(), deadline),
            remaining: head.size,
        }
    });
    Ok(())
}

/// Takes bytes of the message that was let in last.
pub(in crate::imap) async fn chunk(client: &mut Client, chunk: Bytes) -> Result<(), End> {
    let last = client
        .appending
        .as_mut()
        .and_then(|appending| appending.messages.last_mut());
    match last {
        Some(Source::Inline(bytes)) => bytes.extend_from_slice(&chunk),
        // Of one that has failed the rest is swallowed: the client hears of it when it has sent all.
        Some(Source::Upload { upload, remaining }) => {
            *remaining = remaining.saturating_sub(chunk.len() as u64);
            upload.send(chunk).await;
            if *remaining == 0 {
                upload.end().await;
            }
        }
        None => {}
    }
    Ok(())
}

/// The messages of an APPEND that has arrived, and where they go.
pub(in crate::imap) struct Arrived {
    pub mailbox: u32,
    pub messages: Vec<mailstore::AppendMessage>,
    /// Bytes that are kept of it until it is stored, about.
    pub weight: u64,
    /// Whether some of the messages have gone before it.
    pub is_uploaded: bool,
}

/// The command is whole: what is to be stored by it.
pub(in crate::imap) async fn arrived(
    client: &mut Client,
    messages: &[AppendMessage],
) -> Result<Arrived, Failure> {
    let Some(appending) = client.appending.take() else {
        return Err(Answer::bad("missing message").into());
    };
    // RFC 3502 §6.3.11: an empty message takes the command back.
    if messages.iter().any(|message| message.data.size() == 0) {
        return Err(Answer::no("an empty message: nothing was appended").into());
    }
    if appending.messages.len() != messages.len() {
        return Err(Answer::bad("missing message").into());
    }
    let is_uploaded = appending
        .messages
        .iter()
        .any(|source| matches!(source, Source::Upload { .. }));
    let mut new = Vec::with_capacity(messages.len());
    for (message, source) in messages.iter().zip(appending.messages) {
        let body = match source {
            Source::Inline(bytes) => NewBody {
                source: Some(new_body::Source::Inline(bytes.freeze())),
            },
            Source::Upload { upload, .. } => {
                let deadline = Instant::now() + client.context.cluster.options().patience;
                let id = upload.finish(deadline).await?;
                NewBody {
                    source: Some(new_body::Source::Upload(id)),
                }
            }
        };
        new.push(mailstore::AppendMessage {
            body: Some(body),
            flags: Some(stored_flags(&message.flags)),
            internal_date: message.date.map(|date| InternalDate {
                unix_seconds: date.unix_seconds,
                zone_minutes: date.offset_minutes.into(),
            }),
        });
    }
    Ok(Arrived {
        mailbox: appending.mailbox,
        weight: appending.inline_bytes + new.iter().map(weight).sum::<u64>(),
        messages: new,
        is_uploaded,
    })
}

/// What is kept of a message beside its bytes, about.
fn weight(message: &mailstore::AppendMessage) -> u64 {
    const MESSAGE_BYTES: usize = 128;
    const KEYWORD_BYTES: usize = 32;
    let flags = message.flags.iter().flat_map(|flags| &flags.keywords);
    let keywords: usize = flags.map(|keyword| KEYWORD_BYTES + keyword.len()).sum();
    (MESSAGE_BYTES + keywords) as u64
}

/// Stores all messages or none.
pub(in crate::imap) async fn store(account: Arc<Account>, call: Append) -> Result<Appended, Status> {
    match account
        .call(request::Call::Append(call), CallOptions::MUTATION)
        .await?
    {
        reply::Call::Appended(appended) => Ok(appended),
        _ => Err(Status::internal("an unexpected answer")),
    }
}

/// What is told of messages that were stored.
pub(in crate::imap) fn stored(validity: u32, uids: Vec<Uid>) -> Answer {
    Answer::ok("APPEND completed").lists(Code::AppendUid { validity, uids })
}
