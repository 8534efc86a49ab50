//! From a whole command to its answer: parse, check the state, run, tell what has changed, answer.

use std::time::Instant;

use rookery_mail::imap::encode::{Condition, ResponseCode, tagged, untagged};
use rookery_mail::imap::frame::RawCommand;
use rookery_mail::imap::parse::{CommandError, ErrorKind, parse_command};
use rookery_mail::imap::types::{Command, CommandBody, Numbering, Tag};
use rookery_process::traces::{self, Traced};

use super::Client;
use crate::imap::answer::{Answer, Code, End, Failure};
use crate::imap::session::{Expunges, State, state};
use crate::imap::{cmd, measure};

/// Charsets named to a client that searched in an unknown one; there are many more.
const CHARSETS: [&str; 3] = ["UTF-8", "US-ASCII", "ISO-8859-1"];

/// Runs one command and answers it. Gives the condition of the answer; none when it is an APPEND that is to be answered
/// later.
pub(super) async fn command(client: &mut Client, raw: &RawCommand) -> Result<Option<Condition>, End> {
    let parsed = parse_command(raw);
    if !matches!(
        &parsed,
        Ok(Command {
            body: CommandBody::Append { .. },
            ..
        })
    ) {
        client.settle_appends().await?;
    }
    let began = Instant::now();
    let Command { tag, body } = match parsed {
        Ok(command) => command,
        Err(error) => {
            client.appending = None;
            let condition = not_understood(client, &error);
            measure::command("other", condition, began.elapsed());
            return Ok(Some(condition));
        }
    };
    let name = state::name(&body);
    if let Err(reason) = client.state().allows(&body) {
        client.appending = None;
        tagged(&mut client.wire.output, &tag, Condition::Bad, None, reason);
        measure::command(name, Condition::Bad, began.elapsed());
        return Ok(Some(Condition::Bad));
    }
    let traced = match body {
        // It may last for half an hour: each look that it takes is traced by itself.
        CommandBody::Idle => Traced::none(),
        _ => client.origin.begin(name),
    };
    if let Some(login) = client.login.as_ref().filter(|_| traced.is_traced()) {
        traced.account(login.account.id());
    }
    traced.run(answered(client, name, body, &tag, began)).await
}

/// Runs a command that may be run, and answers it.
async fn answered(
    client: &mut Client,
    name: &'static str,
    body: CommandBody,
    tag: &Tag,
    began: Instant,
) -> Result<Option<Condition>, End> {
    let sync = Sync::of(&body);
    let answer = match run(client, body, tag, began).await {
        Ok(Some(answer)) => answer,
        Ok(None) => return Ok(None),
        Err(Failure::Refused(answer)) => answer,
        Err(Failure::Ended(end)) => return Err(end),
    };
    // A shard that has just been waited for in vain is not asked for news as well.
    let is_away = answer.code == Some(Code::Plain(ResponseCode::Unavailable));
    if client.state() == State::Selected
        && !is_away
        && let Some(expunges) = sync.expunges
    {
        Box::pin(client.sync(expunges, sync.look)).await?;
    }
    answer.write(&mut client.wire.output, tag);
    client.standing.is(client.state());
    tracing::debug!(command = name, outcome = ?answer.condition, "IMAP command");
    measure::command(name, answer.condition, began.elapsed());
    traces::current().outcome(measure::outcome(answer.condition));
    Ok(Some(answer.condition))
}

fn not_understood(client: &mut Client, error: &CommandError) -> Condition {
    let (condition, code) = match error.kind {
        ErrorKind::Syntax => (Condition::Bad, None),
        ErrorKind::BadCharset => (Condition::No, Some(ResponseCode::BadCharset(&CHARSETS))),
        ErrorKind::BadUse => (Condition::No, Some(ResponseCode::UseAttr)),
    };
    let out = &mut client.wire.output;
    match &error.tag {
        Some(tag) => tagged(out, tag, condition, code.as_ref(), &error.reason),
        None => untagged(out, condition, code.as_ref(), &error.reason),
    }
    condition
}

/// What may be told with the answer to a command.
struct Sync {
    /// Absent: nothing.
    expunges: Option<Expunges>,
    /// Whether to ask the shard even if the feed has said nothing: the client asked for news, or made some.
    look: bool,
}

