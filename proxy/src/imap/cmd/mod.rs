//! The commands, one file each: from the parsed command to its responses.
//!
//! A command writes its untagged responses into the client's output and returns the tagged one. It makes calls on the
//! account's shard and never touches the socket but to hand over output that grew large.

pub(super) mod append;
pub(super) mod authenticate;
pub(super) mod capability;
pub(super) mod close;
pub(super) mod copy;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod enable;
pub(super) mod expunge;
pub(super) mod fetch;
mod fetch_plan;
mod fetch_rows;
pub(super) mod id;
pub(super) mod idle;
pub(super) mod list;
pub(super) mod login;
pub(super) mod logout;
pub(super) mod lsub;
mod mailboxes;
pub(super) mod r#move;
pub(super) mod namespace;
pub(super) mod noop;
pub(super) mod rename;
pub(super) mod search;
pub(super) mod select;
pub(super) mod starttls;
pub(super) mod status;
pub(super) mod store;
pub(super) mod subscribe;
pub(super) mod unselect;

use rookery_proto::Status;

use super::answer::{Answer, Failure};
use super::session::view::NoSuchNumber;

/// The mailstore answered a call with something else.
fn unexpected() -> Failure {
    Status::internal("the mailstore answered with something else").into()
}

impl From<NoSuchNumber> for Failure {
    fn from(_: NoSuchNumber) -> Self {
        Answer::bad("no message has such a number").into()
    }
}
