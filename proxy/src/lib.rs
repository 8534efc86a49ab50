//! Stateless IMAP, SMTP, submission and LMTP proxies.
