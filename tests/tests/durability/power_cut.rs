//! A power cut of a mailstore, again and again, under delivery: every message that got `250` is there once and whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rookery_tests::faults::disk::{Disk, Dropped};
use rookery_tests::faults::shim;
use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use tempfile::TempDir;

/// Connections that deliver at the same time.
const CONNECTIONS: u64 = 8;

/// Power cuts.
const CUTS: usize = 4;

/// Deliveries that must be acknowledged between two cuts.
const ACKNOWLEDGED_BETWEEN: usize = 40;

const ACCOUNTS: u64 = 5;

const MAILSTORE: &str = "mailstore-1";

/// A cluster whose mailstore runs on a file layer that remembers what was synced.
struct Witnessed {
    cluster: Cluster,
    folder: TempDir,
}

impl Witnessed {
    fn start(delay_microseconds: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shim = shim::build(shim::UNSYNCED, folder.path()).unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let environment = vec![
            ("LD_PRELOAD".to_owned(), text(shim)),
            ("ROOKERY_SYNC_LOG".to_owned(), text(folder.path().join("syncs"))),
            ("ROOKERY_SYNC_LIE".to_owned(), text(folder.path().join("lie"))),
            ("ROOKERY_SYNC_DELAY".to_owned(), delay_microseconds.to_string()),
        ];
        let options = Options {
            mailstores: 1,
            proxies: 1,
            accounts: ACCOUNTS,
            environment,
            ..Options::default()
        };
        Self {
            cluster: Cluster::start(&options).unwrap(),
            folder,
        }
    }

    fn store(&self) -> PathBuf {
        self.cluster.node(MAILSTORE).data.join("store")
    }

    /// Kills the mailstore, takes away what it had not synced, and starts it again.
    fn cut_power(&mut self, disk: &mut Disk) -> Dropped {
        let record = self
            .folder
            .path()
            .join(format!("syncs.{}", self.cluster.pid(MAILSTORE)));
        self.cluster.kill(MAILSTORE);
        assert!(
            record.exists(),
            "the mailstore syncs through the C library, where it is seen"
        );
        disk.replay(&record).unwrap();
        let dropped = disk.crash(&self.store()).unwrap();
        *disk = Disk::of(&self.store()).unwrap();
        self.cluster.restart(MAILSTORE).unwrap();
        dropped
    }

    /// From now on syncs are lies, or they are syncs again.
    fn lie(&self, on: bool) {
        let path = self.folder.path().join("lie");
        if on {
            std::fs::write(path, "").unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
    }
}

/// The folder of a store that was empty when the cluster was made: nothing in it is durable unless it was synced.
fn nothing() -> Disk {
    Disk::default()
}

#[test]
fn acknowledged_mail_outlives_power_cuts_once_and_whole() {
    let mut witnessed = Witnessed::start(2_000);
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let address = witnessed.cluster.proxy(0).smtp.clone();
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|sender| {
            let (acknowledged, stop, address) =
                (Arc::clone(&acknowledged), Arc::clone(&stop), address.clone());
            std::thread::spawn(move || deliver_until_stopped(sender, &address, &acknowledged, &stop))
        })
        .collect();
    let mut disk = nothing();
    let mut dropped = Dropped::default();
    for _ in 0..CUTS {
        let goal = acknowledged.lock().unwrap().len() + ACKNOWLEDGED_BETWEEN;
        while acknowledged.lock().unwrap().len() < goal {
            std::thread::yield_now();
        }
        let now = witnessed.cut_power(&mut disk);
        println!("a power cut took {} bytes and {} files", now.bytes, now.files);
        dropped.bytes += now.bytes;
        dropped.files += now.files;
    }
    stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().unwrap();
    }
    assert!(
        dropped.bytes > 0,
        "no power cut took anything away, so that nothing was tested"
    );
    let found = found(&witnessed.cluster);
    for number in acknowledged.lock().unwrap().iter() {
        assert_eq!(found.get(number), Some(&1), "acknowledged message {number}");
    }
    assert!(
        found.values().all(|count| *count == 1),
        "nothing is there twice: {found:?}"
    );
}

