//! FETCH. RFC 3501 §6.4.5. Bodies pass through in pieces; none is ever held whole.
//!
//! When the shard's leader dies in the middle, the rest is asked of its successor, and the client sees one response.

use std::time::Instant;

use rookery_mail::imap::encode::{FetchLine, ResponseCode};
use rookery_mail::imap::types::{FetchItem, Numbering, SequenceSet, Uid};
use rookery_proto::mailstore::v1::{Flags, Store, reply, request, store::Mode};
use rookery_proto::{Reason, Status};

use super::fetch_plan::FetchPlan;
use super::fetch_rows::{Inconsistent, RowWriter};
use super::unexpected;
use crate::imap::answer::{Answer, End, Failure};
use crate::imap::connection::Client;
use crate::imap::session::UidRuns;
use crate::imap::session::view::SEEN;
use crate::route::{CallOptions, LeaderStream};

/// Messages that become \Seen by one call, each perhaps a range of its own: far less than a call may weigh.
const SEEN_AT_ONCE: usize = 20_000;

pub(in crate::imap) async fn run(
    client: &mut Client,
    numbering: Numbering,
    set: &SequenceSet,
    items: Vec<FetchItem>,
) -> Result<Answer, Failure> {
    let selected = client.selected()?;
    let mailbox = selected.mailbox;
    let uids = selected.view.spans(set, numbering)?;
    let plan = FetchPlan::new(items, numbering, selected.read_only)?;
    if uids.is_empty() {
        return Ok(Answer::ok("FETCH completed"));
    }
    let mut writer = RowWriter::default();
    if plan.is_known_to_session() {
        let uids = selected.view.resolve(set, numbering)?;
        answer_from_view(client, &uids).await?;
        return Ok(Answer::ok("FETCH completed"));
    }
    all_rows(client, &plan, &mut writer, mailbox, uids).await?;
    if !writer.unseen.is_empty() {
        set_seen(client, mailbox, &writer.unseen).await?;
    }
    Ok(match writer.unknown_encoding {
        false => Answer::ok("FETCH completed"),
        true => Answer::no("a part has an encoding that is not known").code(ResponseCode::Cannot),
    })
}

/// UID alone needs no call: the session knows it. Clients ask so after each EXISTS.
async fn answer_from_view(client: &mut Client, uids: &UidRuns) -> Result<(), Failure> {
    for number in uids.iter() {
        let selected = client.selected()?;
        if let (Some(message), Some(uid)) = (selected.view.number_of(number), Uid::new(number)) {
            let out = &mut client.wire.output;
            let mut line = FetchLine::start(out, message);
            line.uid(out, uid);
            line.finish(out);
            client.wire.drain().await?;
        }
    }
    Ok(())
}

/// Streams the rows of all messages, beginning again where a call broke off.
async fn all_rows(
    client: &mut Client,
    plan: &FetchPlan,
    writer: &mut RowWriter,
    mailbox: u32,
    mut uids: UidRuns,
) -> Result<(), Failure> {
    let patience = client.context.cluster.options().patience;
    let account = client.account()?;
    let mut replies = account.stream();
    let mut progress = Instant::now();
    let mut call = plan.request(mailbox, uids.to_wire());
    loop {
        let asked = request::Call::Fetch(call);
        let opened = replies
            .open(asked, progress + patience, Instant::now() + patience)
            .await;
        let outcome = match opened {
            Ok(()) => stream(client, plan, writer, &mut replies, &mut progress).await,
            // Nobody answers, for as long as a client is kept waiting, or what is asked for has gone.
            Err(status) => return Err(given_up(client, plan, writer, status)),
        };
        match outcome {
            // A call that ended well has answered all it was asked for.
            Ok(()) if writer.is_within() && !writer.answer_gone(&mut client.wire.output, plan) => {
                return Err(broken(writer, "the message has gone"));
            }
            Ok(()) if !writer.has_resumed() => return Ok(()),
            Ok(()) => {}
            Err(Broken::Status(status)) if is_worth_another(&status) && progress.elapsed() <= patience => {}
            Err(Broken::Status(status)) => return Err(given_up(client, plan, writer, status)),
            Err(Broken::End(end)) => return Err(end.into()),
            Err(Broken::Rows(Inconsistent(what))) => return Err(broken(writer, what)),
        }
        if let Some(rest) = writer.resume(&mut client.wire.output, plan, mailbox) {
            call = rest;
            continue;
        }
        let mut rest = UidRuns::default();
        rest.push(1, writer.done);
        uids.remove(&rest);
        if uids.is_empty() {
            return Ok(());
        }
        writer.begin_anew();
        call = plan.request(mailbox, uids.to_wire());
    }
}

/// How one stream of rows broke off.
enum Broken {
    Status(Status),
    Rows(Inconsistent),
    End(End),
}

impl From<End> for Broken {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

async fn stream(
    client: &mut Client,
    plan: &FetchPlan,
    writer: &mut RowWriter,
    replies: &mut LeaderStream<'_>,
    progress: &mut Instant,
) -> Result<(), Broken> {
    while let Some(reply) = replies.next().await {
        let rows = match reply.map_err(Broken::Status)?.call {
            Some(reply::Call::Rows(rows)) => rows.rows,
            _ => {
                return Err(Broken::Rows(Inconsistent(
                    "the mailstore answered with something else",
                )));
            }
        };
        for row in &rows {
            let Some(selected) = &client.selected else { break };
            writer
                .row(&mut client.wire.output, plan, &selected.view, row)
                .map_err(Broken::Rows)?;
            client.wire.drain().await?;
        }
        *progress = Instant::now();
    }
    Ok(())
}

/// The rest cannot be had. Within a response it can be left out only of a message that has gone, between two literals.
fn given_up(client: &mut Client, plan: &FetchPlan, writer: &mut RowWriter, status: Status) -> Failure {
    let has_gone = status.reason == Reason::NoMailbox;
    if writer.is_within() && !(has_gone && writer.answer_gone(&mut client.wire.output, plan)) {
        return broken(writer, &status.message);
    }
    status.into()
}

/// Whether the rest may be had by another call.
fn is_worth_another(status: &Status) -> bool {
    // A long download on a thin line outlives the deadline of one call.
    status.is_retryable() || status.reason == Reason::DeadlineExceeded
}

/// Within a response only its rest may follow: without it the connection must end.
fn broken(writer: &RowWriter, what: &str) -> Failure {
    if writer.is_within() {
        Failure::Ended(End::Broken(what.to_owned()))
    } else {
        Status::internal(what).into()
    }
}

/// The client has read these messages. RFC 3501 §6.4.5; their responses have said so, but not what others changed
/// since their rows were read.
async fn set_seen(client: &mut Client, mailbox: u32, unseen: &[u32]) -> Result<(), Failure> {
    for some in unseen.chunks(SEEN_AT_ONCE) {
        let uids = UidRuns::from_ranges(some.iter().map(|uid| *uid..=*uid));
        let call = Store {
            mailbox,
            uids: Some(uids.to_wire()),
            mode: Mode::Add.into(),
            flags: Some(Flags {
                system: SEEN,
                keywords: Vec::new(),
            }),
            unchanged_since: 0,
        };
        match client
            .account()?
            .call(request::Call::Store(call), CallOptions::MUTATION)
            .await?
        {
            reply::Call::Stored(stored) => client.selected()?.view.stored_untold(stored.modseq),
            _ => return Err(unexpected()),
        }
    }
    Ok(())
}
