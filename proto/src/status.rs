//! Why a call failed: a machine-readable reason and a sentence for people.

use std::fmt;

pub use crate::frame::v1::Reason;
use crate::frame::v1::Status as WireStatus;

/// The error of every call, the same in both transports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What a program decides by.
    pub reason: Reason,
    /// What a person reads: what, why, what to do. Holds no secrets and no message content.
    pub message: String,
    /// With [`Reason::NotLeader`]: the node that leads, when known; of a directory it is the address. With
    /// [`Reason::Unavailable`] a directory that leads names its own address, so that nobody looks further. Else empty.
    pub leader: String,
}

impl Status {
    /// A status with a reason and a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            leader: String::new(),
        }
    }

    /// A defect of the callee.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::Internal, message)
    }

    /// The callee, or what it needs, cannot be reached now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::Unavailable, message)
    }

    /// The request can never be right.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidArgument, message)
    }

    /// Whether the same call, with the same idempotency key, may succeed later or elsewhere.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.reason,
            Reason::Unavailable
                | Reason::NotLeader
                | Reason::WrongGeneration
                | Reason::Frozen
                | Reason::Replan
        )
    }

    /// What traces say of it: the reason alone, since a message may name an address; and whether it is trouble of the cluster rather
    /// than an answer.
    pub fn for_traces(&self) -> (&'static str, bool) {
        let is_trouble = matches!(
            self.reason,
            Reason::Unspecified
                | Reason::Internal
                | Reason::Unavailable
                | Reason::DeadlineExceeded
                | Reason::Unimplemented
                | Reason::NoSpace
                | Reason::Damaged
        );
        let name = self.reason.as_str_name();
        (name.strip_prefix("REASON_").unwrap_or(name), is_trouble)
    }
}

/// What may become of a call, as metrics name it; see [`outcome`].
pub const OUTCOMES: [&str; 31] = [
    "OK",
    "REASON_UNSPECIFIED",
    "REASON_INTERNAL",
    "REASON_UNAVAILABLE",
    "REASON_DEADLINE_EXCEEDED",
    "REASON_CANCELLED",
    "REASON_INVALID_ARGUMENT",
    "REASON_LIMIT_EXCEEDED",
    "REASON_PERMISSION_DENIED",
    "REASON_NOT_LEADER",
    "REASON_WRONG_GENERATION",
    "REASON_MOVED",
    "REASON_FROZEN",
    "REASON_REPLAN",
    "REASON_OVER_QUOTA",
    "REASON_NO_ACCOUNT",
    "REASON_NO_MAILBOX",
    "REASON_MAILBOX_EXISTS",
    "REASON_MAILBOX_REFUSED",
    "REASON_NO_MESSAGE",
    "REASON_EXPIRED_KEY",
    "REASON_NOT_FOUND",
    "REASON_ALREADY_EXISTS",
    "REASON_BAD_CREDENTIALS",
    "REASON_SUSPENDED",
    "REASON_ALIAS_LOOP",
    "REASON_NOT_LOCAL",
    "REASON_FAILED_PRECONDITION",
    "REASON_UNIMPLEMENTED",
    "REASON_NO_SPACE",
    "REASON_DAMAGED",
];

/// What became of a call: one of [`OUTCOMES`].
pub fn outcome<T>(result: &Result<T, Status>) -> &'static str {
    match result {
        Ok(_) => OUTCOMES[0],
        Err(status) => status.reason.as_str_name(),
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.reason.as_str_name().trim_start_matches("REASON_");
        write!(f, "{name}: {}", self.message)
    }
}

impl std::error::Error for Status {}

impl From<WireStatus> for Status {
    fn from(wire: WireStatus) -> Self {
        Self {
            reason: wire.reason(),
            message: wire.message,
            leader: wire.leader,
        }
    }
}

impl From<Status> for WireStatus {
    fn from(status: Status) -> Self {
        Self {
            reason: status.reason.into(),
            message: status.message,
            leader: status.leader,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_an_outcome() {
        let reasons = (0..).map_while(|number| Reason::try_from(number).ok());
        let names: Vec<&str> = reasons.map(|reason| reason.as_str_name()).collect();
        assert_eq!(OUTCOMES[1..], names);
    }
}
