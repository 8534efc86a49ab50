//! The shim of slow disks and wrong clocks does what it is told, while a process runs.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rookery_tests::faults::control::{Control, Settings};
use rookery_tests::faults::shim;
use rookery_tests::peers;

/// Tells its clocks, syncs a file, and waits on a condition with a time limit, when it is asked to.
const SCRIPT: &str = r#"
import os, sys, threading, time
descriptor = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
for line in sys.stdin:
    word = line.strip()
    if word == "clocks":
        print(time.time(), time.monotonic(), flush=True)
    elif word == "sync":
        os.fsync(descriptor); print("done", flush=True)
    elif word == "write":
        os.write(descriptor, b"x"); print("done", flush=True)
    elif word == "wait":
        threading.Event().wait(0.2); print("done", flush=True)
"#;

struct Steered {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Steered {
    fn start(folder: &Path) -> Self {
        let library = shim::build(shim::FAULTS, folder).unwrap();
        let mut child = Command::new(peers::find("python3"))
            .args(["-c", SCRIPT, "--config"])
            .arg(folder.join("node-1/rookery.toml"))
            .arg(folder.join("file"))
            .env("LD_PRELOAD", library)
            .env("ROOKERY_FAULT_CONTROL", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            child,
            input,
            output: BufReader::new(output),
        }
    }

    fn ask(&mut self, word: &str) -> (String, Duration) {
        let began = Instant::now();
        writeln!(self.input, "{word}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        (line, began.elapsed())
    }

    fn clocks(&mut self) -> (f64, f64) {
        let (line, _) = self.ask("clocks");
        let (realtime, monotonic) = line.trim().split_once(' ').unwrap();
        (realtime.parse().unwrap(), monotonic.parse().unwrap())
    }
}

impl Drop for Steered {
    fn drop(&mut self) {
        // May have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn clocks_jump_and_waits_last_as_long_as_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::create(folder.path(), "node-1").unwrap();
    let mut steered = Steered::start(folder.path());
    let before = steered.clocks();
    control
        .set(Settings {
            monotonic_ahead: 1_000_000_000_000,
            realtime_ahead: -500_000_000_000,
            ..Settings::default()
        })
        .unwrap();
    let after = steered.clocks();
    assert!(
        (990.0..1_100.0).contains(&(after.1 - before.1)),
        "{before:?} {after:?}"
    );
    assert!(
        (-500.0..-400.0).contains(&(after.0 - before.0)),
        "{before:?} {after:?}"
    );
    let (_, waited) = steered.ask("wait");
    assert!(
        waited >= Duration::from_millis(200) && waited < Duration::from_secs(60),
        "{waited:?}"
    );
    // A clock that runs a thousand times too fast gains far more than the test can take.
    let mut settings = control.settings();
    settings.rate = 1_000_000_000;
    control.set(settings).unwrap();
    let (first, began) = (steered.clocks(), Instant::now());
    steered.ask("wait");
    let gained = steered.clocks().1 - first.1;
    assert!(
        gained > 100.0 && began.elapsed() < Duration::from_secs(60),
        "{gained}"
    );
    // What was gained is kept, and the clock does not go back.
    let last = steered.clocks().1;
    let mut settings = control.settings();
    settings.rate = 0;
    control.set(settings).unwrap();
    assert!(steered.clocks().1 >= last);
}

#[test]
fn disks_are_slow_while_they_are_told_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::create(folder.path(), "node-1").unwrap();
    let mut steered = Steered::start(folder.path());
    steered.ask("sync");
    let slow = Settings {
        sync_delay: 300_000,
        write_delay: 400_000,
        ..Settings::default()
    };
    control.set(slow).unwrap();
    assert!(steered.ask("sync").1 >= Duration::from_millis(300));
    assert!(steered.ask("write").1 >= Duration::from_millis(400));
    control.set(Settings::default()).unwrap();
    assert_eq!(steered.ask("sync").0, "done\n");
}
