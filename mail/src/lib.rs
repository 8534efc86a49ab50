//! Pure mail formats: IMAP and SMTP grammars, MIME, SASL, addresses; no I/O.

pub mod imap;
pub mod mime;
