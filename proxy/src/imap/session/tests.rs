//! Three sessions on one mailbox against a model, by random operations. RFC 3501 §5.5, §7.4.1.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rookery_mail::imap::types::{Flag, Numbering, SequenceSet};
use rookery_proto::mailstore::v1::{Flags, Mailbox, MailboxChanges, MessageFlags, OpenedMailbox};

use super::*;

/// The mailbox as the shard has it.
#[derive(Default)]
struct Shard {
    modseq: u64,
    next: u32,
    messages: BTreeMap<u32, (u32, u64)>,
    vanished: Vec<(u32, u64)>,
    keywords: BTreeSet<String>,
}

impl Shard {
    fn deliver(&mut self) {
        self.modseq += 1;
        self.next += 1;
        self.messages.insert(self.next, (0, self.modseq));
    }

    fn store(&mut self, uids: &[u32], bits: u32) -> Vec<MessageFlags> {
        self.modseq += 1;
        let mut stored = Vec::new();
        for uid in uids {
            if let Some(message) = self.messages.get_mut(uid) {
                *message = (bits, self.modseq);
                stored.push(flags_of(*uid, *message));
            }
        }
        stored
    }

    fn expunge(&mut self, uids: &[u32]) -> UidRuns {
        self.modseq += 1;
        let mut gone = BTreeSet::new();
        for uid in uids {
            if self.messages.remove(uid).is_some() {
                self.vanished.push((*uid, self.modseq));
                gone.insert(*uid);
            }
        }
        UidRuns::from_ranges(gone.into_iter().map(|uid| uid..=uid))
    }

    fn uids(&self) -> UidRuns {
        UidRuns::from_ranges(self.messages.keys().map(|uid| *uid..=*uid))
    }

    fn changes(&self, since: u64, reset: bool) -> MailboxChanges {
        let vanished: BTreeSet<u32> = self
            .vanished
            .iter()
            .filter(|(_, modseq)| *modseq > since)
            .map(|(uid, _)| *uid)
            .collect();
        let changed = self
            .messages
            .iter()
            .filter(|(_, message)| reset || message.1 > since);
        MailboxChanges {
            modseq: self.modseq,
            changed: changed.map(|(uid, message)| flags_of(*uid, *message)).collect(),
            vanished: Some(UidRuns::from_ranges(vanished.into_iter().map(|uid| uid..=uid)).to_wire()),
            reset,
            uids: reset.then(|| self.uids().to_wire()),
            keywords: self.keywords.iter().cloned().collect(),
            ..MailboxChanges::default()
        }
    }
}

fn flags_of(uid: u32, (system, modseq): (u32, u64)) -> MessageFlags {
    MessageFlags {
        uid,
        flags: Some(Flags {
            system,
            keywords: Vec::new(),
        }),
        modseq,
    }
}

/// What a client makes of the responses alone: a list of messages, each with the flags it heard.
struct Client {
    view: View,
    messages: Vec<Option<u32>>,
    flags: BTreeMap<u32, Vec<Flag>>,
}

impl Client {
    fn hear(&mut self, told: Vec<Untagged>, expunges: Expunges) {
        for untagged in told {
            match untagged {
                Untagged::Expunge(number) => {
                    assert_eq!(expunges, Expunges::Told, "EXPUNGE where it is forbidden");
                    let uid = self.messages.remove(number.get() as usize - 1);
                    if let Some(uid) = uid {
                        self.flags.remove(&uid);
                    }
                }
                Untagged::Exists(count) => {
                    assert!(
                        count as usize >= self.messages.len(),
                        "EXISTS never takes messages away"
                    );
                    self.messages.resize(count as usize, None);
                }
                Untagged::Fetch { message, uid, flags } => {
                    let known = self.messages[message.get() as usize - 1].replace(uid.get());
                    assert!(
                        known.is_none_or(|known| known == uid.get()),
                        "a number is another message's"
                    );
                    self.flags.insert(uid.get(), flags);
                }
                Untagged::Recent(_) | Untagged::Flags(_) => {}
            }
        }
        // What the client learns by FETCH UID now: numbers must mean the same to both sides.
        assert_eq!(self.messages.len() as u32, self.view.exists());
        for (index, uid) in self.messages.iter_mut().enumerate() {
            let now = self.view.uids().at(index as u32 + 1);
            assert!(
                uid.is_none() || *uid == now,
                "message {} changed its UID without a word",
                index + 1
            );
            *uid = now;
        }
    }
}

#[test]
fn three_sessions_agree_with_the_mailbox() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..60 {
        let mut shard = Shard::default();
        (0..random.random_range(0..8)).for_each(|_| shard.deliver());
        let mut clients: Vec<Client> = (0..3).map(|_| open(&shard)).collect();
        for _ in 0..250 {
            let client = random.random_range(0..3usize);
            step(&mut random, &mut shard, &mut clients[client]);
        }
        for client in &mut clients {
            let changes = shard.changes(client.view.modseq(), false);
            let told = client.view.apply(&changes, Expunges::Told);
            client.hear(told, Expunges::Told);
            assert_eq!(client.view.uids(), &shard.uids(), "all is told in the end");
            for (uid, flags) in &client.flags {
                let now = client
                    .view
                    .flags_of(*uid, flags_of(*uid, shard.messages[uid]).flags.as_ref());
                assert_eq!(flags, &now, "flags of {uid}");
            }
        }
    }
}

fn open(shard: &Shard) -> Client {
    let view = View::new(&OpenedMailbox {
        mailbox: Some(Mailbox {
            highest_modseq: shard.modseq,
            ..Mailbox::default()
        }),
        uids: Some(shard.uids().to_wire()),
        recent_from: shard.next / 2 + 1,
        ..OpenedMailbox::default()
    });
    let messages = view.uids().iter().map(Some).collect();
    Client {
        view,
        messages,
        flags: BTreeMap::new(),
    }
}

