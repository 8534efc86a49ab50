//! `make accounts`: fills a directory with many accounts, measures it, and prints the tables of `docs/scale.md`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rookery_tests::directory_scale::{Options, run};

/// How often it is told how far the loading is, in accounts.
const TOLD_EVERY: u64 = 500_000;

/// Fill a directory with many accounts and measure it
#[derive(Debug, Parser)]
struct Arguments {
    /// Accounts
    #[arg(long, default_value_t = 10_000_000)]
    accounts: u64,
    /// Calls that load at a time
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// Lookups in flight at a time; each number is measured by itself
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    in_flight: Vec<usize>,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Watchers
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// Connections that they share
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Changes that they are told of
    #[arg(long, default_value_t = 50)]
    changes: usize,
    /// Starts of each kind
    #[arg(long, default_value_t = 3)]
    starts: usize,
    /// Starts with an empty page cache as well; needs root
    #[arg(long)]
    cold: bool,
    /// A command that waits until the machine is quiet; run when all is loaded
    #[arg(long, value_delimiter = ' ')]
    before_measuring: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        accounts: arguments.accounts,
        streams: arguments.streams,
        in_flight: arguments.in_flight,
        time: Duration::from_secs_f64(arguments.seconds),
        rounds: arguments.rounds,
        watchers: arguments.watchers,
        connections: arguments.connections,
        changes: arguments.changes,
        starts: arguments.starts,
        cold: arguments.cold,
        before_measuring: arguments.before_measuring,
        progress: |live| {
            if live % TOLD_EVERY == 0 {
                say(&format!("{live} accounts are live"));
            }
        },
    };
    match run(&options) {
        Ok(figures) => {
            say(&figures.to_string());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("{error:?}"));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    // Nobody reading is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{text}");
}
