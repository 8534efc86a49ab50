//! The `rookery` program: every role, the playground, and the operator's commands.
//!
//! Exits 0 when done, 1 when something failed, 2 when it was used wrongly. Errors go to standard error, the first line
//! says what, why and what to do.

mod authority;
mod backup;
mod init;
mod join_token;
mod operate;
mod owner;
mod playground;
mod reference;
mod serve;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use operate::{Connection, Operation};
use reference::Reference;
use serve::Part;
use usage::WrongUse;

/// Keeps threads from waiting for each other's memory, and gives back what a large message or many sessions took.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A mail server for when one machine is no longer enough
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct CommandLine {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a cluster's CA, id and admin token, or a further node's certificate and configuration
    Init(init::Arguments),
    /// Run every role of the configuration in one process
    Serve(RoleArguments),
    /// Run a proxy
    Proxy(RoleArguments),
    /// Run a mailstore
    Mailstore(RoleArguments),
    /// Run a directory
    Directory(RoleArguments),
    /// Start a cluster on this machine, for trying and testing
    Playground(playground::Arguments),
    /// Print or write what is made of the program itself: configuration keys, commands, man pages, completions
    #[command(subcommand)]
    Reference(Reference),
    /// Analyse messages for a mailstore, apart from it
    #[command(hide = true)]
    MimeWorker,
    #[command(flatten)]
    Operate(Operation),
}

#[derive(Debug, Args)]
struct RoleArguments {
    /// Configuration file (TOML)
    #[arg(long)]
    config: PathBuf,
    /// Check the configuration and all files that it names, say whether they are good, and stop. Neither the data folder nor a port is
    /// opened
    #[arg(long)]
    check_config: bool,
    /// Process id of what has started this: stop when it ends
    #[arg(long, hide = true)]
    owner: Option<u32>,
}

impl RoleArguments {
    fn run(&self, part: Part) -> anyhow::Result<()> {
        if self.check_config {
            return serve::check(&self.config, part);
        }
        if let Some(owner) = self.owner {
            owner::stop_with(owner)?;
        }
        serve::run(&self.config, part)
    }
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            if error.is::<WrongUse>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether what went wrong is that nobody reads the output any more, as behind `| head`.
fn is_reader_gone(error: &anyhow::Error) -> bool {
    let output = error.downcast_ref::<std::io::Error>();
    output.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(line: CommandLine) -> anyhow::Result<()> {
    match line.command {
        Command::Init(arguments) => small_runtime()?.block_on(init::run(arguments, line.json)),
        Command::Serve(role) => role.run(Part::All),
        Command::Proxy(role) => role.run(Part::Proxy),
        Command::Mailstore(role) => role.run(Part::Mailstore),
        Command::Directory(role) => role.run(Part::Directory),
        Command::Reference(reference) => reference.run(line.json),
        Command::MimeWorker => serve::mime_worker(),
        Command::Playground(arguments) => small_runtime()?.block_on(playground::run(arguments, line.json)),
        Command::Operate(operation) => {
            small_runtime()?.block_on(operate::run(operation, &line.connection, line.json))
        }
    }
}

fn small_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The whole chain, each cause on a line of its own.
fn complain(error: &anyhow::Error) {
    use std::io::Write;
    let mut out = std::io::stderr().lock();
    // There is nobody left to tell.
    let _ = writeln!(out, "rookery: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(out, "  because: {cause}");
    }
}
