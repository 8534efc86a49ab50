//! Listeners for mail clients: bind, accept, bound the number of connections, hand each to its protocol.
//!
//! Never reads a byte of a protocol, except that a load balancer's header is read where one is due, and that a listener with
//! implicit TLS completes the handshake first.

pub mod header;
pub mod limits;
pub mod listener;
pub mod network;

pub use limits::{ConnectionLimits, Slot};
pub use listener::{Accepted, Listener, Wire};
pub use network::{Network, NetworkError};