impl Sync {
    fn of(body: &CommandBody) -> Self {
        let (expunges, look) = match body {
            // RFC 3501 §7.4.1.
            CommandBody::Fetch { numbering: Numbering::Sequence, .. }
            | CommandBody::Store { numbering: Numbering::Sequence, .. }
            | CommandBody::Search { numbering: Numbering::Sequence, .. } => (Some(Expunges::Held), false),
            CommandBody::Select(_)
            | CommandBody::Examine(_)
            | CommandBody::Close
            | CommandBody::Unselect
            | CommandBody::Logout
            // Tells what it has to tell while it lasts.
            | CommandBody::Idle => (None, false),
            CommandBody::Noop
            | CommandBody::Check
            | CommandBody::Append { .. }
            | CommandBody::Copy { .. }
            | CommandBody::Move { .. } => (Some(Expunges::Told), true),
            _ => (Some(Expunges::Told), false),
        };
        Self { expunges, look }
    }
}

/// Each command in a box of its own, so that none costs more than it needs while it waits. No answer: it follows later.
async fn run(
    client: &mut Client,
    body: CommandBody,
    tag: &Tag,
    began: Instant,
) -> Result<Option<Answer>, Failure> {
    let answer = match body {
        CommandBody::Append { messages, .. } => {
            Box::pin(client.append(tag, &messages, began)).await?;
            return Ok(None);
        }
        CommandBody::Capability => Ok(cmd::capability::run(client)),
        CommandBody::Noop | CommandBody::Check => Ok(cmd::noop::run()),
        CommandBody::Logout => Ok(Box::pin(cmd::logout::run(client)).await),
        CommandBody::StartTls => Ok(cmd::starttls::run(client)),
        CommandBody::Authenticate {
            mechanism,
            initial_response,
        } => Box::pin(cmd::authenticate::run(client, &mechanism, initial_response)).await,
        CommandBody::Login { username, password } => {
            Box::pin(cmd::login::run(client, &username, &password)).await
        }
        CommandBody::Enable(_) => Ok(cmd::enable::run(client)),
        CommandBody::Id(pairs) => Ok(cmd::id::run(client, &pairs)),
        CommandBody::Namespace => Ok(cmd::namespace::run(client)),
        CommandBody::Select(name) => Box::pin(cmd::select::run(client, &name, false)).await,
        CommandBody::Examine(name) => Box::pin(cmd::select::run(client, &name, true)).await,
        CommandBody::Create { mailbox, special_use } => {
            Box::pin(cmd::create::run(client, &mailbox, &special_use)).await
        }
        CommandBody::Delete(name) => Box::pin(cmd::delete::run(client, &name)).await,
        CommandBody::Rename { from, to } => Box::pin(cmd::rename::run(client, &from, &to)).await,
        CommandBody::Subscribe(name) => Box::pin(cmd::subscribe::run(client, &name, true)).await,
        CommandBody::Unsubscribe(name) => Box::pin(cmd::subscribe::run(client, &name, false)).await,
        CommandBody::List(list) => Box::pin(cmd::list::run(client, &list)).await,
        CommandBody::Lsub { reference, pattern } => {
            Box::pin(cmd::lsub::run(client, &reference, &pattern)).await
        }
        CommandBody::Status { mailbox, items } => Box::pin(cmd::status::run(client, &mailbox, &items)).await,
        CommandBody::Idle => Box::pin(cmd::idle::run(client)).await,
        CommandBody::Close => Box::pin(cmd::close::run(client)).await,
        CommandBody::Unselect => Ok(Box::pin(cmd::unselect::run(client)).await),
        CommandBody::Expunge { uids } => Box::pin(cmd::expunge::run(client, uids.as_ref())).await,
        CommandBody::Search { numbering, search } => {
            Box::pin(cmd::search::run(client, tag, numbering, &search)).await
        }
        CommandBody::Fetch {
            numbering,
            set,
            items,
        } => Box::pin(cmd::fetch::run(client, numbering, &set, items)).await,
        CommandBody::Store {
            numbering,
            set,
            action,
            silent,
            flags,
        } => Box::pin(cmd::store::run(client, numbering, &set, action, silent, &flags)).await,
        CommandBody::Copy {
            numbering,
            set,
            mailbox,
        } => Box::pin(cmd::copy::run(client, numbering, &set, &mailbox)).await,
        CommandBody::Move {
            numbering,
            set,
            mailbox,
        } => Box::pin(cmd::r#move::run(client, numbering, &set, &mailbox)).await,
        CommandBody::Unknown { .. } => Ok(Answer::bad("unknown command")),
    };
    answer.map(Some)
}
