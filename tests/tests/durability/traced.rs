//! strace of a whole node: each `250` follows a sync that began after its message had arrived and ended before it was sent;
//! deliveries at the same time share syncs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rookery_tests::{Cluster, Options, SmtpClient, messages, peers};
use tempfile::TempDir;

/// Deliveries one after the other.
const SEQUENTIAL: u64 = 20;

/// Deliveries at the same time.
const CONCURRENT: u64 = 100;

/// How long the tracer may take to write down what has happened.
const TRACE_MAX: Duration = Duration::from_secs(30);

/// Where the log is.
const LOG_FOLDER: &str = "/store/log/";

/// The reply to a stored message, as it is on the wire.
const STORED: &str = "\"250 2.0.0 Stored";

/// Something that the node did.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    /// Bytes came from a client.
    Received(String),
    /// A sync of the store's log began, by thread.
    SyncBegan(u32),
    /// It ended well.
    SyncEnded(u32),
    /// A reply that a message is stored was sent.
    Stored,
}

/// All roles in one process, under strace.
struct Traced {
    cluster: Cluster,
    trace: PathBuf,
    _folder: TempDir,
}

impl Traced {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let strace = peers::find("strace");
        let calls =
            "trace=openat,pwrite64,fsync,fdatasync,sync_file_range,read,recvfrom,sendto,sendmsg,write,writev";
        // -D: the tracer is apart, so that the playground stays this test's own child.
        let wrapper = [
            "-D",
            "-f",
            "-y",
            "-s",
            "4096",
            "-e",
            calls,
            "-e",
            "signal=none",
            "-o",
        ]
        .map(str::to_owned);
        let mut wrapper: Vec<String> = wrapper.into();
        wrapper.insert(0, strace.to_str().unwrap().to_owned());
        wrapper.push(trace.to_str().unwrap().to_owned());
        let options = Options {
            single: true,
            mailstores: 1,
            proxies: 1,
            wrapper,
            ..Options::default()
        };
        Self {
            cluster: Cluster::start(&options).unwrap(),
            trace,
            _folder: folder,
        }
    }

    /// The events so far, once so many replies are among them: the tracer writes a little after the fact.
    fn events(&self, replies: usize) -> Vec<Event> {
        let began = Instant::now();
        loop {
            let events = events(&self.trace);
            if events.iter().filter(|event| **event == Event::Stored).count() >= replies {
                return events;
            }
            assert!(
                began.elapsed() < TRACE_MAX,
                "the trace does not show {replies} replies"
            );
            std::thread::yield_now();
        }
    }
}

fn events(trace: &Path) -> Vec<Event> {
    String::from_utf8_lossy(&std::fs::read(trace).unwrap())
        .lines()
        .filter_map(event)
        .collect()
}

/// One line of the trace: `PID call(…) = result`, or in two halves when other threads come between.
fn event(line: &str) -> Option<Event> {
    let (thread, rest) = line.split_once(' ')?;
    let thread: u32 = thread.parse().ok()?;
    let rest = rest.trim_start();
    if rest.starts_with("recvfrom(")
        || rest.starts_with("read(")
        || rest.contains("recvfrom resumed>")
        || rest.contains("read resumed>")
    {
        return Some(Event::Received(rest.to_owned()));
    }
    if rest.contains(STORED) && !rest.contains(" resumed>") {
        return Some(Event::Stored);
    }
    let is_sync = ["fsync(", "fdatasync(", "pwrite64("]
        .iter()
        .any(|call| rest.starts_with(call));
    // The log of what was agreed on alone: other files' syncs say nothing about a message.
    if is_sync && rest.contains(LOG_FOLDER) && rest.contains(".log>") {
        return Some(Event::SyncBegan(thread));
    }
    let ended = [
        "<... fsync resumed>",
        "<... fdatasync resumed>",
        "<... pwrite64 resumed>",
    ];
    (ended.iter().any(|ended| rest.contains(ended)) && is_good(rest)).then_some(Event::SyncEnded(thread))
}

/// Whether a call has ended, and well.
fn is_good(line: &str) -> bool {
    let result = line.rsplit_once("= ").map(|(_, result)| result.parse::<u64>());
    matches!(result, Some(Ok(_)))
}

/// Whether the log's files were opened so that a write is durable when it returns.
fn writes_sync(trace: &Path) -> bool {
    String::from_utf8_lossy(&std::fs::read(trace).unwrap())
        .lines()
        .any(|line| line.contains("openat(") && line.contains(LOG_FOLDER) && line.contains("O_DSYNC"))
}

