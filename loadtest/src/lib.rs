//! Load tester for IMAP, SMTP, submission and LMTP servers.
