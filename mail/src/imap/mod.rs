//! IMAP4rev1 (RFC 3501) with the extensions that Rookery speaks: framing, grammar and encoding.
//!
//! Bytes become a [`frame::RawCommand`] in [`frame`], that becomes a [`types::Command`] in [`parse`], and answers
//! are written by [`encode`]. Nothing here does I/O, knows a session's state, or panics on input.

pub mod encode;
pub mod frame;
pub mod fuzz;
pub mod parse;
pub mod pattern;
pub mod types;
