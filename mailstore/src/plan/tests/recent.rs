//! Who sees messages as recent.

use super::*;

#[test]
fn recent_is_for_one_session() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    let open = Command::OpenMailbox(proto::OpenMailbox {
        mailbox: 1,
        claim_recent: true,
    });
    let Ok(reply::Call::OpenedMailbox(first)) = rig.run(open.clone()) else {
        panic!("opens")
    };
    assert_eq!((first.recent_from, first.first_unseen), (1, 1));
    assert_eq!(first.mailbox.map(|mailbox| mailbox.recent), Some(1));
    let Ok(reply::Call::OpenedMailbox(second)) = rig.run(open) else {
        panic!("opens")
    };
    assert_eq!(second.recent_from, 2);
    assert_eq!(second.mailbox.map(|mailbox| mailbox.recent), Some(0));
}

#[test]
fn a_session_takes_what_came_while_it_lasted() {
    let mut rig = Rig::new();
    for text in [b"a", b"b", b"c"] {
        rig.append(prepared(text)).expect("appends");
    }
    let claim = |below| Command::ClaimRecent(proto::ClaimRecent { mailbox: 1, below });
    let before = rig.mailbox(1);
    rig.run(claim(3)).expect("claims");
    let after = rig.mailbox(1);
    assert_eq!(after.recent_from, Uid(3));
    // Nothing that other sessions must hear of.
    assert_eq!(after.highest_modseq, before.highest_modseq);
    for below in [0, 1, 3] {
        rig.run(claim(below)).expect("has nothing to do");
        assert_eq!(rig.mailbox(1), after, "{below}");
    }
    rig.run(claim(u32::MAX)).expect("claims");
    assert_eq!(rig.mailbox(1).recent_from, Uid(4), "the next message is recent");
    assert_eq!(
        rig.refused(Command::ClaimRecent(proto::ClaimRecent {
            mailbox: 99,
            below: 2
        })),
        Reason::NoMailbox
    );
}
