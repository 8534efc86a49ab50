//! What each command does to a session, one file a command: from the parsed command to the reply.
//! The commands without state (NOOP, HELP, VRFY, EXPN, QUIT) are answered in the session itself.

mod auth;
mod bdat;
mod data;
mod hello;
mod mail;
mod rcpt;
mod rset;
mod starttls;
