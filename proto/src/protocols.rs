//! The protocols that run over the call model.

use crate::call::Protocol;
use crate::{directory, mailstore, replication};

/// Calls on a mailstore node (`rookery.mailstore.v1`).
#[derive(Debug, Clone, Copy)]
pub struct MailstoreProtocol;

impl Protocol for MailstoreProtocol {
    type Request = mailstore::v1::Request;
    type Reply = mailstore::v1::Reply;
    const NAME: &'static str = "mailstore";

    fn is_bulk(request: &Self::Request) -> bool {
        use mailstore::v1::request::Call;
        match &request.call {
            // Parts of messages; what is read from the row alone (flags, ENVELOPE) stays interactive.
            Some(Call::Fetch(fetch)) => !fetch.sections.is_empty(),
            Some(
                Call::Append(_)
                | Call::Deliver(_)
                | Call::HandOff(_)
                | Call::LeaseHandOffs(_)
                | Call::ExportShard(_)
                | Call::CompareReplicas(_),
            ) => true,
            _ => false,
        }
    }
}

/// Calls on a directory member (`rookery.directory.v1`).
#[derive(Debug, Clone, Copy)]
pub struct DirectoryProtocol;

impl Protocol for DirectoryProtocol {
    type Request = directory::v1::Request;
    type Reply = directory::v1::Reply;
    const NAME: &'static str = "directory";

    fn is_for_any_member(request: &Self::Request) -> bool {
        use directory::v1::request::Call;
        matches!(
            &request.call,
            Some(Call::ResolveRecipient(_) | Call::Authenticate(_) | Call::RenewToken(_))
        )
    }
}

/// Calls between nodes that hold replicas of the same groups (`rookery.replication.v1`).
#[derive(Debug, Clone, Copy)]
pub struct ReplicationProtocol;

impl Protocol for ReplicationProtocol {
    type Request = replication::v1::Request;
    type Reply = replication::v1::Reply;
    const NAME: &'static str = "replication";

    fn is_bulk(request: &Self::Request) -> bool {
        use replication::v1::request::Call;
        // Snapshots must not hold up entries, votes and beats.
        matches!(&request.call, Some(Call::ReadSnapshot(_)))
    }
}
