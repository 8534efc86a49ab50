//! Stateless protocol proxies: IMAP, SMTP, submission and LMTP.
//!
//! A proxy owns its clients' connections and sessions, and nothing that must outlive them. It looks accounts up in the
//! directory, calls the mailstore node that leads the account's shard ([`route`]), and encodes the answers.

pub mod catalogue;
pub mod config;
pub mod imap;
pub mod net;
pub mod node;
pub mod route;
pub mod smtp;
