//! Calls between roles.
//!
//! Owns the protobuf packages, the call model ([`call`]) with its two transports ([`local`] and [`remote`]), a caller of
//! whichever member leads ([`elected`]), the status that all speak ([`status`]), and how rows of a store travel ([`rows`]).
//! Knows nothing of mail formats, storage or sockets of mail clients.

pub mod call;
mod call_names;
pub mod elected;
pub mod local;
pub mod protocols;
pub mod remote;
pub mod rows;
pub mod status;

/// Generated code of the `rookery.frame.v1` package.
pub mod frame {
    /// Version 1.
    #[allow(missing_docs, clippy::all, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("rookery.frame.v1");
    }
}

/// Generated code of the `rookery.mailstore.v1` package.
pub mod mailstore {
    /// Version 1.
    #[allow(missing_docs, clippy::all, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("rookery.mailstore.v1");
    }
}

/// Generated code of the `rookery.directory.v1` package.
pub mod directory {
    /// Version 1.
    #[allow(missing_docs, clippy::all, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("rookery.directory.v1");
    }
}

/// Generated code of the `rookery.admin.v1` package.
pub mod admin {
    /// Version 1.
    #[allow(missing_docs, clippy::all, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("rookery.admin.v1");
    }
}

/// Generated code of the `rookery.replication.v1` package.
pub mod replication {
    /// Version 1.
    #[allow(missing_docs, clippy::all, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("rookery.replication.v1");
    }
}

pub use call::{
    Body, Call, CallContext, Caller, Incoming, Peer, Protocol, REPLY_BYTES_MAX, Replies, ReplySink, Role,
    Service,
};
pub use protocols::{DirectoryProtocol, MailstoreProtocol, ReplicationProtocol};
pub use status::{Reason, Status};
