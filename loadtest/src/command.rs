//! The command: from its options to a profile, from a profile to runs, from runs to reports.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::compare;
use crate::corpus::Corpus;
use crate::cost;
use crate::figures::Outcome;
use crate::profile::{Profile, Workload, value_of};
use crate::progress::Progress;
use crate::report::{Report, html, text};
use crate::run::{Run, execute};
use crate::target::{ServerConfig, Target};

/// Load a mail server by IMAP, SMTP, submission or LMTP, and tell what it did
///
/// A server is described as key=value,key=value: name, imap, imaps, smtp, submission, submissions, lmtp (HOST:PORT each),
/// tls (none, starttls, implicit), ca_file, tls_name, tls_unverified, accounts, account_pattern, first_account,
/// password_file, password_env, pid, cluster; or as the path of a playground's cluster.json. The password comes from
/// password_file, from the variable that password_env names, or from ROOKERY_LOADTEST_PASSWORD.
#[derive(Debug, Parser)]
#[command(name = "rookery-loadtest", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What is done
    workload: Option<Workload>,
    /// A profile (TOML) in place of the workload's own
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// The server
    #[arg(long, value_name = "KEY=VALUE,…")]
    server: Option<String>,
    /// A second server, measured in turn with the first
    #[arg(long, value_name = "KEY=VALUE,…")]
    beside: Option<String>,
    /// Process of the server on this machine, whose CPU and memory are told
    #[arg(long)]
    pid: Option<u32>,
    /// The same of the second server
    #[arg(long)]
    pid_b: Option<u32>,
    /// Measured time of each run
    #[arg(long)]
    seconds: Option<f64>,
    /// Time before it that does not count
    #[arg(long, value_name = "SECONDS")]
    warmup: Option<f64>,
    /// End each run after so many operations in place of a time
    #[arg(long, conflicts_with_all = ["seconds", "warmup"])]
    operations: Option<u64>,
    /// Sessions at a time
    #[arg(long)]
    sessions: Option<u32>,
    /// Operations a second, whatever the server does (open loop)
    #[arg(long)]
    rate: Option<f64>,
    /// Size of messages, such as 10240, 10KiB or 100kB
    #[arg(long, value_parser = parse_size)]
    size: Option<i64>,
    /// Threads of the load tester
    #[arg(long)]
    threads: Option<u32>,
    /// How often each server's turn comes; 3 for two servers
    #[arg(long)]
    rounds: Option<u32>,
    /// Look afterwards whether all that was acknowledged is there, once
    #[arg(long)]
    oracle: bool,
    /// Any key of the profile, such as mixed.append=50
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Say nothing while it runs
    #[arg(long)]
    quiet: bool,
    /// Print the workload's own profile, and do nothing
    #[arg(long)]
    print_profile: bool,
}

/// It was used wrongly: what, why, what to do.
#[derive(Debug)]
pub(crate) struct WrongUse(String);

impl std::fmt::Display for WrongUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

/// As wrong use, with all that led to it in one line.
fn wrong_use(error: &anyhow::Error) -> anyhow::Error {
    WrongUse(format!("{error:#}")).into()
}

/// Does what was asked for; whether all went well.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.print_profile {
        let workload = arguments
            .workload
            .context("say which workload's profile")
            .map_err(|error| wrong_use(&error))?;
        write!(std::io::stdout(), "{}", workload.built_in())?;
        return Ok(true);
    }
    let profile = arguments.profile().map_err(|error| wrong_use(&error))?;
    let servers = servers(&profile).map_err(|error| wrong_use(&error))?;
    // What cannot be written is told before a long run, not after it.
    let json = create(arguments.json.as_deref())?;
    let html = create(arguments.html.as_deref())?;
    allow_connections()?;
    let progress = Arc::new(Progress::new(arguments.quiet));
    let report = runtime(profile.threads)?.block_on(measure(profile, &servers, progress))?;
    if let Some(mut file) = json {
        serde_json::to_writer_pretty(&mut file, &report).context("cannot write the report as JSON")?;
        writeln!(file).context("cannot write the report as JSON")?;
    }
    if let Some(mut file) = html {
        let page = html::html(&report);
        file.write_all(page.as_bytes())
            .context("cannot write the report as a page")?;
    }
    write!(std::io::stdout(), "{}", text::text(&report)).context("cannot print the report")?;
    Ok(report.is_good())
}

impl Arguments {
    fn profile(&self) -> Result<Profile> {
        let mut over: Vec<(String, toml::Value)> = Vec::new();
        for (key, described, pid) in [
            ("server", &self.server, self.pid),
            ("beside", &self.beside, self.pid_b),
        ] {
            if let Some(text) = described {
                let table = ServerConfig::parse(text).with_context(|| format!("--{key}"))?;
                over.push((key.to_owned(), toml::Value::Table(table)));
            }
            over.extend(pid.map(|pid| (format!("{key}.pid"), i64::from(pid).into())));
        }
        let mut put =
            |key: &str, value: Option<toml::Value>| over.extend(value.map(|value| (key.to_owned(), value)));
        put("seconds", self.seconds.map(Into::into));
        put("warmup_seconds", self.warmup.map(Into::into));
        if let Some(operations) = self.operations {
            put("operations", Some(i64::try_from(operations)?.into()));
            put("warmup_seconds", Some(0.into()));
        }
        put("sessions", self.sessions.map(|count| i64::from(count).into()));
        put("rate", self.rate.map(Into::into));
        put("message_bytes", self.size.map(Into::into));
        put("threads", self.threads.map(|count| i64::from(count).into()));
        put("rounds", self.rounds.map(|count| i64::from(count).into()));
        put("oracle", self.oracle.then(|| true.into()));
        for text in &self.set {
            let (key, value) = text
                .split_once('=')
                .with_context(|| format!("--set {text:?} is not KEY=VALUE"))?;
            over.push((key.to_owned(), value_of(value)));
        }
        Profile::load(self.workload, self.profile.as_deref(), over)
    }
}

