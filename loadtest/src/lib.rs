//! Load tester for IMAP, SMTP, submission and LMTP servers, and for the directory's calls.

pub mod directory;
