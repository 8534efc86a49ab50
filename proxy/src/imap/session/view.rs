//! The selected mailbox as the client believes it to be.
//!
//! Sequence numbers are positions in what the client was told, and change only by what it is told: an expunged message
//! keeps its number until EXPUNGE may be sent. RFC 3501 §5.5, §7.4.1.

use std::ops::RangeInclusive;

use rookery_mail::imap::types::{Flag, Numbering, SeqNo, SequenceBound, SequenceSet, Uid};
use rookery_proto::mailstore::v1::{Flags, MailboxChanges, MessageFlags, OpenedMailbox};

use super::runs::{UidRuns, wire_ranges};

/// Own changes that are remembered until the shard's log shows them; with more, some are told twice.
const OWN_CHANGES_MAX: usize = 10_000;

/// Whether EXPUNGE may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunges {
    /// It may.
    Told,
    /// Not during FETCH, STORE and SEARCH with sequence numbers, nor without a command. RFC 3501 §7.4.1.
    Held,
}

/// An untagged response about the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untagged {
    /// `* n EXPUNGE`
    Expunge(SeqNo),
    /// `* n EXISTS`
    Exists(u32),
    /// `* n RECENT`
    Recent(u32),
    /// `* FLAGS (…)`: a new keyword came up.
    Flags(Vec<Flag>),
    /// `* n FETCH (UID … FLAGS (…))`
    Fetch {
        /// Its sequence number.
        message: SeqNo,
        /// Its UID.
        uid: Uid,
        /// Its flags now.
        flags: Vec<Flag>,
    },
}

/// A message number that is larger than the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchNumber;

/// What the client believes.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Messages that the client knows of.
    known: UidRuns,
    /// Those of them that are no more, and it was not told.
    gone: UidRuns,
    /// UIDs from here on are \Recent for this session.
    recent_from: u32,
    recent_told: u32,
    /// The highest UID that EXISTS has told of since the mailbox was opened, 0 if none.
    told_to: u32,
    /// Up to where the shard's log of changes is taken in.
    modseq: u64,
    keywords: Box<[Box<str>]>,
    /// Flag changes of this session that were told: UID and modseq.
    own: Vec<(u32, u64)>,
}

impl View {
    /// As SELECT found it.
    pub fn new(opened: &OpenedMailbox) -> Self {
        let known = UidRuns::from_wire(opened.uids.as_ref());
        let recent_told = known.count_from(opened.recent_from.max(1));
        Self {
            known,
            gone: UidRuns::default(),
            recent_from: opened.recent_from.max(1),
            recent_told,
            told_to: 0,
            modseq: opened
                .mailbox
                .as_ref()
                .map_or(0, |mailbox| mailbox.highest_modseq),
            keywords: opened
                .keywords
                .iter()
                .map(|keyword| keyword.as_str().into())
                .collect(),
            own: Vec::new(),
        }
    }

    /// Messages as told by EXISTS.
    pub fn exists(&self) -> u32 {
        self.known.count()
    }

    /// Messages that are \Recent in this session.
    pub fn recent(&self) -> u32 {
        self.recent_told
    }

    /// UIDs from here on are \Recent.
    pub fn recent_from(&self) -> u32 {
        self.recent_from
    }

    /// One above the highest UID that the client was told of since the mailbox was opened: what lies below was recent
    /// in this session and must not be in a later one. RFC 3501 §2.3.2. `None` if nothing came.
    pub fn recent_to_claim(&self) -> Option<u32> {
        (self.told_to > 0).then(|| self.told_to.saturating_add(1))
    }

    /// Up to where changes are taken in.
    pub fn modseq(&self) -> u64 {
        self.modseq
    }

    /// Whether there are expunged messages that the client was not told of.
    pub fn has_held(&self) -> bool {
        !self.gone.is_empty()
    }

    /// A message's sequence number.
    pub fn number_of(&self, uid: u32) -> Option<SeqNo> {
        self.known.position(uid).and_then(SeqNo::new)
    }

    /// Known messages.
    pub fn uids(&self) -> &UidRuns {
        &self.known
    }

    /// The flags that FLAGS lists: all that a message here can have.
    pub fn flags(&self) -> Vec<Flag> {
        let keywords = self.keywords.iter().map(|keyword| Flag::Keyword(keyword.clone()));
        Flag::SYSTEM.into_iter().chain(keywords).collect()
    }

    /// The flags of a message as this session sees them.
    pub fn flags_of(&self, uid: u32, flags: Option<&Flags>) -> Vec<Flag> {
        flag_list(flags, uid >= self.recent_from)
    }

    /// The messages that a set names, as UIDs.
    ///
    /// # Errors
    /// A sequence number that no message has, other than as the end of a range to `*`.
    pub fn resolve(&self, set: &SequenceSet, numbering: Numbering) -> Result<UidRuns, NoSuchNumber> {
        Ok(self.known.intersect(self.named(set, numbering)?))
    }

