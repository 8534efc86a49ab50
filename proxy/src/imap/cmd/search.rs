//! SEARCH. RFC 3501 §6.4.4, RETURN by RFC 4731. Message numbers are resolved here; the shard sees UIDs alone.

use rookery_mail::imap::encode::{self, EsearchAnswer, ResponseCode};
use rookery_mail::imap::types::{
    Date, Numbering, SearchCommand, SearchKey, SearchReturn, SequenceSet, Tag, coalesce,
};
use rookery_proto::mailstore::v1::search_key::{All, And, DayRange, Header, Key, Or};
use rookery_proto::mailstore::v1::{self as mailstore, Search, UidSet, reply, request};

use super::unexpected;
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;
use crate::imap::session::view::NoSuchNumber;
use crate::imap::session::{UidRuns, View};
use crate::route::CallOptions;

/// The deepest nesting that goes over the wire, chains of OR and AND being one level.
const DEPTH_MAX: usize = 40;

/// Ranges that all the sets of one command may have together: what a call may weigh has room for several times as many.
const RANGES_MAX: usize = 20_000;

/// Numbers written between two looks at how much has gathered.
const NUMBERS_AT_ONCE: usize = 2_000;

pub(in crate::imap) async fn run(
    client: &mut Client,
    tag: &Tag,
    numbering: Numbering,
    command: &SearchCommand,
) -> Result<Answer, Failure> {
    let selected = client.selected()?;
    let key = Translation::of(&selected.view).translate(&command.key, 0)?;
    let call = Search {
        mailbox: selected.mailbox,
        key: Some(key),
        recent_from: selected.view.recent_from(),
    };
    let reply = client
        .account()?
        .call(request::Call::Search(call), CallOptions::READ)
        .await?;
    let reply::Call::Search(result) = reply else {
        return Err(unexpected());
    };
    let view = &client.selected()?.view;
    // What the client was not told of does not exist for it yet.
    let found = view
        .uids()
        .intersect(UidRuns::from_wire(result.uids.as_ref()).ranges());
    let numbers: Vec<u32> = match numbering {
        Numbering::Uid => found.iter().collect(),
        Numbering::Sequence => found.iter().filter_map(|uid| view.uids().position(uid)).collect(),
    };
    match command.result {
        Some(wanted) => esearch(&mut client.wire.output, tag, numbering, wanted, &numbers),
        None => plain(client, &numbers).await?,
    }
    Ok(Answer::ok("SEARCH completed"))
}

async fn plain(client: &mut Client, numbers: &[u32]) -> Result<(), Failure> {
    client.wire.output.extend_from_slice(b"* SEARCH");
    for some in numbers.chunks(NUMBERS_AT_ONCE) {
        for number in some {
            client.wire.output.push(b' ');
            encode::number(&mut client.wire.output, u64::from(*number));
        }
        client.wire.drain().await?;
    }
    client.wire.output.extend_from_slice(b"\r\n");
    Ok(())
}

/// RFC 4731 §3.1. Says only what was asked for: iOS breaks on more.
fn esearch(out: &mut Vec<u8>, tag: &Tag, numbering: Numbering, wanted: SearchReturn, numbers: &[u32]) {
    let ranges: Vec<_> = coalesce(numbers.iter().copied()).collect();
    let answer = EsearchAnswer {
        min: numbers.first().copied().filter(|_| wanted.min),
        max: numbers.last().copied().filter(|_| wanted.max),
        count: wanted
            .count
            .then(|| u32::try_from(numbers.len()).unwrap_or(u32::MAX)),
        all: wanted.all.then_some(ranges.as_slice()),
    };
    encode::esearch(out, tag, numbering, &answer);
}

/// Why a key cannot be asked.
#[derive(Debug, PartialEq, Eq)]
enum Untranslatable {
    Number,
    Depth,
    Ranges,
}

impl From<NoSuchNumber> for Untranslatable {
    fn from(_: NoSuchNumber) -> Self {
        Self::Number
    }
}

impl From<Untranslatable> for Failure {
    fn from(why: Untranslatable) -> Self {
        match why {
            Untranslatable::Number => NoSuchNumber.into(),
            Untranslatable::Depth => Answer::no("search keys nested too deeply")
                .code(ResponseCode::Limit)
                .into(),
            Untranslatable::Ranges => Answer::no("too many ranges of messages at once")
                .code(ResponseCode::Limit)
                .into(),
        }
    }
}

/// From a client's keys to the shard's.
struct Translation<'a> {
    view: &'a View,
    /// Ranges that are named so far.
    ranges: usize,
}

impl<'a> Translation<'a> {
    fn of(view: &'a View) -> Self {
        Self { view, ranges: 0 }
    }

