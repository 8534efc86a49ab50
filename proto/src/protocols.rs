//! The protocols that run over the call model.

use crate::call::Protocol;
use crate::{directory, mailstore};

/// Calls on a mailstore node (`rookery.mailstore.v1`).
#[derive(Debug, Clone, Copy)]
pub struct MailstoreProtocol;

impl Protocol for MailstoreProtocol {
    type Request = mailstore::v1::Request;
    type Reply = mailstore::v1::Reply;
    const NAME: &'static str = "mailstore";
}

/// Calls on a directory member (`rookery.directory.v1`).
#[derive(Debug, Clone, Copy)]
pub struct DirectoryProtocol;

impl Protocol for DirectoryProtocol {
    type Request = directory::v1::Request;
    type Reply = directory::v1::Reply;
    const NAME: &'static str = "directory";
}
