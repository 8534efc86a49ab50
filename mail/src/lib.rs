//! Pure mail formats: IMAP and SMTP grammars, MIME, SASL, addresses; no I/O.

pub mod address;
pub mod imap;
pub mod mime;
pub mod sasl;
pub mod smtp;