    fn translate(&mut self, key: &SearchKey, depth: usize) -> Result<mailstore::SearchKey, Untranslatable> {
        if depth > DEPTH_MAX {
            return Err(Untranslatable::Depth);
        }
        let header = |name: &str, value: &str| {
            Key::Header(Header {
                name: name.to_owned(),
                value: value.to_owned(),
            })
        };
        let key = match key {
            SearchKey::All => Key::All(All {}),
            SearchKey::Answered => Key::SystemFlags(2),
            SearchKey::Deleted => Key::SystemFlags(8),
            SearchKey::Draft => Key::SystemFlags(16),
            SearchKey::Flagged => Key::SystemFlags(4),
            SearchKey::Seen => Key::SystemFlags(1),
            SearchKey::Unanswered => not(Key::SystemFlags(2)),
            SearchKey::Undeleted => not(Key::SystemFlags(8)),
            SearchKey::Undraft => not(Key::SystemFlags(16)),
            SearchKey::Unflagged => not(Key::SystemFlags(4)),
            SearchKey::Unseen => not(Key::SystemFlags(1)),
            SearchKey::Recent => Key::Recent(All {}),
            SearchKey::Old => not(Key::Recent(All {})),
            // RFC 3501 §6.4.4: NEW is RECENT UNSEEN.
            SearchKey::New => Key::And(And {
                keys: vec![of(Key::Recent(All {})), of(not(Key::SystemFlags(1)))],
            }),
            SearchKey::Keyword(keyword) => Key::Keyword(keyword.clone()),
            SearchKey::Unkeyword(keyword) => not(Key::Keyword(keyword.clone())),
            SearchKey::Bcc(text) => header("Bcc", text),
            SearchKey::Cc(text) => header("Cc", text),
            SearchKey::From(text) => header("From", text),
            SearchKey::Subject(text) => header("Subject", text),
            SearchKey::To(text) => header("To", text),
            SearchKey::Header(name, text) => header(name, text),
            SearchKey::Body(text) => Key::Body(text.clone()),
            SearchKey::Text(text) => Key::Text(text.clone()),
            SearchKey::Larger(size) => Key::Larger(u64::from(*size)),
            SearchKey::Smaller(size) => Key::Smaller(u64::from(*size)),
            SearchKey::Before(date) => Key::InternalDay(days(None, Some(day(*date) - 1))),
            SearchKey::On(date) => Key::InternalDay(days(Some(day(*date)), Some(day(*date)))),
            SearchKey::Since(date) => Key::InternalDay(days(Some(day(*date)), None)),
            SearchKey::SentBefore(date) => Key::SentDay(days(None, Some(day(*date) - 1))),
            SearchKey::SentOn(date) => Key::SentDay(days(Some(day(*date)), Some(day(*date)))),
            SearchKey::SentSince(date) => Key::SentDay(days(Some(day(*date)), None)),
            SearchKey::Uid(set) => Key::Uids(self.uids(set, Numbering::Uid)?),
            SearchKey::Sequence(set) => Key::Uids(self.uids(set, Numbering::Sequence)?),
            SearchKey::Not(key) => Key::Not(Box::new(self.translate(key, depth + 1)?)),
            SearchKey::And(_) | SearchKey::Or(..) => {
                let mut keys = Vec::new();
                let is_or = matches!(key, SearchKey::Or(..));
                self.flatten(key, is_or, depth, &mut keys)?;
                if is_or {
                    Key::Or(Or { keys })
                } else {
                    Key::And(And { keys })
                }
            }
        };
        Ok(of(key))
    }

    /// Chains of OR, and lists within lists, become one level: clients chain hundreds of them.
    fn flatten(
        &mut self,
        key: &SearchKey,
        is_or: bool,
        depth: usize,
        keys: &mut Vec<mailstore::SearchKey>,
    ) -> Result<(), Untranslatable> {
        match key {
            SearchKey::Or(left, right) if is_or => {
                self.flatten(left, is_or, depth, keys)?;
                self.flatten(right, is_or, depth, keys)
            }
            SearchKey::And(all) if !is_or => all
                .iter()
                .try_for_each(|key| self.flatten(key, is_or, depth, keys)),
            _ => {
                keys.push(self.translate(key, depth + 1)?);
                Ok(())
            }
        }
    }

    fn uids(&mut self, set: &SequenceSet, numbering: Numbering) -> Result<UidSet, Untranslatable> {
        let uids = self.view.spans(set, numbering)?;
        self.ranges += uids.ranges().count();
        if self.ranges > RANGES_MAX {
            return Err(Untranslatable::Ranges);
        }
        Ok(uids.to_wire())
    }
}

