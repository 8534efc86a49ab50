//! APPENDs that have arrived and are not answered yet.
//!
//! A client may send the next one before it has heard of the last (RFC 9051 §5.5). While the shard makes some of them
//! durable the next are taken in, and what has come by then is stored by one call: a client that sends many waits for
//! the disk once for many, as those do that are many at a time. Order, UIDs, answers and refusals are those of one by
//! one: what is refused together, since one of them does not fit, is asked for again one by one.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::types::{AppendMessage, Tag};
use rookery_proto::mailstore::v1::{Append, Appended};
use rookery_proto::{Reason, Status};

use super::Client;
use crate::imap::answer::{Answer, Code, End, Failure, refusal_try_create};
use crate::imap::cmd::append::{self, Arrived, INLINE_BYTES_MAX};
use crate::imap::cmd::copy::uids;
use crate::imap::measure;
use crate::imap::session::{Expunges, State};
use crate::route::Account;

/// Messages of one call; the shard takes no more.
const MESSAGES_MAX: usize = 1000;

/// Commands that wait. With their bytes it bounds what a client may have under way.
const WAITING_MAX: usize = 100;

/// One that has arrived.
struct Waiting {
    tag: Tag,
    began: Instant,
    arrived: Arrived,
}

type Storing = Pin<Box<dyn Future<Output = Result<Appended, Status>> + Send>>;

/// Those that are under way, by one call.
struct Running {
    commands: Vec<Waiting>,
    call: Storing,
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
        let bytes: u64 = self
            .waiting
            .iter()
            .map(|waiting| waiting.arrived.inline_bytes)
            .sum();
        self.waiting.len() >= WAITING_MAX || bytes >= INLINE_BYTES_MAX
    }

    /// Those that can go with one call: the first, and what follows into the same mailbox.
    fn together(&mut self) -> Vec<Waiting> {
        let mut commands: Vec<Waiting> = Vec::new();
        let (mut messages, mut bytes) = (0, 0);
        while let Some(next) = self.waiting.front() {
            messages += next.arrived.messages.len();
            bytes += next.arrived.inline_bytes;
            if let Some(first) = commands.first()
                && (next.arrived.mailbox != first.arrived.mailbox
                    || messages > MESSAGES_MAX
                    || bytes > INLINE_BYTES_MAX)
            {
                break;
            }
            commands.extend(self.waiting.pop_front());
        }
        commands
    }

    /// Calls for what waits, unless a call is under way.
    fn start(&mut self, account: Arc<Account>) {
        if self.running.is_some() {
            return;
        }
        let commands = self.together();
        if let Some(call) = call(&commands) {
            let call = Box::pin(append::store(account, call));
            self.running = Some(Box::new(Running { commands, call }));
        }
    }
}

/// What stores the messages of all commands, which go to one mailbox; none for no command.
fn call(commands: &[Waiting]) -> Option<Append> {
    let mailbox = commands.first()?.arrived.mailbox;
    let messages = commands
        .iter()
        .flat_map(|waiting| waiting.arrived.messages.iter().cloned())
        .collect();
    Some(Append { mailbox, messages })
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
        self.appends.waiting.push_back(Waiting {
            tag: tag.clone(),
            began,
            arrived,
        });
        while self.appends.is_full() {
            self.finish_call().await?;
        }
        Ok(())
    }

    /// Reads some more while what has arrived is stored, until one of both has happened.
    pub(super) async fn read_beside_appends(&mut self) -> Result<(), End> {
        self.start_call()?;
        let Some(running) = &mut self.appends.running else {
            return Ok(());
        };
        let filled = tokio::select! {
            biased;
            outcome = &mut running.call => {
                self.call_ended(outcome).await?;
                return Ok(());
            }
            filled = self.wire.fill(false) => filled,
        };
        if filled.is_err() {
            // What has arrived whole is stored, whether or not anybody hears of it.
            self.settle_appends().await?;
        }
        filled
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
        self.appends.start(Arc::clone(&login.account));
        Ok(())
    }

    /// Waits for the call that is under way, or for the next.
    async fn finish_call(&mut self) -> Result<(), End> {
        self.start_call()?;
        if let Some(running) = &mut self.appends.running {
            let outcome = (&mut running.call).await;
            self.call_ended(outcome).await?;
        }
        Ok(())
    }

    async fn call_ended(&mut self, outcome: Result<Appended, Status>) -> Result<(), End> {
        let Some(running) = self.appends.running.take() else {
            return Ok(());
        };
        let commands = running.commands;
        let answers = match outcome {
            Err(status) if commands.len() > 1 && depends_on_how_many(&status) => {
                let login = self.login.as_ref().ok_or(End::Closed)?;
                one_by_one(&login.account, &commands).await
            }
            outcome => answers(&commands, outcome),
        };
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
        }
        Ok(())
    }
}

async fn one_by_one(account: &Arc<Account>, commands: &[Waiting]) -> Vec<Answer> {
    let mut all = Vec::with_capacity(commands.len());
    for command in commands {
        let one = std::slice::from_ref(command);
        if let Some(call) = call(one) {
            let outcome = append::store(Arc::clone(account), call).await;
            all.extend(answers(one, outcome));
        }
    }
    all
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