/// Whole calls as two events, so that a sync always begins and ends.
fn spread(trace: &Path) -> Vec<Event> {
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
    let mut spread = Vec::new();
    for line in text.lines() {
        let Some(found) = event(line) else { continue };
        if let (Event::SyncBegan(thread), true) = (&found, is_good(line)) {
            spread.extend([Event::SyncBegan(*thread), Event::SyncEnded(*thread)]);
        } else {
            spread.push(found);
        }
    }
    spread
}

/// Whether between two moments a sync began and ended.
fn has_whole_sync(events: &[Event]) -> bool {
    let began = events.iter().enumerate().filter_map(|(at, event)| match event {
        Event::SyncBegan(thread) => Some((at, *thread)),
        _ => None,
    });
    began
        .into_iter()
        .any(|(at, thread)| events[at..].contains(&Event::SyncEnded(thread)))
}

#[test]
fn each_250_follows_the_sync_of_its_message() {
    let traced = Traced::start();
    let mut smtp = SmtpClient::hello(&traced.cluster.proxy(0).smtp).unwrap();
    for number in 0..SEQUENTIAL {
        let recipient = format!("user{}@example.test", number % 10 + 1);
        smtp.deliver(&[recipient], &messages::numbered(number, 600))
            .unwrap()
            .expect("250")
            .unwrap();
    }
    traced.events(SEQUENTIAL as usize);
    assert!(writes_sync(&traced.trace), "a write of the log alone is no sync");
    let events = spread(&traced.trace);
    for number in 0..SEQUENTIAL {
        let mark = format!("Message-ID: <{number}@remote.test>");
        let arrived = events
            .iter()
            .position(|event| matches!(event, Event::Received(text) if text.contains(&mark)));
        let arrived = arrived.unwrap_or_else(|| panic!("the arrival of message {number} is in the trace"));
        let answered = events[arrived..]
            .iter()
            .position(|event| *event == Event::Stored)
            .unwrap()
            + arrived;
        assert!(
            has_whole_sync(&events[arrived..answered]),
            "no sync between message {number} and its reply"
        );
    }
}

#[test]
fn deliveries_at_the_same_time_share_syncs() {
    let traced = Traced::start();
    let mut clients: Vec<SmtpClient> = (0..CONCURRENT)
        .map(|number| {
            let mut smtp = SmtpClient::hello(&traced.cluster.proxy(0).smtp).unwrap();
            smtp.command("MAIL FROM:<sender@remote.test>")
                .unwrap()
                .expect("250")
                .unwrap();
            smtp.command(&format!("RCPT TO:<user{}@example.test>", number % 10 + 1))
                .unwrap()
                .expect("250")
                .unwrap();
            smtp.command("DATA").unwrap().expect("354").unwrap();
            smtp
        })
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client
            .send(rookery_tests::smtp::stuffed(&messages::numbered(number as u64, 600)).as_bytes())
            .unwrap();
    }
    for client in &mut clients {
        client.reply().unwrap().expect("250").unwrap();
    }
    traced.events(CONCURRENT as usize);
    let events = spread(&traced.trace);
    let first = events
        .iter()
        .position(|event| matches!(event, Event::Received(text) if text.contains("Message-ID: <")));
    let syncs = events[first.unwrap()..]
        .iter()
        .filter(|event| matches!(event, Event::SyncBegan(_)))
        .count();
    println!("{CONCURRENT} deliveries, {syncs} syncs");
    assert!(
        syncs > 0 && (syncs as u64) < CONCURRENT,
        "{CONCURRENT} deliveries took {syncs} syncs"
    );
}

#[test]
fn a_trace_without_the_sync_is_found_out() {
    let whole = "1 recvfrom(9<s>, \"Message-ID: <1@remote.test>\\r\\n.\\r\\n\", 1) = 30\n\
                 2 pwrite64(5</x/store/log/000004.log>, \"RKRY\", 4096, 0 <unfinished ...>\n\
                 1 read(7<e>, \"\", 8) = 0\n\
                 2 <... pwrite64 resumed>) = 4096\n\
                 1 sendto(9<s>, \"250 2.0.0 Stored as 1\\r\\n\", 23, 0, NULL, 0) = 23\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    let judge = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        let events = spread(file.path());
        has_whole_sync(&events[..events.iter().position(|event| *event == Event::Stored).unwrap()])
    };
    assert!(judge(whole));
    assert!(!judge(
        &whole.replace("pwrite64 resumed>) = 4096", "pwrite64 resumed>) = -1 EIO")
    ));
    assert!(
        !judge(&whole.replace("store/log/000004.log", "LOG")),
        "another file's sync does not count"
    );
    let late: Vec<&str> = whole.lines().collect();
    assert!(
        !judge(&[late[0], late[1], late[4], late[3]].join("\n")),
        "a sync that ends after the reply is too late"
    );
}
