//! A sync that fails ends the process: what is on its disk is not known any more. What was acknowledged is there afterwards.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use rookery_tests::faults::control::{Control, Settings};
use rookery_tests::faults::shim;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};

const NODE: &str = "mailstore-1";

const USER: &str = "user1@example.test";

/// Input/output error.
const EIO: u64 = 5;

/// How long the process may take to end.
const ENDED_MAX: Duration = Duration::from_secs(60);

struct Rig {
    cluster: Cluster,
    control: Control,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = shim::build(shim::FAULTS, folder.path()).unwrap();
        let control = Control::create(folder.path(), NODE).unwrap();
        let environment = vec![
            ("LD_PRELOAD".to_owned(), library.display().to_string()),
            (
                "ROOKERY_FAULT_CONTROL".to_owned(),
                folder.path().display().to_string(),
            ),
        ];
        let options = Options {
            mailstores: 1,
            proxies: 1,
            accounts: 1,
            environment,
            ..Options::default()
        };
        Self {
            cluster: Cluster::start(&options).unwrap(),
            control,
            _folder: folder,
        }
    }

    fn deliver(&self, number: u64, size: usize) -> String {
        let mut smtp = SmtpClient::hello(&self.cluster.proxy(0).smtp).unwrap();
        let reply = smtp.deliver(&[USER.to_owned()], &messages::numbered(number, size));
        // A recipient that cannot be had now is an error, too.
        reply.map_or_else(|error| error.to_string(), |reply| reply.0)
    }

    fn until_ended(&mut self) {
        let began = Instant::now();
        while self.cluster.is_running(NODE) {
            assert!(began.elapsed() < ENDED_MAX, "it goes on: {}", self.cluster.logs());
        }
    }

    /// Starts the node again on a disk that works, and counts the mail.
    fn count_again(&mut self) -> u32 {
        self.control.set(Settings::default()).unwrap();
        // Its lock is free when all of its threads have ended.
        self.cluster.kill(NODE);
        self.cluster.restart(NODE).unwrap();
        self.count()
    }

    fn count(&self) -> u32 {
        let mut session = ImapClient::login(&self.cluster.proxy(0).imap, USER).unwrap();
        session
            .command("SELECT INBOX")
            .unwrap()
            .ok()
            .unwrap()
            .exists()
            .unwrap()
    }
}

#[test]
fn a_failed_sync_of_the_log_ends_the_process() {
    let mut rig = Rig::start();
    assert!(rig.deliver(1, 2_000).starts_with("250"));
    let failing = Settings {
        write_error: EIO,
        ..Settings::default()
    };
    rig.control.set(failing).unwrap();
    let answered = std::thread::scope(|scope| {
        let (cluster, control) = (&mut rig.cluster, &mut rig.control);
        let address = cluster.proxy(0).smtp.clone();
        let sender = scope.spawn(move || {
            let mut smtp = SmtpClient::hello(&address).unwrap();
            smtp.deliver(&[USER.to_owned()], &messages::numbered(2, 2_000))
                .unwrap()
                .0
        });
        let began = Instant::now();
        while cluster.is_running(NODE) {
            assert!(began.elapsed() < ENDED_MAX, "it goes on: {}", cluster.logs());
        }
        control.set(Settings::default()).unwrap();
        // Its lock is free when all of its threads have ended.
        cluster.kill(NODE);
        cluster.restart(NODE).unwrap();
        sender.join().unwrap()
    });
    // Sent again by the proxy to the node that has started anew.
    assert!(answered.starts_with("250"), "{answered}");
    assert_eq!(rig.count(), 2);
}

#[test]
fn a_failed_sync_of_the_store_ends_the_process() {
    let mut rig = Rig::start();
    assert!(rig.deliver(1, 2_000).starts_with("250"));
    let failing = Settings {
        sync_error: EIO,
        ..Settings::default()
    };
    rig.control.set(failing).unwrap();
    // The store is flushed when the log has grown by so much.
    let mut stored = 1;
    let began = Instant::now();
    while rig.cluster.is_running(NODE) && began.elapsed() < ENDED_MAX {
        stored += u32::from(rig.deliver(u64::from(stored) + 1, 20_000_000).starts_with("250"));
    }
    rig.until_ended();
    let found = rig.count_again();
    assert!(found >= stored, "{found} of {stored}");
}