#[test]
fn without_syncs_a_power_cut_would_lose_acknowledged_mail() {
    let mut witnessed = Witnessed::start(0);
    let mut smtp = SmtpClient::hello(&witnessed.cluster.proxy(0).smtp).unwrap();
    let mut deliver = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let reply = smtp.deliver(&[recipient(number)], &message(number)).unwrap();
            reply.expect("250").unwrap();
        }
    };
    deliver(0..10);
    witnessed.lie(true);
    deliver(10..20);
    let dropped = witnessed.cut_power(&mut nothing());
    witnessed.lie(false);
    let found = found(&witnessed.cluster);
    assert!(dropped.bytes > 0, "{dropped:?}");
    assert!(
        (0..10).all(|number| found.contains_key(&number)),
        "what was synced is there: {found:?}"
    );
    assert!(
        (10..20).all(|number| !found.contains_key(&number)),
        "this test sees lost mail: {found:?}"
    );
}

fn recipient(number: u64) -> String {
    format!("user{}@example.test", number % ACCOUNTS + 1)
}

fn message(number: u64) -> String {
    messages::numbered(number, 1_000 + (number as usize % 5) * 4_000)
}

fn deliver_until_stopped(sender: u64, address: &str, acknowledged: &Mutex<BTreeSet<u64>>, stop: &AtomicBool) {
    let mut number = sender;
    let mut connection: Option<SmtpClient> = None;
    while !stop.load(Ordering::SeqCst) {
        number += CONNECTIONS;
        let Ok(mut client) = connection.take().map_or_else(|| SmtpClient::hello(address), Ok) else {
            continue;
        };
        if let Ok(reply) = client.deliver(&[recipient(number)], &message(number)) {
            if reply.code() == "250" {
                acknowledged.lock().unwrap().insert(number);
            }
            connection = Some(client);
        }
    }
}

/// How often each message is there; each must be whole.
fn found(cluster: &Cluster) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    for user in 1..=ACCOUNTS {
        let mut imap =
            ImapClient::login(&cluster.proxy(0).imap, &format!("user{user}@example.test")).unwrap();
        if imap.command("EXAMINE INBOX").unwrap().ok().unwrap().exists() == Some(0) {
            continue;
        }
        for response in imap
            .command("FETCH 1:* (BODY.PEEK[])")
            .unwrap()
            .ok()
            .unwrap()
            .untagged
        {
            let body = String::from_utf8(literals(&response).remove(0)).unwrap();
            let number: u64 = body
                .split("Message-ID: <")
                .nth(1)
                .unwrap()
                .split('@')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert!(body.ends_with(&message(number)), "message {number} is not whole");
            *found.entry(number).or_insert(0) += 1;
        }
    }
    found
}

#[test]
fn the_record_is_kept_by_process() {
    let folder = tempfile::tempdir().unwrap();
    let shim = shim::build(shim::UNSYNCED, folder.path()).unwrap();
    let file: &Path = &folder.path().join("file");
    std::fs::write(file, "content").unwrap();
    // `sync FILE` of coreutils calls fsync.
    let mut command = std::process::Command::new("sync");
    command
        .arg(file)
        .env("LD_PRELOAD", shim)
        .env("ROOKERY_SYNC_LOG", folder.path().join("syncs"));
    let mut child = command.spawn().unwrap();
    let record = folder.path().join(format!("syncs.{}", child.id()));
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(record).unwrap();
    assert!(text.starts_with("F ") && text.ends_with(" 7\n"), "{text}");
}

#[test]
fn a_write_that_syncs_is_recorded_where_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let shim = shim::build(shim::UNSYNCED, folder.path()).unwrap();
    let file: &Path = &folder.path().join("file");
    // `dd oflag=dsync` opens with O_DSYNC.
    let mut command = std::process::Command::new("dd");
    command
        .args(["if=/dev/zero", "bs=512", "count=2", "oflag=dsync", "status=none"])
        .arg(format!("of={}", file.display()))
        .env("LD_PRELOAD", shim)
        .env("ROOKERY_SYNC_LOG", folder.path().join("syncs"));
    let mut child = command.spawn().unwrap();
    let record = folder.path().join(format!("syncs.{}", child.id()));
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(record).unwrap();
    let ends: Vec<String> = text
        .lines()
        .map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(text.starts_with("W ") && ends == ["0 512", "512 512"], "{text}");
}
