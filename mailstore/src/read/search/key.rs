//! What is searched for, checked once and then judged for each message.

use rookery_mail::mime::{Needle, SearchField};
use rookery_proto::mailstore::v1 as proto;
use rookery_proto::mailstore::v1::search_key::Key as Wire;
use rookery_proto::{Reason, Status};

use super::facts::{Facts, Level};
use crate::schema::{FlagBits, MailboxRecord, Uid, UidRanges};

/// Levels of AND, OR and NOT.
pub const SEARCH_DEPTH_MAX: usize = 64;

/// Keys of a search, all levels together.
pub const SEARCH_KEYS_MAX: usize = 2000;

/// Bytes of one text that is searched for.
const NEEDLE_BYTES_MAX: usize = 8 * 1024;

/// A search key of one mailbox.
#[derive(Debug, Clone)]
pub(super) enum Key {
    All,
    Nothing,
    And(Vec<Key>),
    Or(Vec<Key>),
    Not(Box<Key>),
    Flags(FlagBits),
    Uids(UidRanges),
    FromUid(Uid),
    Modseq(u64),
    Larger(u64),
    Smaller(u64),
    InternalDay(Days),
    SentDay(Days),
    /// A field that is stored beside the message, mostly.
    Field(SearchField, Needle),
    Header(String, Needle),
    Body(Needle),
    Text(Needle),
}

/// Days from and to, both included; absent is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Days(Option<i32>, Option<i32>);

impl Days {
    fn contains(self, day: i64) -> bool {
        self.0.is_none_or(|from| day >= i64::from(from)) && self.1.is_none_or(|to| day <= i64::from(to))
    }
}

impl From<&proto::search_key::DayRange> for Days {
    fn from(range: &proto::search_key::DayRange) -> Self {
        Self(range.from, range.to)
    }
}

impl Key {
    /// From the protocol's key, for this mailbox.
    pub(super) fn compile(
        key: &proto::SearchKey,
        mailbox: &MailboxRecord,
        recent_from: Uid,
    ) -> Result<Self, Status> {
        let mut keys_left = SEARCH_KEYS_MAX;
        compile(key, mailbox, recent_from, SEARCH_DEPTH_MAX, &mut keys_left)
    }

    /// The most that must be known of a message to judge it.
    pub(super) fn level(&self) -> Level {
        match self {
            Key::All | Key::Nothing | Key::Flags(_) | Key::Uids(_) | Key::FromUid(_) | Key::Modseq(_) => {
                Level::Flags
            }
            Key::Larger(_) | Key::Smaller(_) | Key::InternalDay(_) => Level::Row,
            Key::SentDay(_) => Level::Analysis,
            Key::Field(..) | Key::Header(..) => Level::Header,
            Key::Body(_) | Key::Text(_) => Level::Text,
            Key::Not(key) => key.level(),
            Key::And(keys) | Key::Or(keys) => keys.iter().map(Key::level).max().unwrap_or(Level::Flags),
        }
    }

    /// Whether it can be that more than the text of the body is looked for in what is read.
    pub(super) fn looks_at_header(&self) -> bool {
        match self {
            Key::Field(..) | Key::Header(..) | Key::Text(_) => true,
            Key::Not(key) => key.looks_at_header(),
            Key::And(keys) | Key::Or(keys) => keys.iter().any(Key::looks_at_header),
            _ => false,
        }
    }

    /// A set outside which nothing matches, when the key has one at its top.
    pub(super) fn candidates(&self) -> Option<&UidRanges> {
        match self {
            Key::Uids(uids) => Some(uids),
            Key::And(keys) => keys.iter().find_map(Key::candidates),
            _ => None,
        }
    }

