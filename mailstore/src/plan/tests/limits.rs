//! What a plan is refused for before anything is written.

use super::*;

#[test]
fn a_reply_that_cannot_be_kept_refuses_its_command() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    let keyed = Mutation {
        account: ACCOUNT,
        key: Some(MutationKey {
            session: [1; 16],
            number: 1,
            issued_at_millis: rig.now,
        }),
        command: store(Mode::Add, &["k".into()]),
    };
    let mut context = PlanContext {
        shard: SHARD,
        now_millis: rig.now,
        limits: PlanLimits::default(),
        disk_nearly_full: false,
    };
    let reply_bytes = plan(&rig.store, &context, &keyed).expect("plans").reply;
    let reply_bytes = prost::Message::encoded_len(&reply_bytes);
    context.limits.reply_bytes_max = reply_bytes - 1;
    let refused = plan(&rig.store, &context, &keyed).expect_err("is refused");
    assert_eq!(refused.reason, Reason::LimitExceeded);
    context.limits.reply_bytes_max = reply_bytes;
    plan(&rig.store, &context, &keyed).expect("plans");
}

#[test]
fn a_disk_that_is_nearly_full_takes_nothing_new_and_lets_go_of_the_old() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    let context = PlanContext {
        shard: SHARD,
        now_millis: rig.now,
        limits: PlanLimits::default(),
        disk_nearly_full: true,
    };
    let run = |key, command| {
        let mutation = Mutation {
            account: ACCOUNT,
            key,
            command,
        };
        plan(&rig.store, &context, &mutation)
    };
    let uids = || Some(proto::UidSet { bounds: vec![1, 1] });
    let copy = |r#move| {
        Command::Copy(proto::Copy {
            from: 1,
            to: 2,
            uids: uids(),
            r#move,
        })
    };
    let append = Command::Append(Append {
        mailbox: 1,
        messages: vec![AppendMessage {
            body: prepared(b"new"),
            flags: proto::Flags::default(),
            internal_date: None,
        }],
    });
    let deliver = Command::Deliver(Deliver {
        transaction: [1; 16],
        issued_at_millis: rig.now,
        body: prepared(b"new"),
        recipients: vec![Ok(DeliverRecipient {
            account: ACCOUNT,
            prefix: Bytes::new(),
        })],
    });
    let hand_off = Command::HandOff(HandOff {
        transaction: [1; 16],
        issued_at_millis: rig.now,
        sender: "s@x".into(),
        body: prepared(b"new"),
        recipients: Vec::new(),
    });
    let chunk = Command::UploadChunk(UploadChunk {
        upload: UploadId([1; 16]),
        index: 0,
        raw_len: 3,
        stored: encode_chunk(b"new"),
        within_quota: true,
    });
    let key = Some(MutationKey {
        session: [1; 16],
        number: 1,
        issued_at_millis: rig.now,
    });
    let create = create("new", SpecialUse::Unspecified);
    for command in [append, deliver, hand_off, chunk, copy(false), create] {
        for key in [None, key] {
            let refused = run(key, command.clone()).expect_err("is refused");
            assert_eq!(refused.reason, Reason::NoSpace, "{command:?}");
            assert!(refused.message.contains("disk is nearly full"));
        }
    }
    let expunge = Command::Expunge(proto::Expunge {
        mailbox: 1,
        only: false,
        uids: None,
    });
    let delete = Command::DeleteMailbox(proto::DeleteMailbox { mailbox: 2 });
    for command in [
        expunge,
        delete,
        store(Mode::Add, &["k".into()]),
        copy(true),
        Command::Collect,
    ] {
        run(key, command).expect("is planned");
    }
}
