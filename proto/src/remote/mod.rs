//! The transport between processes: frames of many calls over a few long-lived HTTP/2 streams, inside mutual TLS.
//!
//! [`connect`] gives a [`Remote`], the caller's side; [`Server`] is the callee's side. Both sides keep every queue within
//! the limits of [`limits`], and no call can make another of the same stream wait for its reader. Knows nothing of what
//! the calls mean.

mod inbox;
pub mod limits;
pub mod names;
mod outbox;
pub mod tls;

mod client;
mod server;

pub use client::{ConnectOptions, Endpoint, Remote, WhenDown, connect};
pub use server::{ConnectedPeer, Served, Server, ServerOptions, peer_of};
pub use tls::{NodeTls, TlsError};

use tonic::service::RoutesBuilder;

use crate::call::Protocol;
use crate::{DirectoryProtocol, MailstoreProtocol, ReplicationProtocol};

/// A protocol that has a tonic service which carries its frames.
pub trait RemoteProtocol: Protocol {
    /// The HTTP/2 path of the service's `Calls` method.
    const PATH: &'static str;

    /// Adds the tonic service.
    fn add_to(routes: &mut RoutesBuilder, served: Served<Self>)
    where
        Self: Sized;
}

impl RemoteProtocol for MailstoreProtocol {
    const PATH: &'static str = "/rookery.mailstore.v1.Mailstore/Calls";

    fn add_to(routes: &mut RoutesBuilder, served: Served<Self>) {
        let service = crate::mailstore::v1::mailstore_server::MailstoreServer::new(served);
        routes.add_service(service.max_decoding_message_size(limits::BATCH_BYTES_MAX));
    }
}

impl RemoteProtocol for DirectoryProtocol {
    const PATH: &'static str = "/rookery.directory.v1.Directory/Calls";

    fn add_to(routes: &mut RoutesBuilder, served: Served<Self>) {
        let service = crate::directory::v1::directory_server::DirectoryServer::new(served);
        routes.add_service(service.max_decoding_message_size(limits::BATCH_BYTES_MAX));
    }
}

impl RemoteProtocol for ReplicationProtocol {
    const PATH: &'static str = "/rookery.replication.v1.Replication/Calls";

    fn add_to(routes: &mut RoutesBuilder, served: Served<Self>) {
        let service = crate::replication::v1::replication_server::ReplicationServer::new(served);
        routes.add_service(service.max_decoding_message_size(limits::BATCH_BYTES_MAX));
    }
}
