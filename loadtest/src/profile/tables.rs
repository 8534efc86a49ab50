//! The tables of a profile: what each workload may be told beside what all are.

use serde::{Deserialize, Serialize};

use crate::target::Protocol;

/// By what messages are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DeliverBy {
    /// RFC 2033.
    Lmtp,
    /// RFC 5321.
    Smtp,
    /// RFC 6409, with a login.
    Submission,
}

impl From<DeliverBy> for Protocol {
    fn from(by: DeliverBy) -> Self {
        match by {
            DeliverBy::Lmtp => Self::Lmtp,
            DeliverBy::Smtp => Self::Smtp,
            DeliverBy::Submission => Self::Submission,
        }
    }
}

/// Of `deliver`, and of the messages that `idle` hears of.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Deliver {
    pub(crate) protocol: DeliverBy,
    /// Recipients of each message.
    pub(crate) recipients: usize,
    /// A new connection after so many; 0: connections stay.
    pub(crate) messages_per_connection: u64,
}

impl Default for Deliver {
    fn default() -> Self {
        Self {
            protocol: DeliverBy::Lmtp,
            recipients: 1,
            messages_per_connection: 0,
        }
    }
}

/// Of `append`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Append {
    /// Messages of each command.
    pub(crate) batch: usize,
    /// Commands that are sent before their answers are read.
    pub(crate) pipelined: usize,
}

impl Default for Append {
    fn default() -> Self {
        Self {
            batch: 1,
            pipelined: 1,
        }
    }
}

/// Of `mixed`: in percent, how likely a session's round holds each command, and comes to it again at once.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mixed {
    pub(crate) list: u32,
    pub(crate) status: u32,
    pub(crate) select: u32,
    pub(crate) fetch: u32,
    pub(crate) fetch_body: u32,
    pub(crate) fetch_body_again: u32,
    pub(crate) store: u32,
    pub(crate) delete: u32,
    pub(crate) expunge: u32,
    pub(crate) append: u32,
    pub(crate) append_again: u32,
    pub(crate) logout: u32,
    /// Messages that each account has before.
    pub(crate) messages: u32,
}

impl Default for Mixed {
    fn default() -> Self {
        Self {
            list: 50,
            status: 50,
            select: 100,
            fetch: 100,
            fetch_body: 100,
            fetch_body_again: 30,
            store: 50,
            delete: 100,
            expunge: 100,
            append: 100,
            append_again: 5,
            logout: 100,
            messages: 30,
        }
    }
}

/// Of `long-lived`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LongLived {
    /// Seconds between two commands of a session, on average.
    pub(crate) seconds_between: f64,
    /// Seconds between the last opening and the measurement of memory.
    pub(crate) settle_seconds: f64,
}

impl Default for LongLived {
    fn default() -> Self {
        Self {
            seconds_between: 60.0,
            settle_seconds: 3.0,
        }
    }
}

/// Of `sync`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sync {
    /// Messages that each account has.
    pub(crate) messages: u32,
    /// Accounts that are synchronised, in turn.
    pub(crate) accounts: u64,
    /// Messages whose bodies are asked for at a time.
    pub(crate) batch: u32,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            messages: 500,
            accounts: 20,
            batch: 100,
        }
    }
}

/// Of `idle`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Idle {
    /// Messages a second of which sessions are to hear; 0: none.
    pub(crate) notify_rate: f64,
    /// Seconds between the last opening and the measurement of memory.
    pub(crate) settle_seconds: f64,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            notify_rate: 20.0,
            settle_seconds: 3.0,
        }
    }
}

/// Of `search`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Search {
    /// Messages of the mailbox that is searched, in each account.
    pub(crate) messages: u32,
    /// Accounts that are searched, in turn.
    pub(crate) accounts: u64,
    /// What is searched for, in turn: `flags`, `from`, `subject`, `since`, `body`, `text`.
    pub(crate) kinds: Vec<SearchKind>,
}

impl Default for Search {
    fn default() -> Self {
        use SearchKind::{Body, Flags, From, Since, Subject, Text};
        Self {
            messages: 1000,
            accounts: 10,
            kinds: vec![Flags, From, Subject, Since, Body, Text],
        }
    }
}

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SearchKind {
    /// Messages that are not flagged: all.
    Flags,
    /// A sender.
    From,
    /// A word of the Subject.
    Subject,
    /// Messages since a day.
    Since,
    /// A word of the text.
    Body,
    /// A word anywhere.
    Text,
}

/// Of `login`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Login {
    /// Whether each session selects INBOX.
    pub(crate) select: bool,
}

impl Default for Login {
    fn default() -> Self {
        Self { select: true }
    }
}

/// Of `big-mailbox`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BigMailbox {
    /// Messages of the mailbox.
    pub(crate) messages: u32,
    /// How often each command is measured in a run.
    pub(crate) repeat: u32,
    /// Messages of each APPEND that fills it.
    pub(crate) batch: usize,
}

impl Default for BigMailbox {
    fn default() -> Self {
        Self {
            messages: 20_000,
            repeat: 3,
            batch: 50,
        }
    }
}
