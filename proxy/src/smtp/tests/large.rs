//! Bodies too large to be held.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Client, World};
use crate::smtp::Kind;

/// Far more than may be held.
const LINES: usize = 120_000;
const LINE: &[u8] = b"0123456789012345678901234567890123456789012345678901234567890123456789\r\n";

async fn begin(world: &World, kind: Kind, recipients: &[u64]) -> Client {
    let mut client = world.connect(kind);
    if kind == Kind::Lmtp {
        client
            .plays(
                "S: 220 *\nC: LHLO x\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250 *",
            )
            .await;
    } else {
        client.plays("S: 220 *\nC: HELO x\nS: 250 mx.test").await;
    }
    client.plays("C: MAIL FROM:<a@far.test>\nS: 250 *").await;
    for number in recipients {
        client
            .plays(&format!("C: RCPT TO:<user{number}@example.test>\nS: 250 *"))
            .await;
    }
    client.plays("C: DATA\nS: 354 *").await;
    client
}

/// Sends the large body and tells the stores how far it has come.
async fn send(world: &World, client: &mut Client) {
    let piece = LINE.repeat(100);
    for _ in 0..LINES / 100 {
        client.send(&piece).await;
        for store in &world.stores {
            store.written.fetch_add(piece.len(), Ordering::SeqCst);
        }
    }
    client.send(b".\r\n").await;
}

#[tokio::test]
async fn a_large_body_goes_through_in_bounded_memory() {
    let world = World::with_patience(Duration::from_secs(30)).await;
    let mut client = begin(&world, Kind::Smtp, &[1, 2, 4]).await;
    send(&world, &mut client).await;
    client.plays("S: 250 2.0.0 Stored *").await;
    let whole = LINE.repeat(LINES);
    for number in [1, 2, 4] {
        let mails = world.mails(number);
        assert!(mails.len() == 1 && mails[0].body == whole, "user{number}");
    }
    assert_eq!(
        world.stores[1].state.lock().uploads.len(),
        1,
        "one upload for two accounts"
    );
    assert_eq!(
        world.stores[0].state.lock().uploads.len(),
        0,
        "none where nobody gets it"
    );
    for store in [1, 2] {
        let ahead = world.stores[store].ahead_max.load(Ordering::SeqCst);
        assert!(ahead < 3 << 20, "the client was {ahead} bytes ahead of the shard");
    }
}

#[tokio::test]
async fn a_shard_that_dies_while_the_body_arrives_does_not_stop_the_others() {
    let world = World::with_patience(Duration::from_secs(3)).await;
    world.stores[2].state.lock().dies_in_upload_at = Some(1_000_000);
    let mut client = begin(&world, Kind::Smtp, &[1, 2, 3]).await;
    send(&world, &mut client).await;
    client.plays("S: 250 2.0.0 Stored *").await;
    assert_eq!(
        (world.mails(1).len(), world.mails(2).len(), world.mails(3).len()),
        (1, 0, 1)
    );
    let rows: Vec<_> = world
        .stores
        .iter()
        .flat_map(|store| store.state.lock().rows.clone())
        .collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].body.len(), LINE.len() * LINES);
    assert_eq!(rows[0].recipient.as_ref().unwrap().account, 2);
}

#[tokio::test]
async fn a_shard_that_comes_back_gets_the_rest_and_nobody_hears_of_it() {
    for kind in [Kind::Smtp, Kind::Lmtp] {
        let world = World::with_patience(Duration::from_secs(30)).await;
        world.stores[2].state.lock().dies_in_upload_at = Some(1_000_000);
        world.stores[1].state.lock().dies_in_upload_at = Some(3_000_000);
        let mut client = begin(&world, kind, &[1, 2]).await;
        let revive = async {
            for store in [&world.stores[2], &world.stores[1]] {
                loop {
                    let changed = store.changed.notified();
                    if std::mem::take(&mut store.state.lock().down) {
                        break;
                    }
                    changed.await;
                }
            }
        };
        tokio::join!(send(&world, &mut client), revive);
        client.plays("S: 250 *").await;
        if kind == Kind::Lmtp {
            client.plays("S: 250 *").await;
        }
        let whole = LINE.repeat(LINES);
        for number in [1, 2] {
            let mails = world.mails(number);
            assert!(mails.len() == 1 && mails[0].body == whole, "user{number}");
        }
        for (store, died_at) in [(1, 3_000_000), (2, 1_000_000)] {
            let state = world.stores[store].state.lock();
            let from = *state.uploads_from.last().unwrap();
            // On from the last chunk, not from the start.
            assert!(
                state.uploads_from[0] == 0 && from < died_at && from + 512 * 1024 > died_at,
                "{from}"
            );
            assert!(state.rows.is_empty(), "nothing was handed over");
        }
    }
}

#[tokio::test]
async fn over_lmtp_it_is_a_passing_failure_of_its_recipients() {
    let world = World::new().await;
    world.stores[2].state.lock().dies_in_upload_at = Some(1_000_000);
    let mut client = begin(&world, Kind::Lmtp, &[1, 2]).await;
    send(&world, &mut client).await;
    client
        .plays("S: 250 2.1.5 <user1@example.test> Stored *\nS: 451 4.3.0 *")
        .await;
}

#[tokio::test]
async fn when_all_shards_die_the_content_is_read_to_its_end() {
    let world = World::new().await;
    world.stores[1].state.lock().dies_in_upload_at = Some(1_000_000);
    let mut client = begin(&world, Kind::Smtp, &[1]).await;
    send(&world, &mut client).await;
    client.plays("S: 451 4.3.0 *\nC: NOOP\nS: 250 2.0.0 OK").await;
    assert_eq!(world.count(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_half_way_leaves_nothing() {
    let world = World::new().await;
    let mut client = begin(&world, Kind::Smtp, &[1]).await;
    client.send(&LINE.repeat(LINES / 4)).await;
    drop(client);
    world.connections.close();
    world.connections.wait().await;
    assert_eq!(world.count(), 0);
    assert!(
        world.stores[1].state.lock().uploads.is_empty(),
        "a part is no upload"
    );
}
