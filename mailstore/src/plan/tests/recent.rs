//! Who sees messages as recent.

use super::*;

fn claim(account: AccountId, mailbox: u32, below: u32) -> RecentClaim {
    RecentClaim {
        account,
        mailbox: MailboxId(mailbox),
        below: Uid(below),
    }
}

impl Rig {
    fn claim(&mut self, mailbox: u32, below: u32) {
        self.run(Command::ClaimRecent(vec![claim(ACCOUNT, mailbox, below)]))
            .expect("claims");
    }
}

#[test]
fn what_sessions_have_taken_is_written() {
    let mut rig = Rig::new();
    for text in [b"a", b"b", b"c"] {
        rig.append(prepared(text)).expect("appends");
    }
    let before = rig.mailbox(1);
    assert_eq!((before.recent_from, before.recent), (Uid(1), Some(3)));
    rig.claim(1, 3);
    let after = rig.mailbox(1);
    assert_eq!((after.recent_from, after.recent), (Uid(3), Some(1)));
    // Nothing that other sessions must hear of.
    assert_eq!(after.highest_modseq, before.highest_modseq);
    for below in [0, 1, 3] {
        rig.claim(1, below);
        assert_eq!(rig.mailbox(1), after, "{below}");
    }
    rig.claim(1, u32::MAX);
    let all = rig.mailbox(1);
    assert_eq!(all.recent_from, Uid(4), "the next message is recent");
    assert_eq!(all.recent, Some(0));
}

#[test]
fn what_has_gone_needs_nothing_and_holds_nobody_up() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    let claims = vec![
        claim(AccountId(403), 1, 2),
        claim(AccountId(404), 1, 2),
        claim(ACCOUNT, 99, 2),
        claim(ACCOUNT, 1, 2),
    ];
    let mut batch = Batch::new();
    batch.put(
        Column::Rows,
        keys::account(SHARD, AccountId(403)),
        Bytes::from_static(b"\xff"),
    );
    rig.store.apply(&batch);
    rig.run(Command::ClaimRecent(claims)).expect("claims");
    assert_eq!(rig.mailbox(1).recent_from, Uid(2));
    rig.append(prepared(b"b")).expect("appends");
    let (shard, account, generation) = (SHARD.0, ACCOUNT.0, 2);
    let leave = proto::LeaveAccount {
        shard,
        account,
        generation,
    };
    rig.run(Command::LeaveAccount(leave)).expect("leaves");
    let freeze = proto::FreezeAccount {
        shard,
        account,
        generation,
    };
    rig.run(Command::FreezeAccount(freeze)).expect("freezes");
    rig.claim(1, 3);
    assert_eq!(rig.mailbox(1).recent_from, Uid(2));
}

#[test]
fn a_mailbox_that_did_not_count_them_does_when_some_are_taken() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    // As version 1 was read.
    let old = MailboxRecord {
        recent: None,
        ..rig.mailbox(1)
    };
    let mut batch = Batch::new();
    batch.put(
        Column::Rows,
        keys::mailbox(SHARD, ACCOUNT, MailboxId(1)),
        old.encode(),
    );
    rig.store.apply(&batch);
    rig.append(prepared(b"b")).expect("appends");
    let record = rig.mailbox(1);
    assert_eq!(record.recent, None);
    let recent = |from| rig.reader().recent(MailboxId(1), &record, Uid(from));
    assert_eq!([1, 2, 3].map(|from| recent(from).expect("counts")), [2, 1, 0]);
    rig.claim(1, 2);
    assert_eq!(rig.mailbox(1).recent, Some(1));
}