fn step(random: &mut StdRng, shard: &mut Shard, client: &mut Client) {
    let some: Vec<u32> = (0..3)
        .map(|_| random.random_range(1..=shard.next.max(1)))
        .collect();
    match random.random_range(0..7) {
        0 | 1 => shard.deliver(),
        2 => {
            // STORE, told by itself; its own change must not come a second time from the log.
            let known: Vec<u32> = some
                .into_iter()
                .filter(|uid| client.view.number_of(*uid).is_some())
                .collect();
            let stored = shard.store(&known, random.random_range(0..32));
            for message in &stored {
                let flags = client.view.flags_of(message.uid, message.flags.as_ref());
                client.flags.insert(message.uid, flags);
            }
            client.view.stored(&stored, shard.modseq);
            assert!(client.view.modseq() <= shard.modseq);
        }
        3 => {
            let gone = shard.expunge(&some);
            let told = client.view.expunged(&gone, shard.modseq);
            client.hear(told, Expunges::Told);
        }
        // Somebody else, through another protocol.
        4 => drop(shard.expunge(&some[..1])),
        5 => drop(shard.store(&some[..1], random.random_range(0..32))),
        _ => {
            let expunges = if random.random_bool(0.5) {
                Expunges::Held
            } else {
                Expunges::Told
            };
            let changes = shard.changes(client.view.modseq(), random.random_bool(0.1));
            let told = client.view.apply(&changes, expunges);
            client.hear(told, expunges);
            if expunges == Expunges::Told {
                assert_eq!(client.view.uids(), &shard.uids());
            }
        }
    }
}

#[test]
fn own_changes_are_told_once() {
    let mut shard = Shard::default();
    (0..3).for_each(|_| shard.deliver());
    let mut client = open(&shard);
    // Somebody else's change lies between, so the own one comes back with the log.
    shard.store(&[1], 1);
    let stored = shard.store(&[2], 4);
    client.view.stored(&stored, shard.modseq);
    let told = client
        .view
        .apply(&shard.changes(client.view.modseq(), false), Expunges::Held);
    assert_eq!(told.len(), 1);
    assert!(matches!(&told[0], Untagged::Fetch { uid, .. } if uid.get() == 1));
}

#[test]
fn a_silent_store_hides_nothing_that_others_did() {
    let mut shard = Shard::default();
    (0..3).for_each(|_| shard.deliver());
    let mut client = open(&shard);
    // Somebody else flags the message; then it becomes \Seen here, and no response shows its flags.
    shard.store(&[2], 4);
    shard.store(&[2], 5);
    client.view.stored_untold(shard.modseq);
    let told = client
        .view
        .apply(&shard.changes(client.view.modseq(), false), Expunges::Held);
    assert!(
        matches!(told.as_slice(), [Untagged::Fetch { flags, .. }] if flags.contains(&Flag::Flagged)),
        "{told:?}"
    );
    // A silent change with nobody else's before it is known already.
    shard.store(&[1], 1);
    client.view.stored_untold(shard.modseq);
    assert_eq!(client.view.modseq(), shard.modseq);
}

#[test]
fn commands_that_change_nothing_hide_nothing() {
    let mut shard = Shard::default();
    (0..3).for_each(|_| shard.deliver());
    let mut client = open(&shard);
    // Somebody else's change is the next one; EXPUNGE finds nothing and STORE finds all as it should be.
    shard.expunge(&[2]);
    assert_eq!(client.view.expunged(&UidRuns::default(), 0), []);
    client.view.stored(&[], 0);
    let told = client
        .view
        .apply(&shard.changes(client.view.modseq(), false), Expunges::Told);
    assert!(
        matches!(told.first(), Some(Untagged::Expunge(number)) if number.get() == 2),
        "{told:?}"
    );
}

#[test]
fn held_expunges_keep_their_numbers() {
    let mut shard = Shard::default();
    (0..4).for_each(|_| shard.deliver());
    let mut client = open(&shard);
    shard.expunge(&[2]);
    shard.deliver();
    let told = client
        .view
        .apply(&shard.changes(client.view.modseq(), false), Expunges::Held);
    assert_eq!(told.first(), Some(&Untagged::Exists(5)));
    let set = |text: &str| rookery_mail::imap::parse::parse_sequence_set(text.as_bytes()).unwrap();
    let resolved = |view: &View, set: &SequenceSet| {
        view.resolve(set, Numbering::Sequence)
            .map(|uids| uids.iter().collect::<Vec<_>>())
    };
    assert_eq!(resolved(&client.view, &set("2:3")), Ok(vec![2, 3]));
    assert_eq!(resolved(&client.view, &set("6")), Err(view::NoSuchNumber));
    assert_eq!(resolved(&client.view, &set("9:*")), Ok(vec![5]));
    let told = client.view.release_held();
    assert!(matches!(told.first(), Some(Untagged::Expunge(number)) if number.get() == 2));
    assert_eq!(resolved(&client.view, &set("2:3")), Ok(vec![3, 4]));
    assert!(client.view.release_held().is_empty());
}

#[test]
fn a_new_keyword_is_listed_first() {
    let mut shard = Shard::default();
    shard.deliver();
    let mut client = open(&shard);
    shard.keywords.insert("$Forwarded".to_owned());
    shard.store(&[1], 1);
    let told = client
        .view
        .apply(&shard.changes(client.view.modseq(), false), Expunges::Held);
    assert!(
        matches!(&told[0], Untagged::Flags(flags) if flags.contains(&Flag::Keyword("$Forwarded".into())))
    );
    assert!(matches!(&told[1], Untagged::Fetch { .. }));
}
