//! What uploads may hold, and for how long.

use super::*;

fn chunk(id: u8, index: u32, raw: &[u8]) -> Command {
    Command::UploadChunk(UploadChunk {
        upload: UploadId([id; 16]),
        index,
        raw_len: raw.len(),
        stored: encode_chunk(raw),
        within_quota: true,
    })
}

fn finish(id: u8, raw: &[u8]) -> Command {
    Command::FinishUpload(FinishUpload {
        upload: UploadId([id; 16]),
        blake3: *blake3::hash(raw).as_bytes(),
        hash: BodyHash::of(raw),
    })
}

fn chunks(rig: &mut Rig) -> usize {
    rig.run(Command::Collect).expect("collects");
    rig.store.len(Column::Bodies)
}

#[test]
fn an_upload_that_stalls_goes_after_minutes_and_a_whole_one_after_an_hour() {
    let limits = PlanLimits::default();
    let mut rig = Rig::new();
    let raw = vec![b'x'; BODY_CHUNK_BYTES];
    rig.run(chunk(1, 0, &raw)).expect("stores");
    rig.run(chunk(2, 0, &raw)).expect("stores");
    rig.run(finish(2, &raw)).expect("finishes");
    rig.now += limits.upload_unfinished_kept_millis;
    // Each chunk gives the next as much time again.
    rig.run(chunk(1, 1, &raw)).expect("stores");
    rig.now += limits.upload_unfinished_kept_millis;
    assert_eq!(chunks(&mut rig), 3);
    rig.now += 1;
    assert_eq!(chunks(&mut rig), 1);
    assert_eq!(rig.reader().upload(UploadId([1; 16])).expect("reads"), None);
    rig.now = 10_000_000 + limits.upload_kept_millis;
    assert_eq!(chunks(&mut rig), 1);
    rig.now += 1;
    assert_eq!(chunks(&mut rig), 0);
}

#[test]
fn an_account_holds_so_much_in_unused_uploads() {
    let mut rig = Rig::new();
    rig.limits.uploads_pending_bytes_max = 3 * BODY_CHUNK_BYTES as u64;
    rig.limits.message_bytes_max = BODY_CHUNK_BYTES as u64;
    for id in 1..=3 {
        rig.run(chunk(id, 0, b"x")).expect("stores");
    }
    assert_eq!(rig.refused(chunk(4, 0, b"x")), Reason::Unavailable);
    // What a plan uses is the quota's matter.
    rig.run(finish(1, b"x")).expect("finishes");
    let from_upload = |id| PreparedBody {
        source: BodySource::Upload(ACCOUNT, UploadId([id; 16])),
        ..prepared(b"x")
    };
    rig.append(from_upload(1)).expect("appends");
    rig.run(chunk(4, 0, b"y")).expect("stores");
    assert_eq!(rig.refused(chunk(5, 0, b"x")), Reason::Unavailable);
    // So is what the shard had already.
    rig.run(finish(2, b"x")).expect("finishes");
    rig.append(from_upload(2)).expect("appends");
    rig.append(from_upload(2)).expect("appends the same again");
    assert_eq!(rig.store.len(Column::Bodies), 3);
    rig.run(chunk(5, 0, b"x")).expect("stores");
    // And what has expired is nobody's.
    rig.now += PlanLimits::default().upload_unfinished_kept_millis + 1;
    assert_eq!(chunks(&mut rig), 1);
    rig.run(chunk(6, 0, b"x")).expect("stores");
}

#[test]
fn an_upload_that_was_not_needed_is_given_up_once_however_many_messages_have_it() {
    let mut rig = Rig::new();
    rig.append(prepared(b"x")).expect("the shard has it");
    rig.run(chunk(1, 0, b"x")).expect("stores");
    rig.run(finish(1, b"x")).expect("finishes");
    let message = AppendMessage {
        body: PreparedBody {
            source: BodySource::Upload(ACCOUNT, UploadId([1; 16])),
            ..prepared(b"x")
        },
        flags: proto::Flags::default(),
        internal_date: None,
    };
    let twice = Append {
        mailbox: 1,
        messages: vec![message.clone(), message],
    };
    rig.run(Command::Append(twice)).expect("appends");
    let pending = rig.reader().counter(&keys::uploads_pending(SHARD, ACCOUNT));
    assert_eq!(pending.expect("reads"), 0);
}

