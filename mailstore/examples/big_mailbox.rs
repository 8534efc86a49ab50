//! What a large mailbox costs: 100,000 messages, opened and fetched over the local transport.
//!
//! `cargo run -p rookery-mailstore --example big_mailbox [FOLDER] [MESSAGES]`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/service/support.rs"]
#[allow(dead_code)]
mod support;

use std::time::Instant;

use rookery_proto::mailstore::v1::section::Kind;
use rookery_proto::mailstore::v1::{self as proto, request::Call as Wire};
use support::*;

/// Messages of one append.
const APPEND_MESSAGES: u32 = 500;

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = work.await;
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    result
}

#[tokio::main]
async fn main() {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let messages: u32 = std::env::args()
        .nth(2)
        .map_or(100_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir_in(folder).unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    timed("fill", async {
        for first in (0..messages).step_by(APPEND_MESSAGES as usize) {
            let appended = (first..first + APPEND_MESSAGES).map(|number| proto::AppendMessage {
                body: Some(inline(
                    format!(
                        "From: a{number}@example.test\r\nSubject: number {number}\r\n\r\nbody {number}\r\n"
                    )
                    .as_bytes(),
                )),
                ..proto::AppendMessage::default()
            });
            let append = proto::Append {
                mailbox: 1,
                messages: appended.collect(),
            };
            client
                .mutate(Wire::Append(append), ANN, unique(), 1)
                .await
                .unwrap();
        }
    })
    .await;
    for _ in 0..3 {
        timed("open", client.open(ANN, 1)).await;
    }
    let fetch = proto::Fetch {
        mailbox: 1,
        uids: all(),
        ..proto::Fetch::default()
    };
    let header = |name: &str| proto::Section {
        kind: Kind::HeaderFields.into(),
        fields: vec![name.to_owned()],
        ..proto::Section::default()
    };
    let fetches = [
        (
            "fetch flags",
            proto::Fetch {
                flags: true,
                ..fetch.clone()
            },
        ),
        (
            "fetch flags, size, date",
            proto::Fetch {
                flags: true,
                size: true,
                internal_date: true,
                ..fetch.clone()
            },
        ),
        (
            "fetch envelope",
            proto::Fetch {
                envelope: true,
                ..fetch.clone()
            },
        ),
        (
            "fetch a header field",
            proto::Fetch {
                sections: vec![header("subject")],
                ..fetch.clone()
            },
        ),
        (
            "fetch all bodies",
            proto::Fetch {
                sections: vec![proto::Section::default()],
                ..fetch
            },
        ),
    ];
    for (what, fetch) in fetches {
        let rows = timed(what, client.fetch(ANN, fetch)).await.unwrap();
        assert_eq!(rows.len() as u32, messages);
    }
    use proto::search_key::Key;
    timed("search unseen", client.search(ANN, Key::SystemFlags(1)))
        .await
        .unwrap();
    timed("search larger", client.search(ANN, Key::Larger(1000)))
        .await
        .unwrap();
    timed("search body", client.search(ANN, Key::Body("nowhere".into())))
        .await
        .unwrap();
    fixture.stop().await;
}
