//! Listeners for mail clients: bind, accept, bound the number of connections, hand each to its protocol.
//!
//! Never reads a byte of a protocol, except that a listener with implicit TLS completes the handshake first.

pub mod limits;
pub mod listener;

pub use limits::{ConnectionLimits, Slot};
pub use listener::{Accepted, Listener, Wire};
