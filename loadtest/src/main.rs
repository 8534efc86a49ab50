//! `rookery-loadtest`: loads mail servers by IMAP, SMTP, submission and LMTP, and tells what they did.
//!
//! Exits 0 when all went well, 1 when an answer was wrong or something was lost, 2 when it was used wrongly.

mod command;
mod compare;
mod corpus;
mod cost;
mod figures;
mod imap;
#[cfg(test)]
mod mock;
mod oracle;
mod profile;
mod progress;
mod recorder;
mod report;
mod run;
mod schedule;
mod session;
mod smtp;
mod target;
mod timer;
mod tls;
mod wire;
mod workload;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use command::{Arguments, WrongUse};

fn main() -> ExitCode {
    match command::run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::from(if error.is::<WrongUse>() { 2 } else { 1 })
        }
    }
}

/// The whole chain, each cause on a line of its own.
fn complain(error: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    // There is nobody left to tell.
    let _ = writeln!(out, "rookery-loadtest: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(out, "  because: {cause}");
    }
}