    /// The same for a call on the shard: in no more ranges than the client wrote, however many holes the mailbox has.
    ///
    /// Within them may lie UIDs that the session does not know, none of which exists: they are below a known one, so
    /// they were expunged. What is above all known ones, a message that nobody was told of, is never named.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn spans(&self, set: &SequenceSet, numbering: Numbering) -> Result<UidRuns, NoSuchNumber> {
        Ok(self.known.spans(self.named(set, numbering)?))
    }

    /// The UIDs that a set names, ascending and disjoint, whether or not there are such messages.
    fn named(
        &self,
        set: &SequenceSet,
        numbering: Numbering,
    ) -> Result<Vec<RangeInclusive<u32>>, NoSuchNumber> {
        match numbering {
            // UIDs that do not exist are passed over. RFC 3501 §6.4.8.
            Numbering::Uid => Ok(set.resolve(self.known.highest())),
            Numbering::Sequence => {
                let count = self.known.count();
                let beyond = set.ranges().iter().any(|range| match (range.first, range.last) {
                    (SequenceBound::Number(first), SequenceBound::Number(last)) => {
                        first.max(last).get() > count
                    }
                    _ => false,
                });
                if beyond {
                    return Err(NoSuchNumber);
                }
                let positions = set.resolve(count).into_iter();
                Ok(positions
                    .filter_map(|range| Some(self.known.at(*range.start())?..=self.known.at(*range.end())?))
                    .collect())
            }
        }
    }

    /// Takes in what the shard says has changed, and gives what the client must hear, in a legal order.
    pub fn apply(&mut self, changes: &MailboxChanges, expunges: Expunges) -> Vec<Untagged> {
        let mut told = Vec::new();
        let vanished = if changes.reset {
            let mut missing = self.known.clone();
            missing.remove(&UidRuns::from_wire(changes.uids.as_ref()));
            missing
        } else {
            self.known.intersect(wire_ranges(changes.vanished.as_ref()))
        };
        self.gone.union(&vanished);
        if expunges == Expunges::Told {
            self.release(&mut told);
        }
        let before = self.known.highest();
        self.take_new(changes, before);
        self.tell_counts(&mut told, before);
        self.tell_keywords(changes, &mut told);
        for message in changes.changed.iter().filter(|message| message.uid <= before) {
            self.tell_flags(message, &mut told);
        }
        self.modseq = self.modseq.max(changes.modseq);
        let modseq = self.modseq;
        self.own.retain(|(_, own)| *own > modseq);
        if self.own.is_empty() {
            self.own = Vec::new();
        }
        told
    }

    /// Tells the expunges that were held back.
    pub fn release_held(&mut self) -> Vec<Untagged> {
        let mut told = Vec::new();
        self.release(&mut told);
        let before = self.known.highest();
        self.tell_counts(&mut told, before);
        told
    }

    /// The mailbox is no more: all its messages go.
    pub fn deleted(&mut self, expunges: Expunges) -> Vec<Untagged> {
        self.gone = self.known.clone();
        // Nothing can change there any more.
        self.modseq = u64::MAX;
        match expunges {
            Expunges::Told => self.release_held(),
            Expunges::Held => Vec::new(),
        }
    }

    /// This session expunged messages, and may say so now. A `modseq` of 0 says that there were none.
    pub fn expunged(&mut self, uids: &UidRuns, modseq: u64) -> Vec<Untagged> {
        self.gone.union(&self.known.intersect(uids.ranges()));
        self.advance_own(modseq);
        self.release_held()
    }

    /// This session moved messages away, perhaps to the end of the same mailbox, which the log will show.
    pub fn moved(&mut self, uids: &UidRuns) -> Vec<Untagged> {
        self.gone.union(&self.known.intersect(uids.ranges()));
        self.release_held()
    }

    /// This session changed flags without saying which they are now: STORE .SILENT, \Seen by FETCH. If others changed
    /// the same messages meanwhile, the log is all that tells of it, so nothing of it may be passed over.
    /// RFC 3501 §6.4.6. A `modseq` of 0 says that it changed none.
    pub fn stored_untold(&mut self, modseq: u64) {
        self.advance_own(modseq);
    }

    /// This session changed flags and has told the client what they are now. A `modseq` of 0 says that it changed none.
    pub fn stored(&mut self, messages: &[MessageFlags], modseq: u64) {
        // Nothing was changed: what the answer showed was done by others, and the log tells of it.
        if modseq == 0 {
            return;
        }
        let next = self.modseq.saturating_add(1);
        self.advance_own(modseq);
        // Everything up to here is known: nothing of it will come again.
        if modseq == next {
            return;
        }
        let room = OWN_CHANGES_MAX.saturating_sub(self.own.len());
        let new = messages.iter().filter(|message| message.modseq > self.modseq);
        self.own
            .extend(new.take(room).map(|message| (message.uid, message.modseq)));
        self.own.sort_unstable();
    }

    /// Keywords that this session has just stored and that FLAGS did not list yet.
    pub fn learn_keywords(&mut self, messages: &[MessageFlags]) -> Vec<Untagged> {
        let stored = messages
            .iter()
            .filter_map(|message| message.flags.as_ref())
            .flat_map(|flags| &flags.keywords);
        let mut new: Vec<&str> = Vec::new();
        for keyword in stored {
            let is_known =
                self.keywords.iter().any(|known| **known == **keyword) || new.contains(&keyword.as_str());
            if !is_known {
                new.push(keyword);
            }
        }
        if new.is_empty() {
            return Vec::new();
        }
        self.keywords = self
            .keywords
            .iter()
            .cloned()
            .chain(new.into_iter().map(Box::from))
            .collect();
        vec![Untagged::Flags(self.flags())]
    }

    /// A change of this session directly behind what is known leaves nothing to ask for.
    fn advance_own(&mut self, modseq: u64) {
        if modseq == self.modseq.saturating_add(1) {
            self.modseq = modseq;
        }
    }

    fn release(&mut self, told: &mut Vec<Untagged>) {
        let gone = std::mem::take(&mut self.gone);
        // From the highest down, so that each number is right when it is heard.
        let mut numbers: Vec<u32> = gone.iter().filter_map(|uid| self.known.position(uid)).collect();
        numbers.reverse();
        told.extend(numbers.into_iter().filter_map(SeqNo::new).map(Untagged::Expunge));
        self.known.remove(&gone);
    }

    fn take_new(&mut self, changes: &MailboxChanges, before: u32) {
        if changes.reset {
            for range in wire_ranges(changes.uids.as_ref()) {
                self.known
                    .push((*range.start()).max(before.saturating_add(1)), *range.end());
            }
        } else {
            for message in changes.changed.iter().filter(|message| message.uid > before) {
                self.known.push(message.uid, message.uid);
            }
        }
    }

    fn tell_counts(&mut self, told: &mut Vec<Untagged>, before: u32) {
        let recent = self.known.count_from(self.recent_from);
        if self.known.highest() > before {
            self.told_to = self.known.highest();
            told.push(Untagged::Exists(self.known.count()));
            told.push(Untagged::Recent(recent));
        } else if recent != self.recent_told {
            told.push(Untagged::Recent(recent));
        }
        self.recent_told = recent;
    }

    fn tell_keywords(&mut self, changes: &MailboxChanges, told: &mut Vec<Untagged>) {
        let is_new = |keyword: &String| !self.keywords.iter().any(|known| **known == **keyword);
        if changes.keywords.iter().any(is_new) {
            self.keywords = changes
                .keywords
                .iter()
                .map(|keyword| keyword.as_str().into())
                .collect();
            told.push(Untagged::Flags(self.flags()));
        }
    }

    fn tell_flags(&self, message: &MessageFlags, told: &mut Vec<Untagged>) {
        if self.own.binary_search(&(message.uid, message.modseq)).is_ok()
            || self.gone.position(message.uid).is_some()
        {
            return;
        }
        if let (Some(number), Some(uid)) = (self.number_of(message.uid), Uid::new(message.uid)) {
            let flags = self.flags_of(message.uid, message.flags.as_ref());
            told.push(Untagged::Fetch {
                message: number,
                uid,
                flags,
            });
        }
    }
}

