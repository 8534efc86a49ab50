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
