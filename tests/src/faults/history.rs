//! What clients did and what they were told: the one thing, beside the state at the end, that verdicts rest on.
//!
//! Times are nanoseconds since the history began, on this machine's clock. An operation took effect, if it did, at some
//! moment from `invoked` to `completed`; one whose outcome is unknown at any moment after `invoked`.

use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

/// An account by its number: 3 is `user3@example.test`.
pub type Account = u32;

/// Nanoseconds since the history began.
pub type Nanos = u64;

/// The mailboxes that are worked in.
pub const MAILBOXES: [&str; 3] = ["INBOX", "Archive", "Drafts"];

/// The flags that are set and removed; `\Deleted` is set alone, when a message is to go.
pub const FLAGS: [&str; 5] = ["\\Seen", "\\Flagged", "\\Answered", "project", "later"];

/// The flag of messages that are to go.
pub const DELETED: &str = "\\Deleted";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Action {
    /// A login; with a mailbox it is another life of a session whose connection was lost.
    Login,
    /// A mailbox is selected.
    Select {
        /// Which.
        mailbox: &'static str,
    },
    /// A message with these flags.
    Append {
        /// Where.
        mailbox: &'static str,
        /// The message's number.
        message: u64,
        /// Its flags.
        flags: Vec<&'static str>,
    },
    /// One recipient of one transaction, by SMTP or LMTP; `account` of the event is the recipient.
    Deliver {
        /// The message's number. A client that was not answered sends it again, in another transaction.
        message: u64,
        /// `smtp` or `lmtp`.
        protocol: &'static str,
    },
    /// `+FLAGS` or `-FLAGS` with one flag.
    Store {
        /// Where.
        mailbox: &'static str,
        /// Which messages.
        uids: Vec<u32>,
        /// Which flag.
        flag: &'static str,
        /// Set or removed.
        set: bool,
    },
    /// To another mailbox.
    Copy {
        /// From.
        mailbox: &'static str,
        /// To.
        target: &'static str,
        /// Which messages.
        uids: Vec<u32>,
    },
    /// To another mailbox.
    Move {
        /// From.
        mailbox: &'static str,
        /// To.
        target: &'static str,
        /// Which messages.
        uids: Vec<u32>,
    },
    /// Messages with `\Deleted` go.
    Expunge {
        /// Where.
        mailbox: &'static str,
        /// Of these alone.
        uids: Option<Vec<u32>>,
    },
    /// Messages are read.
    Fetch {
        /// Where.
        mailbox: &'static str,
    },
    /// An IDLE session ends its life in peace and says what it was told to be in the mailbox.
    Told {
        /// Where.
        mailbox: &'static str,
        /// By sequence number: what flags it was told, if any.
        view: Vec<Option<Vec<String>>>,
        /// What was wrong with what it was told, such as an EXPUNGE of a number that was not there.
        faults: Vec<String>,
    },
    /// What changed after a modseq is asked for.
    Changes {
        /// Where.
        mailbox: &'static str,
        /// The modseq.
        since: u64,
        /// Asked at the end, for what was seen at `since`.
        closing: bool,
    },
}

impl Action {
    /// A word for tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Login => "login",
            Action::Select { .. } => "select",
            Action::Append { .. } => "append",
            Action::Deliver { protocol, .. } => protocol,
            Action::Store { .. } => "store",
            Action::Copy { .. } => "copy",
            Action::Move { .. } => "move",
            Action::Expunge { .. } => "expunge",
            Action::Fetch { .. } => "fetch",
            Action::Told { .. } => "idle",
            Action::Changes { .. } => "changes",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// Acknowledged.
    Ok,
    /// Refused for good: it had no effect.
    Refused(String),
    /// Told to try later, or told nothing: it may have had its effect, once.
    Unknown(String),
}

impl Outcome {
    /// Whether it was acknowledged.
    pub fn is_ok(&self) -> bool {
        *self == Outcome::Ok
    }

    /// Whether it may have had an effect.
    pub fn may_count(&self) -> bool {
        !matches!(self, Outcome::Refused(_))
    }
}

/// A message as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its UID.
    pub uid: u32,
    /// Its number, when its header was fetched.
    pub message: Option<u64>,
    /// Its flags, when they were fetched.
    pub flags: Option<Vec<String>>,
    /// Its modseq, when it was told.
    pub modseq: Option<u64>,
    /// Whether its text is what was sent, when it was fetched.
    pub whole: Option<bool>,
}

/// What was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// APPENDUID's UID with 0 before it, or COPYUID's pairs.
    pub uids: Vec<(u32, u32)>,
    /// Messages.
    pub rows: Vec<Row>,
    /// UIDs that were told to have gone.
    pub vanished: Vec<u32>,
    /// UIDVALIDITY of the mailbox, of the target for APPEND, COPY and MOVE.
    pub uid_validity: Option<u32>,
    /// UIDNEXT.
    pub uid_next: Option<u32>,
    /// Modseq of the mailbox.
    pub highest_modseq: Option<u64>,
    /// All rows of the mailbox are there: what was known before is void.
    pub complete: bool,
}

/// One operation.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Which client.
    pub session: u32,
    /// Whose mail.
    pub account: Account,
    /// When it was sent.
    pub invoked: Nanos,
    /// When it was answered or given up.
    pub completed: Nanos,
    /// What was asked for.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// What was answered.
    pub answer: Answer,
}

/// A connection that ended without its client's wish.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    /// Which client.
    pub session: u32,
    /// Position of the proxy.
    pub proxy: usize,
    /// When it was last heard to live.
    pub since: Nanos,
    /// When the loss was seen.
    pub at: Nanos,
    /// What was seen.
    pub error: String,
}

/// A fault that was injected.
#[derive(Debug, Clone, Serialize)]
pub struct FaultSpan {
    /// Its nemesis.
    pub nemesis: &'static str,
    /// In words.
    pub description: String,
    /// The nodes that it struck.
    pub nodes: Vec<String>,
    /// The shards that they led as it struck, when it is about them.
    pub led: Vec<u64>,
    /// When it began to be injected.
    pub from: Nanos,
    /// When it was in force.
    pub struck: Nanos,
    /// When it had been healed.
    pub to: Nanos,
}

/// All that happened, in the order in which it ended.
#[derive(Debug, Default)]
struct Held {
    events: Vec<Event>,
    lost: Vec<Lost>,
}

/// Where clients write down what they do.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    held: Mutex<Held>,
}

/// A history that is complete.
#[derive(Debug, Default, Serialize)]
pub struct History {
    /// All operations.
    pub events: Vec<Event>,
    /// Connections lost.
    pub lost: Vec<Lost>,
    /// Faults, by the nemeses.
    pub faults: Vec<FaultSpan>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            held: Mutex::default(),
        }
    }
}

impl Recorder {
    /// The time now.
    pub fn now(&self) -> Nanos {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    /// Adds an operation that has ended.
    pub fn record(&self, event: Event) {
        self.lock().events.push(event);
    }

    /// Adds the loss of a connection.
    pub fn record_lost(&self, lost: Lost) {
        self.lock().lost.push(lost);
    }

    /// How many operations have ended.
    pub fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// Whether nothing has happened yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has happened, with the faults.
    pub fn finish(&self, faults: Vec<FaultSpan>) -> History {
        let held = std::mem::take(&mut *self.lock());
        History {
            events: held.events,
            lost: held.lost,
            faults,
        }
    }

    /// A look at the operations so far.
    pub fn with_events<T>(&self, look: impl FnOnce(&[Event]) -> T) -> T {
        look(&self.lock().events)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        // A client that panicked has failed the test anyway.
        self.held
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