fn of(key: Key) -> mailstore::SearchKey {
    mailstore::SearchKey { key: Some(key) }
}

fn not(key: Key) -> Key {
    Key::Not(Box::new(of(key)))
}

fn days(from: Option<i32>, to: Option<i32>) -> DayRange {
    DayRange { from, to }
}

/// Years have four digits, so the day always fits.
fn day(date: Date) -> i32 {
    i32::try_from(date.unix_days()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use rookery_mail::imap::frame::RawCommand;
    use rookery_mail::imap::parse::parse_command;
    use rookery_mail::imap::types::CommandBody;
    use rookery_proto::mailstore::v1::OpenedMailbox;

    use super::*;

    fn key(text: &str) -> SearchKey {
        match parse_command(&RawCommand::from_line(format!("a SEARCH {text}").as_bytes()))
            .unwrap()
            .body
        {
            CommandBody::Search { search, .. } => search.key,
            other => panic!("{other:?}"),
        }
    }

    fn view() -> View {
        let uids = Some(UidSet {
            bounds: vec![10, 12, 20, 20],
        });
        View::new(&OpenedMailbox {
            uids,
            ..OpenedMailbox::default()
        })
    }

    fn translated(view: &View, text: &str) -> Result<mailstore::SearchKey, Untranslatable> {
        Translation::of(view).translate(&key(text), 0)
    }

    #[test]
    fn numbers_become_uids() {
        let translated = |text: &str| translated(&view(), text);
        let uids = |bounds: &[u32]| {
            Ok(of(Key::Uids(UidSet {
                bounds: bounds.to_vec(),
            })))
        };
        assert_eq!(translated("2:*"), uids(&[11, 20]));
        assert_eq!(translated("1,3:4"), uids(&[10, 10, 12, 20]));
        assert_eq!(translated("UID 13:19"), uids(&[]));
        assert_eq!(translated("9:*"), uids(&[20, 20]));
        assert_eq!(translated("UID 1:11"), uids(&[10, 11]));
        assert_eq!(translated("UID 99:*"), uids(&[20, 20]));
        assert_eq!(translated("5"), Err(Untranslatable::Number));
    }

    #[test]
    fn chains_are_one_level_and_depth_is_bounded() {
        let chain = "OR SEEN ".repeat(200) + "SEEN";
        match translated(&view(), &chain).unwrap().key {
            Some(Key::Or(or)) => assert_eq!(or.keys.len(), 201),
            other => panic!("{other:?}"),
        }
        let deep = "NOT ".repeat(100) + "SEEN";
        assert_eq!(translated(&view(), &deep), Err(Untranslatable::Depth));
    }

    #[test]
    fn sets_weigh_what_was_written_and_not_what_the_mailbox_holds() {
        // Every second message was expunged.
        let bounds = (1..=400_000u32).flat_map(|n| [n * 2, n * 2]).collect();
        let view = View::new(&OpenedMailbox {
            uids: Some(UidSet { bounds }),
            ..OpenedMailbox::default()
        });
        let all = "OR UID 1:* ".repeat(200) + "1:*";
        match translated(&view, &all).unwrap().key {
            Some(Key::Or(or)) => {
                let whole = of(Key::Uids(UidSet {
                    bounds: vec![2, 800_000],
                }));
                assert!(or.keys.len() == 201 && or.keys.iter().all(|key| *key == whole));
            }
            other => panic!("{other:?}"),
        }
        let set: Vec<String> = (1..=5_000).map(|n| (n * 4).to_string()).collect();
        let set = set.join(",");
        assert!(translated(&view, &format!("UID {set} UID {set} UID {set} UID {set}")).is_ok());
        let many = format!("UID {set} {set} UID {set} UID {set} UID 8,12");
        assert_eq!(translated(&view, &many), Err(Untranslatable::Ranges));
    }

    #[test]
    fn answers_say_what_was_asked_for() {
        let tag = Tag::new(b"a").unwrap();
        for (wanted, numbers, text) in [
            (
                SearchReturn {
                    count: true,
                    ..SearchReturn::default()
                },
                &[][..],
                "* ESEARCH (TAG \"a\") UID COUNT 0\r\n",
            ),
            (
                SearchReturn {
                    min: true,
                    max: true,
                    ..SearchReturn::default()
                },
                &[],
                "* ESEARCH (TAG \"a\") UID\r\n",
            ),
            (
                SearchReturn {
                    min: true,
                    all: true,
                    ..SearchReturn::default()
                },
                &[3, 4, 9],
                "* ESEARCH (TAG \"a\") UID MIN 3 ALL 3:4,9\r\n",
            ),
        ] {
            let mut out = Vec::new();
            esearch(&mut out, &tag, Numbering::Uid, wanted, numbers);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
