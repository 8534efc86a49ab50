//! APPENDs that have arrived and are not answered yet.
//!
//! A client may send the next one before it has heard of the last (RFC 9051 §5.5). While the shard makes some of them
//! durable the next are taken in, and what has come by then is stored by one call: a client that sends many waits for
//! the disk once for many, as those do that are many at a time. Order, UIDs, answers and refusals are those of one by
//! one: what is refused together, since one of them does not fit, is asked for again one by one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::parse::APPEND_MESSAGES_MAX;
use rookery_mail::imap::types::{AppendMessage, Tag};
use rookery_process::traces::{self, Traced};
use rookery_proto::mailstore::v1::{Append, Appended};
use rookery_proto::{Reason, Status};
use tokio_util::task::AbortOnDropHandle;

use super::Client;
use crate::imap::answer::{Answer, Code, End, Failure, refusal_try_create};
use crate::imap::cmd::append::{self, Arrived, INLINE_BYTES_MAX};
use crate::imap::cmd::copy::uids;
use crate::imap::measure;
use crate::imap::session::{Expunges, State};
use crate::route::Account;

/// Commands that wait. With their weight it bounds what a client may have under way.
const WAITING_MAX: usize = 100;

/// One that has arrived.
struct Waiting {
    tag: Tag,
    began: Instant,
    /// Its trace, until it is answered.
    traced: Traced,
    arrived: Arrived,
    /// Whether it is to be stored by a call of its own.
    alone: bool,
}

/// Those that are under way, by one call. It goes on by itself, whatever the connection waits for meanwhile.
struct Running {
    commands: Vec<Waiting>,
    call: AbortOnDropHandle<Result<Appended, Status>>,
}

/// All that have arrived and are not answered, in their order.
#[derive(Default)]
pub(in crate::imap) struct Appends {
    running: Option<Box<Running>>,
    waiting: VecDeque<Waiting>,
}

impl Appends {
    /// Whether all are answered.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    fn is_full(&self) -> bool {
        let weight: u64 = self.waiting.iter().map(|waiting| waiting.arrived.weight).sum();
        self.waiting.len() >= WAITING_MAX || weight >= INLINE_BYTES_MAX
    }

    /// Those that can go with one call: the first, and what follows into the same mailbox.
    fn together(&mut self) -> Vec<Waiting> {
        let mut commands: Vec<Waiting> = Vec::new();
        let (mut messages, mut weight) = (0, 0);
        while let Some(next) = self.waiting.front() {
            messages += next.arrived.messages.len();
            weight += next.arrived.weight;
            if let Some(first) = commands.first()
                && (first.alone
                    || next.alone
                    || next.arrived.mailbox != first.arrived.mailbox
                    || messages > APPEND_MESSAGES_MAX
                    || weight > INLINE_BYTES_MAX)
            {
                break;
            }
            commands.extend(self.waiting.pop_front());
        }
        if self.waiting.is_empty() {
            // A client at rest keeps no memory for it.
            self.waiting = VecDeque::new();
        }
        commands
    }

    /// Calls for what waits, unless a call is under way.
    fn start(&mut self, account: &Arc<Account>) {
        if self.running.is_some() {
            return;
        }
        let commands = self.together();
        let Some(first) = commands.first() else {
            return;
        };
        let call = Append {
            mailbox: first.arrived.mailbox,
            messages: commands
                .iter()
                .flat_map(|waiting| waiting.arrived.messages.iter().cloned())
                .collect(),
        };
        let traced = together(&commands);
        let call = tokio::spawn(traced.run(append::store(Arc::clone(account), call)));
        self.running = Some(Box::new(Running {
            commands,
            call: AbortOnDropHandle::new(call),
        }));
    }

    /// Waits for the call that is under way.
    async fn ended(&mut self) -> Option<(Vec<Waiting>, Result<Appended, Status>)> {
        let running = self.running.as_mut()?;
        let outcome = (&mut running.call).await;
        let commands = std::mem::take(&mut running.commands);
        self.running = None;
        let outcome =
            outcome.unwrap_or_else(|error| Err(Status::internal(format!("a call ended badly: {error}"))));
        Some((commands, outcome))
    }

    /// Puts commands that were refused together back, to be asked for one by one.
    fn separate(&mut self, commands: Vec<Waiting>) {
        for waiting in commands.into_iter().rev() {
            self.waiting.push_front(Waiting {
                alone: true,
                ..waiting
            });
        }
    }
}

