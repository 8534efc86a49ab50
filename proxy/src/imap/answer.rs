//! How a command ends: its tagged response, or the end of the connection.

use std::borrow::Cow;
use std::io;

use rookery_mail::imap::encode::{Condition, ResponseCode, tagged};
use rookery_mail::imap::types::{Tag, Uid};
use rookery_proto::{Reason, Status};

/// A response code that owns what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Code {
    /// One without lists.
    Plain(ResponseCode<'static>),
    /// CAPABILITY
    Capability(String),
    /// APPENDUID
    AppendUid { validity: u32, uids: Vec<Uid> },
    /// COPYUID
    CopyUid {
        validity: u32,
        source: Vec<Uid>,
        target: Vec<Uid>,
    },
}

/// A tagged response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// OK, NO or BAD.
    pub condition: Condition,
    /// The code in brackets.
    pub code: Option<Code>,
    /// For people.
    pub text: Cow<'static, str>,
}

impl Answer {
    /// OK.
    pub(super) fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            condition: Condition::Ok,
            code: None,
            text: text.into(),
        }
    }

    /// NO.
    pub(super) fn no(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            condition: Condition::No,
            code: None,
            text: text.into(),
        }
    }

    /// BAD.
    pub(super) fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            condition: Condition::Bad,
            code: None,
            text: text.into(),
        }
    }

    /// With a response code.
    pub(super) fn code(mut self, code: ResponseCode<'static>) -> Self {
        self.code = Some(Code::Plain(code));
        self
    }

    /// With a response code that has lists.
    pub(super) fn lists(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// Writes it.
    pub(super) fn write(&self, out: &mut Vec<u8>, tag: &Tag) {
        let code = match &self.code {
            None => None,
            Some(Code::Plain(code)) => Some(*code),
            Some(Code::Capability(text)) => Some(ResponseCode::Capability(text)),
            Some(Code::AppendUid { validity, uids }) => Some(ResponseCode::AppendUid {
                validity: *validity,
                uids,
            }),
            Some(Code::CopyUid {
                validity,
                source,
                target,
            }) => Some(ResponseCode::CopyUid {
                validity: *validity,
                source,
                target,
            }),
        };
        tagged(out, tag, self.condition, code.as_ref(), &self.text);
    }
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client closed it, or LOGOUT was answered.
    #[error("closed")]
    Closed,
    /// The client is told why by an untagged BYE.
    #[error("{0}")]
    Bye(&'static str),
    /// Nothing more can be said, not even BYE: a literal was begun and cannot be finished.
    #[error("a response could not be finished: {0}")]
    Broken(String),
    /// The client did not take what was sent.
    #[error("the client does not read")]
    WriteTimeout,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl End {
    /// The proxy shuts down.
    pub(super) const SHUTDOWN: Self = Self::Bye("the server is going down, come back soon");

    /// The account was suspended or deleted, or has another password.
    pub(super) const ACCOUNT_CHANGED: Self = Self::Bye("the account was changed, log in again");
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is refused.
    Refused(Answer),
    /// The connection ends.
    Ended(End),
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

impl From<Answer> for Failure {
    fn from(answer: Answer) -> Self {
        Self::Refused(answer)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(refusal(&status))
    }
}

/// What the client hears when a call failed. RFC 5530 §3. The status's own message is for the log.
pub(super) fn refusal(status: &Status) -> Answer {
    let (code, text) = match status.reason {
        Reason::Unavailable
        | Reason::DeadlineExceeded
        | Reason::Cancelled
        | Reason::NotLeader
        | Reason::WrongGeneration
        | Reason::Moved
        | Reason::Frozen
        | Reason::Replan
        | Reason::ExpiredKey => (ResponseCode::Unavailable, "temporarily unavailable, try again"),
        Reason::NoSpace => (
            ResponseCode::Unavailable,
            "no room for anything new, try again later",
        ),
        Reason::Damaged => (
            ResponseCode::Unavailable,
            "this is damaged on the server's disk, and its operator has been told",
        ),
        Reason::OverQuota => (ResponseCode::OverQuota, "the account is over its quota"),
        Reason::LimitExceeded => (ResponseCode::Limit, "a limit was reached"),
        Reason::NoMailbox | Reason::NotFound => (ResponseCode::Nonexistent, "no such mailbox"),
        Reason::MailboxExists | Reason::AlreadyExists => (ResponseCode::AlreadyExists, "the mailbox exists"),
        Reason::MailboxRefused | Reason::InvalidArgument | Reason::FailedPrecondition => {
            (ResponseCode::Cannot, "not possible")
        }
        Reason::NoMessage => (ResponseCode::Nonexistent, "no such message"),
        Reason::PermissionDenied => (ResponseCode::NoPerm, "not allowed"),
        Reason::BadCredentials => (ResponseCode::AuthenticationFailed, "wrong user name or password"),
        Reason::Suspended | Reason::NoAccount => (ResponseCode::ContactAdmin, "the account cannot be used"),
        _ => (ResponseCode::ServerBug, "internal error"),
    };
    if code == ResponseCode::ServerBug {
        tracing::error!(%status, "a call failed");
    } else {
        tracing::debug!(%status, "a call was refused");
    }
    Answer::no(text).code(code)
}

/// The same for a mailbox that a message goes to: the client may create it and try again. RFC 3501 §6.3.11.
pub(super) fn refusal_try_create(status: &Status) -> Answer {
    match status.reason {
        Reason::NoMailbox => no_target(),
        _ => refusal(status),
    }
}

/// There is no mailbox to put messages into.
pub(super) fn no_target() -> Answer {
    Answer::no("no such mailbox").code(ResponseCode::TryCreate)
}
