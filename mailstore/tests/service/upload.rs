//! Large messages: uploaded in chunks, then delivered or appended, read in part.

use bytes::Bytes;
use rookery_mailstore::config::Config;
use rookery_process::config::ByteSize;
use rookery_proto::mailstore::v1::{self as proto, reply, request::Call as Wire};
use rookery_proto::{Body, Reason, Status};

use crate::support::*;

/// A message of so many bytes that do not compress well.
fn large(size: usize) -> Bytes {
    let mut bytes = b"Subject: large\r\n\r\n".to_vec();
    let mut state = 1u64;
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(format!("{state:016x}\r\n").as_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_is_uploaded_delivered_and_read_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let body = large(50 * 1024 * 1024 + 77);
    let id = unique();
    let told = client.upload(deliverer(ANN), id, body.clone()).await.unwrap();
    assert_eq!(told.size, body.len() as u64);
    assert_eq!(&told.hash[..], blake3::hash(&body).as_bytes());
    let delivery = delivery(&[ANN, BOB], uploaded(id));
    let outcomes = client.deliver(delivery.clone()).await.unwrap();
    assert!(
        outcomes.iter().all(|outcome| outcome.error.is_none()),
        "{outcomes:?}"
    );
    // A retry finds the upload used and the message delivered.
    assert_eq!(client.deliver(delivery).await.unwrap(), outcomes);
    let partial = |offset, length| proto::Section {
        partial: true,
        offset,
        length,
        ..proto::Section::default()
    };
    let offset = 40_000_000;
    let fetch = proto::Fetch {
        mailbox: 1,
        uids: all(),
        size: true,
        sections: vec![partial(offset, 300_000)],
        ..proto::Fetch::default()
    };
    let rows = client.fetch(BOB, fetch).await.unwrap();
    let bytes: Vec<u8> = rows
        .iter()
        .flat_map(|row| &row.sections)
        .flat_map(|s| s.data.to_vec())
        .collect();
    let from = offset as usize - prefix(BOB).len();
    assert!(bytes == body[from..from + 300_000]);
    assert_eq!(rows[0].size, (prefix(BOB).len() + body.len()) as u64);
    let messages = client.messages(ANN, 1).await;
    assert!(messages[0].1 == [&prefix(ANN)[..], &body].concat());
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_the_accounts_and_have_limits() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        body_size_max: ByteSize(1024 * 1024),
        ..Config::default()
    };
    let fixture = Fixture::start_with(
        folder.path(),
        Setup {
            config,
            ..Setup::default()
        },
    )
    .await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let body = large(600_000);
    let id = unique();
    client.upload(owner(ANN), id, body.clone()).await.unwrap();
    let append = |account, id| {
        let messages = vec![proto::AppendMessage {
            body: Some(uploaded(id)),
            ..proto::AppendMessage::default()
        }];
        client.mutate(
            Wire::Append(proto::Append { mailbox: 1, messages }),
            account,
            unique(),
            1,
        )
    };
    assert_eq!(
        append(BOB, id).await.unwrap_err().reason,
        Reason::FailedPrecondition
    );
    assert_eq!(
        append(ANN, unique()).await.unwrap_err().reason,
        Reason::FailedPrecondition
    );
    append(ANN, id).await.unwrap();
    assert!(client.messages(ANN, 1).await[0].1 == body);
    // Too large, and too large for a call of its own.
    let refused = client
        .upload(owner(ANN), unique(), large(1024 * 1024 + 1))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::LimitExceeded);
    let refused = client
        .deliver(delivery(&[ANN], inline(&large(300_000))))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::LimitExceeded);
    // One that breaks off is no upload.
    let (sender, broken) = Body::channel();
    let id = unique();
    let call = Wire::Upload(proto::Upload {
        id: id.to_vec().into(),
        ..proto::Upload::default()
    });
    let replies = client.start(request(call), owner(ANN), Some(broken));
    sender.send(Ok(large(50_000))).await.unwrap();
    sender
        .send(Err(Status::unavailable("the client has gone")))
        .await
        .unwrap();
    assert_eq!(replies.single().await.unwrap_err().reason, Reason::Unavailable);
    assert_eq!(
        append(ANN, id).await.unwrap_err().reason,
        Reason::FailedPrecondition
    );
    // Nor is an empty one.
    client.upload(owner(ANN), id, Bytes::new()).await.unwrap_err();
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_two_attempts_are_not_stored_under_the_hash_of_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let wanted = large(900_000);
    let other: Bytes = wanted.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into();
    let append = |account, id| {
        let messages = vec![proto::AppendMessage {
            body: Some(uploaded(id)),
            ..proto::AppendMessage::default()
        }];
        client.mutate(
            Wire::Append(proto::Append { mailbox: 1, messages }),
            account,
            unique(),
            1,
        )
    };
    // Another shard has the message, so that its analysis is known.
    let elsewhere = unique();
    client
        .upload(owner(CAT), elsewhere, wanted.clone())
        .await
        .unwrap();
    append(CAT, elsewhere).await.unwrap();
    // The first attempt brings other bytes, and breaks off. Its second chunk went off when the first was stored.
    let id = unique();
    let (sender, broken) = Body::channel();
    let call = Wire::Upload(proto::Upload {
        id: id.to_vec().into(),
        ..proto::Upload::default()
    });
    let replies = client.start(request(call), owner(ANN), Some(broken));
    sender.send(Ok(other.slice(..600_000))).await.unwrap();
    sender.send(Err(Status::unavailable("broken"))).await.unwrap();
    replies.single().await.unwrap_err();
    client.upload(owner(ANN), id, wanted.clone()).await.unwrap();
    assert_eq!(
        append(ANN, id).await.unwrap_err().reason,
        Reason::FailedPrecondition
    );
    // Under an id of its own it is stored, and one of a body that is known can be named again by a retry.
    for _ in 0..2 {
        let id = unique();
        client.upload(owner(ANN), id, wanted.clone()).await.unwrap();
        append(ANN, id).await.unwrap();
        append(ANN, id).await.unwrap();
    }
    let messages = client.messages(ANN, 1).await;
    assert_eq!(messages.len(), 4);
    assert!(messages.iter().all(|(_, message)| *message == wanted));
    fixture.stop().await;
}