/// The system flags with their bits in `mailstore.v1.Flags`.
pub const SYSTEM_BITS: [(Flag, u32); 5] = [
    (Flag::Answered, 2),
    (Flag::Flagged, 4),
    (Flag::Deleted, 8),
    (Flag::Seen, 1),
    (Flag::Draft, 16),
];

/// The bit of `\Seen`.
pub const SEEN: u32 = 1;

/// Stored flags as they are sent.
pub fn flag_list(flags: Option<&Flags>, recent: bool) -> Vec<Flag> {
    let mut list = Vec::new();
    if let Some(flags) = flags {
        list.extend(
            SYSTEM_BITS
                .into_iter()
                .filter(|(_, bit)| flags.system & bit != 0)
                .map(|(flag, _)| flag),
        );
        list.extend(
            flags
                .keywords
                .iter()
                .map(|keyword| Flag::Keyword(keyword.as_str().into())),
        );
    }
    if recent {
        list.push(Flag::Recent);
    }
    list
}

/// Flags of a client as they are stored.
pub fn stored_flags(flags: &[Flag]) -> Flags {
    let mut stored = Flags::default();
    for flag in flags {
        match flag {
            Flag::Keyword(keyword) => {
                if !stored
                    .keywords
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(keyword))
                {
                    stored.keywords.push(keyword.to_string());
                }
            }
            _ => {
                let bit = SYSTEM_BITS
                    .iter()
                    .find(|(known, _)| known == flag)
                    .map_or(0, |(_, bit)| *bit);
                stored.system |= bit;
            }
        }
    }
    stored
}
