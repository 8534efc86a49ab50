//! Messages on which the parser panics, loops or allocates without end: stored, served as opaque text, and nobody waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rookery_mail::mime::analyze_guarded;
use rookery_mailstore::analysis::{AnalysisSettings, Analyze};
use rookery_proto::mailstore::v1 as proto;

use crate::support::*;

/// A parser with defects: what the subject says, it does.
fn defective(stop: Arc<AtomicBool>) -> Analyze {
    Arc::new(move |message| {
        if message.starts_with(b"Subject: loop") {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
        assert!(!message.starts_with(b"Subject: panic"), "told to");
        analyze_guarded(message)
    })
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The example program that is a worker with the same defects, and one that allocates.
fn worker() -> Vec<String> {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/mime_worker");
    vec![path.to_str().unwrap().to_owned(), "defective".to_owned()]
}

async fn start(folder: &std::path::Path) -> (Fixture, StopOnDrop) {
    let stop = Arc::new(AtomicBool::new(false));
    let analysis = AnalysisSettings {
        thread_deadline: Duration::from_millis(300),
        worker_deadline: Duration::from_secs(2),
        analyze: defective(Arc::clone(&stop)),
        ..AnalysisSettings::default()
    };
    let setup = Setup {
        analysis,
        worker_command: worker(),
        ..Setup::default()
    };
    let fixture = Fixture::start_with(folder, setup).await;
    fixture.put_accounts().await;
    (fixture, StopOnDrop(stop))
}

/// Many parts, so that it goes to a worker process.
fn unusual(subject: &str) -> String {
    format!("Subject: {subject}\r\n\r\n{}", "--x\r\n\r\n".repeat(2000))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_are_stored_and_others_pass() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, _stop) = start(folder.path()).await;
    let client = fixture.proxy();
    let mut hostile: Vec<String> = ["panic", "loop"]
        .iter()
        .map(|what| format!("Subject: {what}\r\n\r\nx\r\n"))
        .collect();
    hostile.extend(["panic", "loop", "allocate"].map(unusual));
    let delivering: Vec<_> = hostile
        .iter()
        .map(|message| {
            let (client, message) = (client.clone(), message.clone());
            tokio::spawn(async move { client.deliver_to(ANN, message.as_bytes()).await })
        })
        .collect();
    // Meanwhile everybody else's mail is delivered, parsed.
    for number in 0..50 {
        let body = format!("Subject: good {number}\r\n\r\nbody\r\n");
        let delivered =
            tokio::time::timeout(Duration::from_secs(20), client.deliver_to(BOB, body.as_bytes())).await;
        delivered.expect("mail does not wait for hostile mail");
    }
    for delivered in delivering {
        delivered.await.unwrap();
    }
    let mut stored: Vec<Vec<u8>> = client
        .messages(ANN, 1)
        .await
        .into_iter()
        .map(|(_, message)| message)
        .collect();
    let mut expected: Vec<Vec<u8>> = hostile
        .iter()
        .map(|m| [&prefix(ANN)[..], m.as_bytes()].concat())
        .collect();
    stored.sort();
    expected.sort();
    assert!(stored == expected);
    let fetch = proto::Fetch {
        mailbox: 1,
        uids: all(),
        envelope: true,
        body: true,
        ..proto::Fetch::default()
    };
    for row in client.fetch(ANN, fetch.clone()).await.unwrap() {
        assert!(row.envelope.starts_with(b"(NIL NIL"), "{:?}", row.envelope);
        assert!(row.body.starts_with(b"(\"text\" \"plain\""));
    }
    let rows = client.fetch(BOB, fetch).await.unwrap();
    assert!(
        rows.len() == 50
            && rows
                .iter()
                .all(|row| row.envelope.windows(4).any(|bytes| bytes == b"good"))
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_mail_is_parsed_by_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let (fixture, _stop) = start(folder.path()).await;
    let client = fixture.proxy();
    for number in 0..20 {
        client
            .deliver_to(ANN, unusual(&format!("fine {number}")).as_bytes())
            .await;
    }
    let fetch = proto::Fetch {
        mailbox: 1,
        uids: all(),
        envelope: true,
        ..proto::Fetch::default()
    };
    let rows = client.fetch(ANN, fetch).await.unwrap();
    assert!(
        rows.len() == 20
            && rows
                .iter()
                .all(|row| row.envelope.windows(4).any(|bytes| bytes == b"fine"))
    );
    fixture.stop().await;
}