/// An upload that breaks off once `acknowledged` bytes are told to be durable; more than that was sent.
async fn break_off(client: &Client, id: [u8; 16], body: &Bytes, from: u64, acknowledged: u64) {
    let (sender, sent) = Body::channel();
    let call = Wire::Upload(proto::Upload {
        id: id.to_vec().into(),
        from,
        acknowledge: true,
    });
    let mut replies = client.start(request(call), owner(ANN), Some(sent));
    let rest = body.slice(usize::try_from(from).unwrap()..);
    for piece in rest.chunks(60_000) {
        sender.send(Ok(rest.slice_ref(piece))).await.unwrap();
    }
    for told in (from..=acknowledged).step_by(256 * 1024) {
        let expected = proto::Uploaded {
            size: told,
            hash: Bytes::new(),
        };
        let reply = replies.next().await.unwrap().unwrap().call;
        assert_eq!(reply, Some(reply::Call::Uploaded(expected)));
    }
    // The caller goes, with the body open: what its end would say is that this is all.
    drop(replies);
    sender.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_broke_off_also_in_another_life_of_the_node() {
    const CHUNK: usize = 256 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let body = large(5 * CHUNK / 2 + 77);
    let id = unique();
    // Half a chunk was on its way both times, and is nowhere.
    break_off(&client, id, &body.slice(..CHUNK + 1000), 0, CHUNK as u64).await;
    break_off(
        &client,
        id,
        &body.slice(..2 * CHUNK + 1000),
        CHUNK as u64,
        2 * CHUNK as u64,
    )
    .await;
    drop(client);
    fixture.stop().await;

    let fixture = Fixture::start(folder.path()).await;
    let client = fixture.proxy();
    let go_on = |from: usize, bytes: Bytes| {
        let (sender, sent) = Body::channel();
        sender.try_send(Ok(bytes)).unwrap();
        let call = Wire::Upload(proto::Upload {
            id: id.to_vec().into(),
            from: from as u64,
            acknowledge: false,
        });
        client.start(request(call), owner(ANN), Some(sent)).single()
    };
    let refused = |status: Result<proto::Reply, Status>| status.unwrap_err().reason;
    // Not where no chunk ends, and not behind what is here.
    assert_eq!(
        refused(go_on(CHUNK + 1, body.slice(CHUNK + 1..)).await),
        Reason::InvalidArgument
    );
    assert_eq!(
        refused(go_on(3 * CHUNK, Bytes::from_static(b"x")).await),
        Reason::Unavailable
    );
    // Before it is as good: what is stored already is not stored again. And once more, for who has lost the answer.
    for from in [CHUNK, 2 * CHUNK] {
        match go_on(from, body.slice(from..)).await.unwrap().call {
            Some(reply::Call::Uploaded(uploaded)) => {
                assert_eq!(uploaded.size, body.len() as u64);
                assert_eq!(uploaded.hash, blake3::hash(&body).as_bytes()[..]);
            }
            other => panic!("{other:?}"),
        }
    }
    let messages = vec![proto::AppendMessage {
        body: Some(uploaded(id)),
        ..proto::AppendMessage::default()
    }];
    let append = Wire::Append(proto::Append { mailbox: 1, messages });
    client.mutate(append, ANN, unique(), 1).await.unwrap();
    assert!(client.messages(ANN, 1).await[0].1 == body);
    fixture.stop().await;
}
