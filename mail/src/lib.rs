//! Pure mail formats: IMAP and SMTP grammars, MIME, SASL, addresses; no I/O.

pub mod mime;
pub mod imap;
