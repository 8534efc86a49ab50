//! Dialogues of SMTP, submission and LMTP: what a client sends and exactly what it is answered.

mod commands;
mod content;
mod login;
mod script;
#[path = "../support/smtp_server.rs"]
mod smtp_server;
