//! What every transport must do, run over each of them.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use rookery_proto::call::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use rookery_proto::{Body, Call, CallContext, Reason, Status};
use support::scripted::{request, said};
use support::{Harness, PATIENCE, start};

macro_rules! over_both_transports {
    ($($case:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test]
            async fn $case() {
                super::within(super::$case(super::Harness::local())).await;
            })*
        }
        mod remote {
            $(#[tokio::test]
            async fn $case() {
                let harness = super::Harness::remote().await;
                super::within(super::$case(harness)).await;
            })*
        }
    };
}

over_both_transports!(
    answers_with_one_reply,
    tells_the_service_who_calls_and_why,
    ends_without_a_reply,
    fails_with_reason_message_and_leader,
    fails_after_a_reply,
    says_nothing_after_an_error,
    turns_a_panic_into_an_error_of_that_call_alone,
    ends_at_the_deadline_on_both_sides,
    ends_at_once_when_the_deadline_has_passed,
    cancels_when_the_replies_are_dropped,
    refuses_a_large_request,
    refuses_a_large_reply,
    streams_replies_in_order,
    carries_large_replies,
    keeps_replies_of_two_tasks_apart,
    does_not_wait_for_a_slow_reader,
    carries_a_body_whole,
    carries_an_empty_body,
    slows_the_sender_of_a_body_that_is_not_read,
    refuses_a_body_that_is_not_read,
    fails_with_the_error_of_its_body,
    serves_many_calls_at_once,
);

async fn within(case: impl Future<Output = ()>) {
    tokio::time::timeout(PATIENCE, case)
        .await
        .expect("the case hangs");
}

async fn answers_with_one_reply(harness: Harness) {
    let reply = harness.call("echo hello").single().await.unwrap();
    assert_eq!(said(reply), (0, "hello".to_owned()));
}

async fn tells_the_service_who_calls_and_why(harness: Harness) {
    let (certificate_bytes, peer) = said(harness.call("peer").single().await.unwrap());
    assert_eq!((certificate_bytes, peer.as_str()), (32, "proxy proxy-1"));
    let mut context = CallContext::with_timeout(PATIENCE).token(Bytes::from_static(b"token"));
    context.traceparent = "00-trace".to_owned();
    let replies = harness.caller.call(Call {
        context,
        request: request("context"),
        body: None,
    });
    assert_eq!(said(replies.single().await.unwrap()).1, "00-trace token");
}

async fn ends_without_a_reply(harness: Harness) {
    let mut replies = harness.call("nothing");
    assert!(replies.next().await.is_none());
}

async fn fails_with_reason_message_and_leader(harness: Harness) {
    let status = harness.call("fail").single().await.unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str(), status.leader.as_str()),
        (Reason::NotLeader, "mailstore-2 leads", "mailstore-2")
    );
}

async fn fails_after_a_reply(harness: Harness) {
    let mut replies = harness.call("fail-late");
    assert_eq!(
        said(replies.next().await.unwrap().unwrap()),
        (1, "first".to_owned())
    );
    assert_eq!(
        replies.next().await.unwrap().unwrap_err().reason,
        Reason::OverQuota
    );
    // What expects one reply gets the error, not the reply.
    assert_eq!(
        harness.call("fail-late").single().await.unwrap_err().reason,
        Reason::OverQuota
    );
}

async fn says_nothing_after_an_error(harness: Harness) {
    let mut replies = harness.call("fail");
    assert!(replies.next().await.unwrap().is_err());
    assert!(replies.next().await.is_none());
    assert!(replies.next().await.is_none());
}

async fn turns_a_panic_into_an_error_of_that_call_alone(harness: Harness) {
    let status = harness.call("panic").single().await.unwrap_err();
    assert_eq!(status.reason, Reason::Internal);
    assert!(harness.call("echo on").single().await.is_ok());
}

async fn ends_at_the_deadline_on_both_sides(harness: Harness) {
    harness.call("echo up").single().await.unwrap();
    let mut replies = start(&*harness.caller, "never", None, Duration::from_millis(200));
    assert_eq!(
        replies.next().await.unwrap().unwrap_err().reason,
        Reason::DeadlineExceeded
    );
    assert!(replies.next().await.is_none());
    // Whether or not the call had reached the service by then, it is not served any more.
    harness.service.until(|seen| seen.dropped == seen.begun - 1).await;
}

async fn ends_at_once_when_the_deadline_has_passed(harness: Harness) {
    let replies = start(&*harness.caller, "never", None, Duration::ZERO);
    assert_eq!(
        replies.single().await.unwrap_err().reason,
        Reason::DeadlineExceeded
    );
}

async fn cancels_when_the_replies_are_dropped(harness: Harness) {
    let replies = harness.call("never");
    harness.service.until(|seen| seen.begun == 1).await;
    drop(replies);
    harness.service.until(|seen| seen.dropped == 1).await;
}

async fn refuses_a_large_request(harness: Harness) {
    let large = format!("echo {}", "x".repeat(REQUEST_BYTES_MAX));
    let status = harness.call(&large).single().await.unwrap_err();
    assert_eq!(status.reason, Reason::LimitExceeded);
    let fits = format!("echo {}", "x".repeat(REQUEST_BYTES_MAX - 100));
    assert!(harness.call(&fits).single().await.is_ok());
}

