//! A real collector: rotel, which tells all that it takes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::told::{self, Span};

/// How long it may take until it listens, or until it has ended.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks at a process of another program.
const LOOK: Duration = Duration::from_millis(10);

/// A running collector; killed when dropped.
pub(crate) struct Collector {
    process: Child,
    endpoint: String,
    told: PathBuf,
    _folder: TempDir,
}

impl Collector {
    /// Starts it on a port of the system's choice.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rookery-collector-").tempdir()?;
        let told = folder.path().join("told");
        let process = Command::new(program()?)
            .arg("start")
            // Two addresses, so that it can be told which port is which.
            .args([
                "--otlp-grpc-endpoint",
                "127.0.0.1:0",
                "--otlp-http-endpoint",
                "127.0.0.2:0",
            ])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--exporter", "blackhole", "--pid-file"])
            .arg(folder.path().join("pid"))
            .arg("--log-file")
            .arg(folder.path().join("log"))
            .stdin(Stdio::null())
            .stdout(File::create(&told)?)
            .stderr(File::create(folder.path().join("errors"))?)
            .spawn()
            .context("cannot start the collector")?;
        let mut collector = Self {
            process,
            endpoint: String::new(),
            told,
            _folder: folder,
        };
        let until = Instant::now() + WAIT_MAX;
        loop {
            if let Some(port) = listens_at(collector.process.id(), [127, 0, 0, 1])? {
                collector.endpoint = format!("http://127.0.0.1:{port}");
                return Ok(collector);
            }
            if let Some(status) = collector.process.try_wait()? {
                bail!("the collector ended with {status}: {}", collector.text()?);
            }
            if Instant::now() > until {
                bail!("the collector does not listen: {}", collector.text()?);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Where it takes spans.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Tells it to stop, and gives all spans that it was sent, and the text in which it told them.
    pub(crate) fn finish(mut self) -> Result<(Vec<Span>, String)> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id")?, Signal::TERM)?;
        let until = Instant::now() + WAIT_MAX;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("the collector does not stop");
            }
            std::thread::sleep(LOOK);
        }
        let text = self.text()?;
        Ok((told::spans(&text), text))
    }

    fn text(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.told)?)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program, fetched when it is not there.
fn program() -> Result<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/tools");
    let output = Command::new(tools).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
}

/// The port at which a process listens on an address.
fn listens_at(pid: u32, address: [u8; 4]) -> Result<Option<u16>> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // It may have been closed meanwhile.
        if let Ok(link) = std::fs::read_link(entry?.path()) {
            sockets.push(link.to_string_lossy().into_owned());
        }
    }
    // Each line: number, local address as hexadecimal digits, remote address, state, …; the tenth field is the socket's inode.
    let wanted = format!("{:08X}:", u32::from_ne_bytes(address));
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    Ok(table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = local.strip_prefix(&wanted)?;
        let is_its_own = *state == "0A" && sockets.contains(&format!("socket:[{inode}]"));
        is_its_own.then(|| u16::from_str_radix(port, 16).ok()).flatten()
    }))
}
