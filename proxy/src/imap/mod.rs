//! IMAP4rev1 (RFC 3501) for mail clients.
//!
//! The grammar is in `rookery_mail::imap`. Here are the session ([`session`]: what is legal now, the client's view of the
//! selected mailbox; pure), the commands ([`cmd`]: one file each, from the parsed command to its responses) and the
//! connection ([`connection`]: reads, writes, times out). Nothing here outlives a client's connection.

mod answer;
mod capability;
mod cmd;
pub mod connection;
mod measure;
pub mod options;
pub mod session;
pub mod slowing;

pub use connection::{ClientStream, Peer, serve, serve_stream};
pub use options::{ImapContext, ImapOptions};
pub use slowing::LoginSlowing;