async fn refuses_a_large_reply(harness: Harness) {
    let command = format!("count 1 {REPLY_BYTES_MAX}");
    let status = harness.call(&command).single().await.unwrap_err();
    assert_eq!(status.reason, Reason::LimitExceeded);
}

async fn streams_replies_in_order(harness: Harness) {
    let mut replies = harness.call("count 5000 100");
    for number in 0..5000 {
        assert_eq!(said(replies.next().await.unwrap().unwrap()).0, number);
    }
    assert!(replies.next().await.is_none());
}

async fn carries_large_replies(harness: Harness) {
    let mut replies = harness.call("count 3 3000000");
    for number in 0..3 {
        let (got, text) = said(replies.next().await.unwrap().unwrap());
        assert_eq!((got, text.len()), (number, 3_000_000));
    }
    assert!(replies.next().await.is_none());
}

async fn keeps_replies_of_two_tasks_apart(harness: Harness) {
    let mut replies = harness.call("interleave");
    let mut counts = [0, 0];
    while let Some(reply) = replies.next().await {
        match said(reply.unwrap()) {
            (1, text) if text == "a".repeat(300_000) => counts[0] += 1,
            (2, text) if text == "b".repeat(10) => counts[1] += 1,
            other => panic!("a mixed reply: {} bytes", other.1.len()),
        }
    }
    assert_eq!(counts, [5, 50]);
}

async fn does_not_wait_for_a_slow_reader(harness: Harness) {
    let mut slow = harness.call("count 200 16000");
    // The window lets at least this many through, and then the service waits.
    harness.service.until(|seen| seen.sent >= 15).await;
    for _ in 0..100 {
        assert!(harness.call("echo quick").single().await.is_ok());
    }
    let sent = harness.service.seen.borrow().sent;
    assert!(sent <= 17, "{sent} replies were sent to a caller that reads none");
    for number in 0..200 {
        assert_eq!(said(slow.next().await.unwrap().unwrap()).0, number);
    }
    assert!(slow.next().await.is_none());
}

fn chunk(seed: usize, bytes: usize) -> Bytes {
    (0..bytes)
        .map(|index| ((index * 7 + seed) % 251) as u8)
        .collect::<Vec<_>>()
        .into()
}

async fn carries_a_body_whole(harness: Harness) {
    let (sender, body) = Body::channel();
    let replies = start(&*harness.caller, "body", Some(body), PATIENCE);
    let mut expected = (0, 0u64);
    // The last is larger than a chunk may be: the transport cuts it where it must.
    for (seed, bytes) in [1, 65536, 300, 65536, 65536, 65536, 65536, 65536, 200_000]
        .into_iter()
        .enumerate()
    {
        let data = chunk(seed, bytes);
        expected.0 += data.len();
        expected.1 = data.iter().fold(expected.1, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
        sender.send(Ok(data)).await.unwrap();
    }
    drop(sender);
    assert_eq!(
        said(replies.single().await.unwrap()),
        (expected.0, expected.1.to_string())
    );
}

async fn carries_an_empty_body(harness: Harness) {
    let (sender, body) = Body::channel();
    let replies = start(&*harness.caller, "body", Some(body), PATIENCE);
    drop(sender);
    assert_eq!(said(replies.single().await.unwrap()).0, 0);
}

async fn slows_the_sender_of_a_body_that_is_not_read(harness: Harness) {
    let (sender, body) = Body::channel();
    let held = start(&*harness.caller, "held-body", Some(body), PATIENCE);
    harness.service.until(|seen| seen.begun == 1).await;
    // More than windows and channels hold: the sender is stopped.
    let sending = tokio::spawn(async move {
        for seed in 0..100 {
            sender.send(Ok(chunk(seed, 65536))).await.unwrap();
        }
    });
    // A body beside it goes through meanwhile.
    let (other, body) = Body::channel();
    let replies = start(&*harness.caller, "body", Some(body), PATIENCE);
    for seed in 0..50 {
        other.send(Ok(chunk(seed, 65536))).await.unwrap();
    }
    drop(other);
    assert_eq!(said(replies.single().await.unwrap()).0, 50 * 65536);
    assert!(!sending.is_finished());
    harness.service.release.add_permits(1);
    assert_eq!(said(held.single().await.unwrap()).0, 100 * 65536);
    sending.await.unwrap();
}

async fn refuses_a_body_that_is_not_read(harness: Harness) {
    let (sender, body) = Body::channel();
    let replies = start(&*harness.caller, "refuse-body", Some(body), PATIENCE);
    assert_eq!(replies.single().await.unwrap_err().reason, Reason::OverQuota);
    // Nobody takes the rest, and its sender learns so.
    sender.closed().await;
}

async fn fails_with_the_error_of_its_body(harness: Harness) {
    let (sender, body) = Body::channel();
    let replies = start(&*harness.caller, "body", Some(body), PATIENCE);
    sender.send(Ok(chunk(0, 1000))).await.unwrap();
    sender
        .send(Err(Status::new(Reason::Cancelled, "the client has gone")))
        .await
        .unwrap();
    let status = replies.single().await.unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (Reason::Cancelled, "the client has gone")
    );
}

async fn serves_many_calls_at_once(harness: Harness) {
    let held: Vec<_> = (0..500).map(|_| harness.call("hold")).collect();
    harness.service.until(|seen| seen.begun == 500).await;
    harness.service.release.add_permits(500);
    for replies in held {
        assert_eq!(said(replies.single().await.unwrap()).1, "held");
    }
}
