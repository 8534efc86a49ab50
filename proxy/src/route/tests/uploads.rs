//! A large message goes on at whoever leads, behind what is durable.

use super::leaders::{Mood, World};
use super::*;
use crate::route::Upload;

fn message() -> Bytes {
    (0..3_000_077u32)
        .map(|at| (at % 251) as u8)
        .collect::<Vec<u8>>()
        .into()
}

fn later() -> std::time::Instant {
    std::time::Instant::now() + Duration::from_secs(60)
}

/// Sends all of it, in pieces that end nowhere in particular.
async fn send(world: &World, message: &Bytes) -> Result<Bytes, Status> {
    let mut upload: Upload = world.account.upload([7; 16], later());
    for piece in message.chunks(10_007) {
        upload.send(message.slice_ref(piece)).await;
    }
    upload.finish(later()).await
}

/// Where the calls of the upload began at a node.
fn began(world: &World, id: &str) -> Vec<u64> {
    let asked = world.node(id).asked();
    let from = |request: &mailstore::Request| match &request.call {
        Some(request::Call::Upload(upload)) => Some(upload.from),
        _ => None,
    };
    asked.iter().filter_map(from).collect()
}

#[tokio::test]
async fn it_goes_on_at_another_node_when_the_first_dies_or_stands_still() {
    for mood in [Mood::Down, Mood::Silent, Mood::Follows("b")] {
        let world = World::new(&[("a", Mood::Leads), ("b", Mood::Follows("a"))]).await;
        *world.node("a").changes_at.lock() = Some((1_500_000, mood));
        let message = message();
        let (sent, ()) = tokio::join!(send(&world, &message), async {
            let mut moods = world.node("a").mood.subscribe();
            let _ = moods.wait_for(|mood| *mood != Mood::Leads).await;
            world.set(&[("b", Mood::Leads)]);
        });
        assert_eq!(sent.expect("is whole"), [7; 16][..]);
        assert!(*world.disk.lock() == message);
        assert_eq!(began(&world, "a")[0], 0);
        let from = began(&world, "b").last().copied();
        // Five whole chunks were durable.
        assert_eq!(from, Some(5 * 256 * 1024), "{mood:?}");
        world.cluster.stop().await;
    }
}

#[tokio::test]
async fn it_comes_back_to_the_only_node() {
    let world = World::new(&[("a", Mood::Leads)]).await;
    *world.node("a").changes_at.lock() = Some((2_000_000, Mood::Down));
    let message = message();
    let (sent, ()) = tokio::join!(send(&world, &message), async {
        let mut moods = world.node("a").mood.subscribe();
        let _ = moods.wait_for(|mood| *mood == Mood::Down).await;
        world.set(&[("a", Mood::Leads)]);
    });
    sent.expect("is whole");
    assert!(*world.disk.lock() == message);
    world.cluster.stop().await;
}

#[tokio::test]
async fn a_shard_that_stays_away_is_given_up_and_the_rest_is_swallowed() {
    let (patience, silence) = (Duration::from_millis(300), Duration::from_secs(3));
    for mood in [Mood::Down, Mood::Silent] {
        let world = World::patient(&[("a", Mood::Leads)], patience, silence).await;
        *world.node("a").changes_at.lock() = Some((500_000, mood));
        let refused = send(&world, &message()).await.expect_err("nobody takes it");
        assert!(refused.is_retryable(), "{mood:?}: {refused}");
        assert!(world.disk.lock().len() < 600_000);
        world.cluster.stop().await;
    }
}
