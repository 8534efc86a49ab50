//! Who may do what, and where.

use bytes::Bytes;
use rookery_proto::directory::v1::{AccountToken, Rights};
use rookery_proto::mailstore::v1::{self as proto, Request, request::Call as Wire};
use rookery_proto::{Reason, Role};
use rookery_replication::{Column, GroupId, View};

use crate::support::*;

fn list() -> Wire {
    Wire::ListMailboxes(proto::ListMailboxes {})
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_must_be_right_in_every_way() {
    use prost::Message;
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let good = claims(ANN, Rights::Owner);
    let mut forged = AccountToken::decode(owner(ANN)).unwrap();
    forged.claims = claims(BOB, Rights::Owner).encode_to_vec().into();
    let mut unknown_key = AccountToken::decode(owner(ANN)).unwrap();
    unknown_key.key_id = 9;
    let mut expired = good.clone();
    expired.expires_at_millis = now_millis() - 1;
    let mut held_by_other = good.clone();
    held_by_other.holder = Bytes::from_static(b"another certificate");
    let cases = [
        (Bytes::new(), Reason::PermissionDenied),
        (Bytes::from_static(b"nonsense"), Reason::PermissionDenied),
        (Bytes::from(vec![0; 100_000]), Reason::PermissionDenied),
        (forged.encode_to_vec().into(), Reason::PermissionDenied),
        (unknown_key.encode_to_vec().into(), Reason::Unavailable),
        (sign(&expired), Reason::PermissionDenied),
        (sign(&held_by_other), Reason::PermissionDenied),
        (deliverer(ANN), Reason::PermissionDenied),
        (owner(999), Reason::NoAccount),
    ];
    for (token, reason) in cases {
        for _ in 0..2 {
            let refused = client.ask(list(), token.clone()).await.unwrap_err();
            assert_eq!(refused.reason, reason, "{refused}");
        }
    }
    client.ask(list(), owner(ANN)).await.unwrap();
    // The right to deliver gives nothing else, not even with a mutation.
    let create = Wire::CreateMailbox(proto::CreateMailbox {
        name: "x".into(),
        special_use: 0,
    });
    assert_eq!(
        client.ask(create, deliverer(ANN)).await.unwrap_err().reason,
        Reason::PermissionDenied
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_make_their_own_calls_alone() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let put = Wire::PutAccount(proto::PutAccount {
        shard: SHARD,
        account: 50,
        generation: 1,
        quota_bytes: 0,
    });
    let refused = fixture.proxy().ask(put, Bytes::new()).await.unwrap_err();
    assert_eq!(refused.reason, Reason::PermissionDenied);
    let refused = fixture.directory().ask(list(), owner(ANN)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::PermissionDenied);
    let other = Client {
        caller: std::sync::Arc::new(fixture.caller(Role::Mailstore, "mailstore-2")),
    };
    let watch = Wire::Watch(proto::Watch { shard: SHARD });
    assert_eq!(
        other.ask(watch, Bytes::new()).await.unwrap_err().reason,
        Reason::PermissionDenied
    );
    let empty = fixture
        .proxy()
        .ask_request(Request::default(), owner(ANN))
        .await
        .unwrap_err();
    assert_eq!(empty.reason, Reason::InvalidArgument);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_served_where_the_directory_says() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    client.deliver_to(ANN, b"Subject: x\r\n\r\n").await;
    let older = Request {
        shard_generation: GENERATION - 1,
        ..request(list())
    };
    assert_eq!(
        client.ask_request(older, owner(ANN)).await.unwrap_err().reason,
        Reason::WrongGeneration
    );
    // Led by another node, and unknown.
    let mut elsewhere = claims(ANN, Rights::Owner);
    elsewhere.shard = 9;
    let refused = client.ask(list(), sign(&elsewhere)).await.unwrap_err();
    assert_eq!(
        (refused.reason, refused.leader.as_str()),
        (Reason::NotLeader, "mailstore-2")
    );
    elsewhere.shard = 100;
    let refused = client.ask(list(), sign(&elsewhere)).await.unwrap_err();
    assert_eq!((refused.reason, refused.leader.as_str()), (Reason::NotLeader, ""));
    // Taken away: the watch ends, calls are sent on, and what was here is removed.
    let mut watching = client.watch(SHARD).await;
    fixture.place(&[(SHARD, "mailstore-2"), (OTHER_SHARD, "mailstore-1")]);
    loop {
        match watching.next().await {
            Some(Ok(_)) => {}
            Some(Err(status)) => break assert_eq!(status.reason, Reason::Unavailable),
            None => panic!("a feed does not end well"),
        }
    }
    let refused = client.ask(list(), owner(ANN)).await.unwrap_err();
    assert_eq!(
        (refused.reason, refused.leader.as_str()),
        (Reason::NotLeader, "mailstore-2")
    );
    client.ask(list(), owner(CAT)).await.unwrap();
    let (from, to) = GroupId(SHARD).key_range();
    let rows = || {
        let (view, mut rows) = (fixture.member.snapshot(), 0);
        for column in Column::ALL {
            view.scan(column, &from, &to, &mut |_, _| {
                rows += 1;
                true
            })
            .unwrap();
        }
        rows
    };
    while rows() > 0 {
        tokio::task::yield_now().await;
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_account_is_gone_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    client.deliver_to(ANN, b"Subject: x\r\n\r\n").await;
    for _ in 0..2 {
        let purge = Wire::PurgeAccount(proto::PurgeAccount {
            shard: SHARD,
            account: ANN,
            generation: 1,
        });
        fixture.directory().ask(purge, Bytes::new()).await.unwrap();
    }
    assert_eq!(
        client.ask(list(), owner(ANN)).await.unwrap_err().reason,
        Reason::NoAccount
    );
    let put = Wire::PutAccount(proto::PutAccount {
        shard: SHARD,
        account: ANN,
        generation: 5,
        quota_bytes: 0,
    });
    assert_eq!(
        fixture
            .directory()
            .ask(put, Bytes::new())
            .await
            .unwrap_err()
            .reason,
        Reason::NoAccount
    );
    let outcomes = client.deliver(delivery(&[ANN], inline(b"\r\n"))).await.unwrap();
    assert_eq!(outcomes[0].error.as_ref().unwrap().reason(), Reason::NoAccount);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_behind_the_session_waits_until_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let modseq = client.mailboxes(ANN).await.modseq;
    let asking = {
        let client = client.clone();
        let seen = Request {
            seen_modseq: modseq + 1,
            ..request(list())
        };
        tokio::spawn(async move { client.ask_request(seen, owner(ANN)).await })
    };
    client.deliver_to(ANN, b"Subject: x\r\n\r\n").await;
    asking.await.unwrap().unwrap();
    fixture.stop().await;
}