/// A file that a report goes into, if one is wanted.
fn create(path: Option<&Path>) -> Result<Option<File>> {
    path.map(|path| File::create(path).with_context(|| format!("cannot write {}", path.display())))
        .transpose()
}

/// The servers of a profile, in their order.
fn servers(profile: &Profile) -> Result<Vec<Arc<Target>>> {
    if profile.server == ServerConfig::default() {
        anyhow::bail!("there is no server: describe it with --server, or in [server] of the profile");
    }
    let mut servers = vec![Arc::new(Target::open(&profile.server, "server")?)];
    if let Some(beside) = &profile.beside {
        servers.push(Arc::new(Target::open(beside, "beside")?));
    }
    for server in &servers {
        for protocol in profile.protocols() {
            server.endpoint(protocol)?;
        }
        cost::check(&server.pids)?;
    }
    if let [first, second] = servers.as_slice()
        && first.name == second.name
    {
        anyhow::bail!("both servers are called {:?}: name them apart", first.name);
    }
    Ok(servers)
}

/// Each server in turn, round by round, until a run is interrupted.
async fn measure(profile: Profile, servers: &[Arc<Target>], progress: Arc<Progress>) -> Result<Report> {
    let profile = Arc::new(profile);
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let local = servers.iter().any(|server| !server.pids.is_empty());
    let machine = local.then(cost::machine).transpose()?;
    let corpus = Arc::new(Corpus::new(profile.seed));
    let mut outcomes: Vec<Vec<Outcome>> = servers.iter().map(|_| Vec::new()).collect();
    'rounds: for round in 1..=profile.rounds() {
        for (server, outcomes) in servers.iter().zip(&mut outcomes) {
            if profile.rounds() > 1 {
                progress.say(&format!("{}: round {round} of {}", server.name, profile.rounds()));
            }
            let run = Arc::new(Run::new(&profile, server, &corpus, &progress, round)?);
            outcomes.push(execute(&run).await?);
            if run.schedule.is_stopped() {
                break 'rounds;
            }
        }
    }
    Ok(Report {
        rows: compare::rows(&outcomes),
        profile: Arc::unwrap_or_clone(profile),
        started,
        machine,
        servers: outcomes,
    })
}

/// One thread costs least; more are for servers that answer more than it can ask.
fn runtime(threads: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("cannot start threads")
}

/// Lets this process have as many connections as the system allows it.
fn allow_connections() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, most).context("cannot raise the limit of open files")
}

/// A size in bytes, with or without a unit.
fn parse_size(text: &str) -> Result<i64, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "kib" => 1_024,
        "mb" => 1_000_000,
        "mib" => 1_024 * 1_024,
        unit => return Err(format!("{unit:?} is no unit: B, kB, KiB, MB or MiB")),
    };
    let number: i64 = digits
        .trim()
        .parse()
        .map_err(|_| "it is not a size such as 10KiB".to_owned())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "it is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(options: &[&str]) -> Result<Profile> {
        let line = ["rookery-loadtest"].iter().chain(options);
        Arguments::try_parse_from(line)?.profile()
    }

    #[test]
    fn options_say_otherwise_than_the_profile() {
        let options = [
            "deliver",
            "--server",
            "lmtp=127.0.0.1:24",
            "--size",
            "100kB",
            "--rate",
            "50",
            "--set",
            "seed=9",
        ];
        let profile = profile(&options).unwrap();
        assert_eq!(
            (profile.message_bytes, profile.seed, profile.rate),
            (100_000, 9, Some(50.0))
        );
        assert_eq!(profile.server.lmtp.as_deref(), Some("127.0.0.1:24"));
    }

    #[test]
    fn a_number_of_operations_takes_the_place_of_all_times() {
        let profile = profile(&["deliver", "--operations", "10"]).unwrap();
        assert_eq!((profile.operations, profile.warmup_seconds), (Some(10), 0.0));
    }

    #[test]
    fn wrong_options_are_refused() {
        assert!(profile(&["deliver", "--set", "nothing"]).is_err());
        assert!(profile(&["deliver", "--server", "host=1"]).is_err());
        assert!(profile(&["dance"]).is_err());
        assert!(servers(&profile(&["deliver"]).unwrap()).is_err(), "no server");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("10KiB"), Ok(10_240));
        assert_eq!(parse_size("2MB"), Ok(2_000_000));
        assert!(parse_size("10 parsecs").is_err() && parse_size("KiB").is_err());
    }
}