/// The trace that the call for several commands belongs to: that of the first of them that is traced, with links to and from the others'.
fn together(commands: &[Waiting]) -> Traced {
    let mut traced = commands
        .iter()
        .map(|waiting| &waiting.traced)
        .filter(|traced| traced.is_traced());
    let Some(first) = traced.next() else {
        return Traced::none();
    };
    for other in traced {
        first.link(other);
        other.link(first);
    }
    first.clone()
}

/// Whether each command of those that were refused together may end otherwise by itself. Nothing was stored.
fn depends_on_how_many(status: &Status) -> bool {
    matches!(
        status.reason,
        Reason::OverQuota | Reason::LimitExceeded | Reason::InvalidArgument
    )
}

impl Client {
    /// An APPEND has arrived: it is stored, and answered, as soon as it can be.
    pub(super) async fn append(
        &mut self,
        tag: &Tag,
        messages: &[AppendMessage],
        began: Instant,
    ) -> Result<(), Failure> {
        let arrived = match append::arrived(self, messages).await {
            Ok(arrived) => arrived,
            Err(failure) => {
                self.settle_appends().await?;
                return Err(failure);
            }
        };
        let is_uploaded = arrived.is_uploaded;
        self.appends.waiting.push_back(Waiting {
            tag: tag.clone(),
            began,
            traced: traces::current(),
            alone: is_uploaded,
            arrived,
        });
        if is_uploaded {
            // What was uploaded is much by itself, and takes the room of the next upload until it is stored.
            self.settle_appends().await?;
        }
        while self.appends.is_full() {
            if self.appends.running.is_some() {
                self.finish_call().await?;
            }
            self.start_call()?;
        }
        Ok(())
    }

    /// Reads some more while what has arrived is stored, until one of both has happened.
    pub(super) async fn read_beside_appends(&mut self) -> Result<(), End> {
        self.start_call()?;
        let shutdown = self.context.shutdown.clone();
        let ended = async {
            match &mut self.login {
                Some(login) => login.subscription.ended().await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            biased;
            () = shutdown.cancelled() => End::SHUTDOWN,
            () = ended => End::ACCOUNT_CHANGED,
            ended = self.appends.ended() => return self.call_ended(ended).await,
            filled = self.wire.fill(false) => match filled {
                Ok(()) => return Ok(()),
                Err(end) => end,
            },
        };
        // What has arrived whole is stored, though the client may not hear of it.
        self.settle_appends().await?;
        Err(end)
    }

    /// Answers all that have arrived: what follows is not to overtake them.
    pub(in crate::imap) async fn settle_appends(&mut self) -> Result<(), End> {
        while !self.appends.is_empty() {
            Box::pin(self.finish_call()).await?;
        }
        Ok(())
    }

    fn start_call(&mut self) -> Result<(), End> {
        // The state machine has let no APPEND here without a login.
        let login = self.login.as_ref().ok_or(End::Closed)?;
        self.appends.start(&login.account);
        Ok(())
    }

    /// Waits for the call that is under way, or for the next.
    async fn finish_call(&mut self) -> Result<(), End> {
        self.start_call()?;
        let ended = self.appends.ended().await;
        self.call_ended(ended).await
    }

    async fn call_ended(
        &mut self,
        ended: Option<(Vec<Waiting>, Result<Appended, Status>)>,
    ) -> Result<(), End> {
        let Some((commands, outcome)) = ended else {
            return Ok(());
        };
        if let Err(status) = &outcome
            && commands.len() > 1
            && depends_on_how_many(status)
        {
            self.appends.separate(commands);
            return Ok(());
        }
        let answers = answers(&commands, outcome);
        // A shard that has just been waited for in vain is not asked for news as well.
        let is_away = answers
            .iter()
            .any(|answer| answer.code == Some(Code::Plain(ResponseCode::Unavailable)));
        if self.state() == State::Selected && !is_away {
            self.sync(Expunges::Told, true).await?;
        }
        for (waiting, answer) in commands.iter().zip(answers) {
            answer.write(&mut self.wire.output, &waiting.tag);
            tracing::debug!(command = "APPEND", outcome = ?answer.condition, "IMAP command");
            measure::command("APPEND", answer.condition, waiting.began.elapsed());
            waiting.traced.outcome(measure::outcome(answer.condition));
        }
        Ok(())
    }
}

/// What each command hears.
fn answers(commands: &[Waiting], outcome: Result<Appended, Status>) -> Vec<Answer> {
    match outcome {
        Ok(appended) => {
            let mut uids = uids(appended.uids.as_ref()).into_iter();
            commands
                .iter()
                .map(|waiting| {
                    let of_it = uids.by_ref().take(waiting.arrived.messages.len()).collect();
                    append::stored(appended.uid_validity, of_it)
                })
                .collect()
        }
        Err(status) => vec![refusal_try_create(&status); commands.len()],
    }
}