#[test]
fn of_equal_uploads_in_one_plan_the_first_is_used_and_the_others_are_given_up() {
    let mut rig = Rig::new();
    for id in 1..=3 {
        rig.run(chunk(id, 0, b"x")).expect("stores");
        rig.run(finish(id, b"x")).expect("finishes");
    }
    let of_upload = |id| AppendMessage {
        body: PreparedBody {
            source: BodySource::Upload(ACCOUNT, UploadId([id; 16])),
            ..prepared(b"x")
        },
        flags: proto::Flags::default(),
        internal_date: None,
    };
    let many = Append {
        mailbox: 1,
        messages: [1, 2, 1, 3, 2].map(of_upload).to_vec(),
    };
    rig.run(Command::Append(many)).expect("appends");
    let pending = rig.reader().counter(&keys::uploads_pending(SHARD, ACCOUNT));
    assert_eq!(pending.expect("reads"), 0);
    assert_eq!(rig.store.len(Column::Bodies), 1);
    let first = BodyLocation::Upload(ACCOUNT, UploadId([1; 16]));
    let body = rig
        .reader()
        .body(&BodyHash::of(b"x"))
        .expect("reads")
        .expect("is there");
    assert_eq!(body.location, first);
}

#[test]
fn an_owner_over_its_quota_uploads_nothing() {
    let mut rig = Rig::new();
    rig.append(prepared(b"four")).expect("appends");
    rig.run(put_account(1, 4)).expect("puts");
    assert_eq!(rig.refused(chunk(1, 0, b"x")), Reason::OverQuota);
    let Command::UploadChunk(for_others) = chunk(1, 0, b"x") else {
        unreachable!()
    };
    rig.run(Command::UploadChunk(UploadChunk {
        within_quota: false,
        ..for_others
    }))
    .expect("stores for the other recipients");
    rig.run(put_account(1, 5)).expect("puts");
    rig.run(chunk(2, 0, b"x")).expect("stores");
}

/// An answer is lost, the account goes, its uploads with it, and the proxy asks again: by the same key, with an upload that is nowhere.
#[test]
fn what_was_done_with_an_upload_is_answered_when_the_upload_is_gone() {
    let mut rig = Rig::new();
    let keyed = |rig: &mut Rig, number: u64, body: PreparedBody| {
        let context = PlanContext {
            shard: SHARD,
            now_millis: rig.now,
            limits: rig.limits,
            disk_nearly_full: false,
        };
        let message = AppendMessage {
            body,
            flags: proto::Flags::default(),
            internal_date: None,
        };
        let mutation = Mutation {
            account: ACCOUNT,
            key: Some(MutationKey {
                session: [1; 16],
                number,
                issued_at_millis: rig.now,
            }),
            command: Command::Append(Append {
                mailbox: 1,
                messages: vec![message],
            }),
        };
        let plan = plan(&rig.store, &context, &mutation)?;
        rig.store.apply(&plan.batch);
        Ok::<_, Status>(plan.reply.call)
    };
    let deliver = |body: PreparedBody, transaction: u8| {
        Command::Deliver(Deliver {
            transaction: [transaction; 16],
            issued_at_millis: 10_000_000,
            body,
            recipients: vec![Ok(DeliverRecipient {
                account: ACCOUNT,
                prefix: Bytes::new(),
            })],
        })
    };
    let outcome = |call: reply::Call| match call {
        reply::Call::Delivered(mut delivered) => delivered.outcomes.remove(0),
        other => panic!("{other:?}"),
    };

    let appended = keyed(&mut rig, 1, prepared(b"x"));
    assert!(matches!(appended, Ok(Some(reply::Call::Appended(_)))));
    let delivered = outcome(rig.run(deliver(prepared(b"x"), 1)).unwrap());
    assert_eq!(delivered.error, None);

    assert_eq!(keyed(&mut rig, 1, PreparedBody::gone()), appended);
    let again = outcome(rig.run(deliver(PreparedBody::gone(), 1)).unwrap());
    assert_eq!(again, delivered);
    let is_refused = |result: Result<_, Status>| result.unwrap_err().reason == Reason::FailedPrecondition;
    assert!(is_refused(keyed(&mut rig, 2, PreparedBody::gone())));
    assert_eq!(
        rig.refused(deliver(PreparedBody::gone(), 2)),
        Reason::FailedPrecondition
    );

    // The account has gone with all that it had.
    let leave = proto::LeaveAccount {
        shard: SHARD.0,
        account: ACCOUNT.0,
        generation: 2,
    };
    rig.run(Command::LeaveAccount(leave)).unwrap();
    let freeze = proto::FreezeAccount {
        shard: SHARD.0,
        account: ACCOUNT.0,
        generation: 2,
    };
    rig.run(Command::FreezeAccount(freeze)).unwrap();
    let depart = proto::DepartAccount {
        shard: SHARD.0,
        account: ACCOUNT.0,
        generation: 2,
        to_shard: 5,
    };
    rig.run(Command::DepartAccount(depart)).unwrap();
    rig.run(Command::Collect).unwrap();
    let moved = keyed(&mut rig, 1, PreparedBody::gone());
    assert_eq!(moved.unwrap_err().reason, Reason::Moved);
    let moved = outcome(rig.run(deliver(PreparedBody::gone(), 1)).unwrap());
    assert_eq!(
        Status::from(moved.error.expect("it is elsewhere")).reason,
        Reason::Moved
    );
}
