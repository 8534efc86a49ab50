//! SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033) for mail on its way in.
//!
//! The grammar and the session are in `rookery_mail::smtp`. Here are the connection ([`connection`]: reads, writes, times
//! out), the way of a message to the shards of its recipients ([`delivery`]), and the draining of what could not be
//! stored at once ([`handoff`]). Nothing here says `250` to content that is not stored durably.

pub mod connection;
mod delivery;
pub mod handoff;
mod measure;
pub mod options;

#[cfg(test)]
mod tests;

pub use connection::{serve, serve_stream};
pub use handoff::HandOffOptions;
pub use options::{SmtpContext, SmtpOptions};
pub use rookery_mail::smtp::session::Kind;
