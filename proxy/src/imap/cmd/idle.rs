//! IDLE. RFC 2177. Changes are told as soon as they commit.

use rookery_mail::imap::encode::{Condition, continuation, untagged};
use rookery_mail::imap::frame::LineEvent;
use tokio::time::{Instant, sleep_until};

use crate::imap::answer::{Answer, End, Failure};
use crate::imap::connection::Client;
use crate::imap::session::Expunges;
use crate::route::feed::Wake;

/// What ended a wait.
enum Event {
    Read,
    Changed,
    Ended,
    Silence,
    Shutdown,
}

pub(in crate::imap) async fn run(client: &mut Client) -> Result<Answer, Failure> {
    continuation(&mut client.wire.output, "idling");
    client.standing.idles();
    // What happened before is told at once, whether or not the feed has heard of it.
    look(client).await?;
    let interval = client.context.options.keepalive_interval;
    let mut keepalive = Instant::now() + interval;
    loop {
        match client.reader.next_line(&mut client.wire.input) {
            // Some clients write it in lower case, some with a space behind it; K-9 ends push for good when IDLE fails.
            LineEvent::Line(line) if line.trim_ascii_end().eq_ignore_ascii_case(b"DONE") => {
                return Ok(Answer::ok("IDLE completed"));
            }
            LineEvent::Line(line) if line.is_empty() => continue,
            LineEvent::Line(line) => {
                // A command of a client that forgot to end IDLE, and waits for its answer.
                client.wire.unread_line(&line);
                return Ok(Answer::bad("expected DONE"));
            }
            LineEvent::TooLong => return Err(End::Bye("line too long").into()),
            LineEvent::NeedMore => {}
        }
        client.wire.flush().await?;
        client.wire.rest();
        match wait(client, keepalive).await? {
            Event::Read => {}
            Event::Changed => {
                let before = client.selected.as_ref().map(|selected| selected.view.modseq());
                look(client).await?;
                if before == client.selected.as_ref().map(|selected| selected.view.modseq()) {
                    // The shard could not be asked, or had nothing new: no busy loop.
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
            Event::Silence => {
                untagged(&mut client.wire.output, Condition::Ok, None, "Still here");
                keepalive = Instant::now() + interval;
            }
            Event::Ended => return Err(End::ACCOUNT_CHANGED.into()),
            Event::Shutdown => return Err(End::SHUTDOWN.into()),
        }
    }
}

/// Tells what has changed. A trace of its own: IDLE as a whole may last for half an hour.
async fn look(client: &mut Client) -> Result<(), End> {
    let traced = client.origin.begin("IDLE");
    traced.run(Box::pin(client.sync(Expunges::Told, true))).await
}

/// Pause after a change that could not be looked at.
const RETRY_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

async fn wait(client: &mut Client, keepalive: Instant) -> Result<Event, End> {
    let (wire, login, selected) = (&mut client.wire, &mut client.login, &client.selected);
    let shutdown = client.context.shutdown.clone();
    let changed = async {
        match (login, selected) {
            (Some(login), Some(selected)) if selected.stale => {
                tokio::time::sleep(RETRY_PAUSE).await;
                if login.subscription.is_ended() {
                    Event::Ended
                } else {
                    Event::Changed
                }
            }
            (Some(login), Some(selected)) => {
                match login
                    .subscription
                    .changed(selected.mailbox, selected.view.modseq())
                    .await
                {
                    Wake::Changed => Event::Changed,
                    Wake::Ended => Event::Ended,
                }
            }
            (Some(login), None) => {
                login.subscription.ended().await;
                Event::Ended
            }
            (None, _) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        filled = wire.fill(true) => filled.map(|()| Event::Read),
        () = shutdown.cancelled() => Ok(Event::Shutdown),
        event = changed => Ok(event),
        () = sleep_until(keepalive) => Ok(Event::Silence),
    }
}