    /// Whether a message matches; `None` when more must be known of it.
    pub(super) fn judge(&self, facts: &Facts) -> Option<bool> {
        match self {
            Key::All => Some(true),
            Key::Nothing => Some(false),
            Key::And(keys) => fold(keys, facts, false),
            Key::Or(keys) => fold(keys, facts, true),
            Key::Not(key) => key.judge(facts).map(|matches| !matches),
            Key::Flags(flags) => Some(facts.entry.flags.contains(*flags)),
            Key::Uids(uids) => Some(uids.contains(facts.entry.uid)),
            Key::FromUid(uid) => Some(facts.entry.uid >= *uid),
            Key::Modseq(modseq) => Some(facts.entry.modseq.0 >= *modseq),
            Key::Larger(size) => Some(facts.row?.size > *size),
            Key::Smaller(size) => Some(facts.row?.size < *size),
            Key::InternalDay(days) => {
                let date = facts.row?.internal_date;
                let local = date
                    .unix_seconds
                    .saturating_add(i64::from(date.zone_minutes) * 60);
                Some(days.contains(local.div_euclid(86_400)))
            }
            Key::SentDay(days) => Some(facts.sent_day?.is_some_and(|day| days.contains(i64::from(day)))),
            Key::Field(field, value) => facts.has_field(*field, value),
            Key::Header(name, value) => Some(facts.header()?.has_header(name, value)),
            Key::Body(text) => Some(facts.text.as_ref()?.has_body(text)),
            Key::Text(text) => match &facts.text {
                Some(all) => Some(all.has_text(text)),
                // The header may be enough to say yes.
                None => facts.header()?.has_text(text).then_some(true),
            },
        }
    }
}

/// Joins the keys' judgements: `decisive` from one of them decides.
fn fold(keys: &[Key], facts: &Facts, decisive: bool) -> Option<bool> {
    let mut all_known = true;
    for key in keys {
        match key.judge(facts) {
            Some(matches) if matches == decisive => return Some(decisive),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!decisive)
}

fn compile(
    key: &proto::SearchKey,
    mailbox: &MailboxRecord,
    recent_from: Uid,
    depth_left: usize,
    keys_left: &mut usize,
) -> Result<Key, Status> {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(limit(format!(
            "a search may nest {SEARCH_DEPTH_MAX} levels at most"
        )));
    };
    *keys_left = keys_left
        .checked_sub(1)
        .ok_or_else(|| limit(format!("a search may have {SEARCH_KEYS_MAX} keys at most")))?;
    let mut below = |key: &proto::SearchKey| compile(key, mailbox, recent_from, depth_left, keys_left);
    let Some(wire) = &key.key else {
        return Err(Status::invalid("a search key is empty"));
    };
    Ok(match wire {
        Wire::All(_) => Key::All,
        Wire::And(and) => Key::And(sorted(and.keys.iter().map(below).collect::<Result<_, _>>()?)),
        Wire::Or(or) => Key::Or(sorted(or.keys.iter().map(below).collect::<Result<_, _>>()?)),
        Wire::Not(key) => Key::Not(Box::new(below(key)?)),
        Wire::SystemFlags(bits) => Key::Flags(FlagBits::from_system(*bits)),
        Wire::Keyword(keyword) => mailbox.keyword_bit(keyword).map_or(Key::Nothing, Key::Flags),
        Wire::Uids(set) => Key::Uids(super::super::requested_uids(Some(set))?),
        Wire::Larger(size) => Key::Larger(*size),
        Wire::Smaller(size) => Key::Smaller(*size),
        Wire::InternalDay(days) => Key::InternalDay(days.into()),
        Wire::SentDay(days) => Key::SentDay(days.into()),
        Wire::Header(header) => match SearchField::named(header.name.as_bytes()) {
            Some(field) => Key::Field(field, needle(&header.value)?),
            None => Key::Header(checked(&header.name)?.to_owned(), needle(&header.value)?),
        },
        Wire::Body(text) => Key::Body(needle(text)?),
        Wire::Text(text) => Key::Text(needle(text)?),
        Wire::Recent(_) => Key::FromUid(recent_from),
        Wire::Modseq(modseq) => Key::Modseq(*modseq),
    })
}

/// Cheap keys first.
fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_by_key(Key::level);
    keys
}

fn needle(text: &str) -> Result<Needle, Status> {
    Ok(Needle::new(checked(text)?))
}

fn checked(text: &str) -> Result<&str, Status> {
    if text.len() > NEEDLE_BYTES_MAX {
        return Err(limit(format!(
            "a search text may have {NEEDLE_BYTES_MAX} bytes at most"
        )));
    }
    Ok(text)
}

fn limit(message: String) -> Status {
    Status::new(Reason::LimitExceeded, message)
}
