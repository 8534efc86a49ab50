//! kill -9 in the middle of deliveries, again and again: what was acknowledged is there, once and whole.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::*;

/// Names the folder in which the child delivers; without it the child's test has nothing to do.
const FOLDER: &str = "ROOKERY_TEST_CRASH_FOLDER";

const CALLERS: usize = 20;
const ROUNDS: usize = 4;

fn body(name: &str) -> Vec<u8> {
    format!("Subject: {name}\r\n\r\n{}\r\n", format!("{name} ").repeat(50)).into_bytes()
}

/// Run in a process of its own by the other test, and killed by it.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_delivers_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let fixture = Fixture::start(Path::new(&folder)).await;
    fixture.put_accounts().await;
    let callers = (0..CALLERS).map(|caller| {
        let client = fixture.proxy();
        async move {
            for number in 0u64.. {
                let name = format!("{}-{caller}-{number}", std::process::id());
                let account = if number % 2 == 0 { ANN } else { BOB };
                let uid = client.deliver_to(account, &body(&name)).await;
                let mut out = std::io::stdout().lock();
                // One write, so that a line is there or not.
                out.write_all(format!("acked {account} {uid} {name}\n").as_bytes())
                    .unwrap();
                out.flush().unwrap();
            }
        }
    });
    futures_util::future::join_all(callers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut acked: HashMap<u64, Vec<(u32, String)>> = HashMap::new();
    for round in 1..=ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "crash::child_that_delivers_until_it_is_killed",
                "--exact",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(["acked", account, uid, name]) =
                line.split(' ').collect::<Vec<_>>().first_chunk::<4>()
            {
                acked
                    .entry(account.parse().unwrap())
                    .or_default()
                    .push((uid.parse().unwrap(), (*name).to_owned()));
                count += 1;
            }
            if count == 150 * round {
                child.start_kill().unwrap();
            }
        }
        assert!(count >= 150 * round, "the child ended by itself after {count}");
        child.wait().await.unwrap();
        verify(folder.path(), &acked).await;
    }
}

async fn verify(folder: &Path, acked: &HashMap<u64, Vec<(u32, String)>>) {
    let fixture = Fixture::start(folder).await;
    let client = fixture.proxy();
    for (account, acked) in acked {
        let messages: HashMap<u32, Vec<u8>> = client.messages(*account, 1).await.into_iter().collect();
        for (uid, name) in acked {
            let expected = [prefix(*account), body(name)].concat();
            assert!(
                messages.get(uid) == Some(&expected),
                "{account} {uid} {name}: {:?}",
                messages.get(uid)
            );
        }
        let distinct: BTreeSet<&Vec<u8>> = messages.values().collect();
        assert_eq!(distinct.len(), messages.len(), "something is stored twice");
        let opened = client.open(*account, 1).await.mailbox.unwrap();
        assert_eq!(opened.messages as usize, messages.len());
        assert!(messages.keys().all(|uid| *uid < opened.uid_next));
        assert_eq!(
            opened.size,
            messages.values().map(|message| message.len() as u64).sum::<u64>()
        );
    }
    fixture.stop().await;
}
