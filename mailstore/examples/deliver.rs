//! What a delivery costs: distinct messages of 10 KB, delivered over the local transport by 1, 10 and 100 callers, each
//! message to one of 100 accounts. Prints messages a second and CPU milliseconds a message of the whole process.
//!
//! `cargo run -p rookery-mailstore --example deliver [FOLDER] [SECONDS]`; the folder is one of the disk to be measured.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/service/support.rs"]
#[allow(dead_code)]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rookery_proto::mailstore::v1::{self as proto, request::Call as Wire};
use support::*;

const ACCOUNTS: u64 = 100;
const MESSAGE_BYTES: usize = 10 * 1024;

/// A message unlike any other: words in a random order, so that it compresses as text does.
fn message(mut seed: u64) -> Vec<u8> {
    const WORDS: [&str; 32] = [
        "mail", "store", "shard", "proxy", "letter", "the", "of", "and", "meeting", "tomorrow", "please",
        "attached", "report", "invoice", "regards", "team", "project", "status", "update", "question",
        "answer", "call", "week", "monday", "number", "customer", "order", "delivery", "thanks", "hello",
        "best", "again",
    ];
    let mut text = format!(
        "From: Sender {seed} <sender{seed}@example.test>\r\nTo: user@example.test\r\nSubject: message {seed}\r\n\
         Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{seed}@example.test>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n"
    );
    let mut column = 0;
    while text.len() < MESSAGE_BYTES {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let word = WORDS[(seed >> 59) as usize];
        text.push_str(word);
        text.push_str(&format!("{:x}", (seed >> 40) & 0xff));
        column += 1;
        text.push_str(if column % 12 == 0 { "\r\n" } else { " " });
    }
    text.into_bytes()
}

/// CPU time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime in clock ticks, of which Linux has 100 a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::main]
async fn main() {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let seconds: u64 = std::env::args().nth(2).map_or(5, |text| text.parse().unwrap());
    let folder = tempfile::tempdir_in(folder).unwrap();
    let fixture = Fixture::start(folder.path()).await;
    for account in 0..ACCOUNTS {
        let put = proto::PutAccount {
            shard: SHARD,
            account: 1000 + account,
            generation: 1,
            quota_bytes: 0,
        };
        fixture
            .directory()
            .ask(Wire::PutAccount(put), bytes::Bytes::new())
            .await
            .unwrap();
    }
    let tokens: Arc<Vec<proto::Recipient>> =
        Arc::new((0..ACCOUNTS).map(|account| recipient(1000 + account)).collect());
    let next = Arc::new(AtomicU64::new(1));
    let messages: Arc<Vec<bytes::Bytes>> = Arc::new((0..20_000).map(|seed| message(seed).into()).collect());
    for callers in [1, 10, 100] {
        let (start, cpu, first) = (Instant::now(), cpu_seconds(), next.load(Ordering::Relaxed));
        let end = start + Duration::from_secs(seconds);
        let calling = (0..callers).map(|_| {
            let (client, tokens, next, messages) =
                (fixture.proxy(), tokens.clone(), next.clone(), messages.clone());
            tokio::spawn(async move {
                while Instant::now() < end {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // Distinct also after the prepared ones have run out: a number before the header.
                    let mut body = format!("X-Number: {number}\r\n").into_bytes();
                    body.extend_from_slice(&messages[number as usize % messages.len()]);
                    let source = proto::new_body::Source::Inline(body.into());
                    let deliver = proto::Deliver {
                        transaction: unique().to_vec().into(),
                        sender: "sender@example.test".into(),
                        body: Some(proto::NewBody { source: Some(source) }),
                        recipients: vec![tokens[(number % ACCOUNTS) as usize].clone()],
                        issued_at_millis: now_millis(),
                    };
                    let outcomes = client.deliver(deliver).await.unwrap();
                    assert_eq!(outcomes[0].error, None);
                }
            })
        });
        for done in futures_util::future::join_all(calling).await {
            done.unwrap();
        }
        let count = (next.load(Ordering::Relaxed) - first) as f64;
        println!(
            "{callers} callers: {:.0} messages/s, {:.3} ms of CPU a message",
            count / start.elapsed().as_secs_f64(),
            (cpu_seconds() - cpu) * 1000.0 / count
        );
    }
    fixture.stop().await;
}
