//! From rows of the shard to untagged FETCH responses, piece by piece as they come.

use rookery_mail::imap::encode::FetchLine;
use rookery_mail::imap::types::{DateTime, FetchItem, Uid};
use rookery_proto::mailstore::v1::{Fetch, FetchedRow, SectionData};

use super::fetch_plan::FetchPlan;
use crate::imap::session::View;
use crate::imap::session::view::SEEN;

/// The shard sent rows that do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inconsistent(pub &'static str);

/// Writes the responses of one FETCH.
#[derive(Debug, Default)]
pub(super) struct RowWriter {
    current: Option<Message>,
    /// Messages up to this UID are answered.
    pub done: u32,
    /// Messages that must become \Seen.
    pub unseen: Vec<u32>,
    /// A part could not be decoded.
    pub unknown_encoding: bool,
    /// The call that is being answered is for the rest of one message.
    resumed: bool,
}

/// A message whose response has begun.
#[derive(Debug)]
struct Message {
    uid: u32,
    line: FetchLine,
    /// Sections that are answered.
    answered: usize,
    /// The next section has begun.
    open: Option<Open>,
    /// The index of the first section in the call that is being answered.
    first: usize,
    /// Bytes of that section that an earlier call brought.
    skipped: u64,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    sent: u64,
    total: u64,
}

impl RowWriter {
    /// Whether a response has begun and is not finished.
    pub(super) fn is_within(&self) -> bool {
        self.current.is_some()
    }

    /// Whether the call that is being answered is for the rest of one message only.
    pub(super) fn has_resumed(&self) -> bool {
        self.resumed
    }

    /// The next call is for whole messages again.
    pub(super) fn begin_anew(&mut self) {
        self.resumed = false;
    }

    /// Takes one row in.
    pub(super) fn row(
        &mut self,
        out: &mut Vec<u8>,
        plan: &FetchPlan,
        view: &View,
        row: &FetchedRow,
    ) -> Result<(), Inconsistent> {
        let mut message = match self.current.take() {
            Some(message) if message.uid == row.uid => message,
            Some(message) => {
                self.current = Some(message);
                return Err(Inconsistent("a row of another message"));
            }
            None if row.uid <= self.done => return Ok(()),
            None => match self.start(out, plan, view, row) {
                Some(message) => message,
                None => return Ok(()),
            },
        };
        let mut outcome = Ok(());
        for piece in &row.sections {
            outcome = message.piece(out, plan, piece, &mut self.unknown_encoding);
            if outcome.is_err() {
                break;
            }
        }
        if outcome.is_err() || row.more {
            self.current = Some(message);
            return outcome;
        }
        if message.open.is_some() {
            self.current = Some(message);
            return Err(Inconsistent("a section ended early"));
        }
        self.finish(out, message);
        Ok(())
    }

    /// After a break: the call for the rest of the message whose response has begun.
    pub(super) fn resume(&mut self, out: &mut Vec<u8>, plan: &FetchPlan, mailbox: u32) -> Option<Fetch> {
        let mut message = self.current.take()?;
        if message.answered == plan.sections.len() {
            self.finish(out, message);
            return None;
        }
        message.first = message.answered;
        message.skipped = message.open.map_or(0, |open| open.sent);
        let part = message.open.map(|open| (open.sent, open.total));
        let call = plan.rest(mailbox, message.uid, message.answered, part);
        self.current = Some(message);
        self.resumed = true;
        Some(call)
    }

    /// The call for the rest of a message has found that it is no more: ends its response with NIL for each section that
    /// has not begun, as servers may say of what was expunged meanwhile. False within a literal, of which nothing can
    /// stand for the rest, and of a message that is there.
    pub(super) fn answer_gone(&mut self, out: &mut Vec<u8>, plan: &FetchPlan) -> bool {
        let is_gone =
            |message: &Message| self.resumed && message.open.is_none() && message.answered == message.first;
        let Some(mut message) = self.current.take_if(|message| is_gone(message)) else {
            return false;
        };
        for item in plan.sections.iter().skip(message.answered) {
            if let FetchItem::BinarySize(part) = item {
                message.line.binary_size(out, part, 0);
            } else {
                write_name(out, &mut message.line, item);
                message.line.nil(out);
            }
        }
        self.finish(out, message);
        true
    }

    fn finish(&mut self, out: &mut Vec<u8>, message: Message) {
        message.line.finish(out);
        self.done = message.uid;
    }

    /// Begins a response with everything but sections; `None` for a message that the client does not know.
    fn start(
        &mut self,
        out: &mut Vec<u8>,
        plan: &FetchPlan,
        view: &View,
        row: &FetchedRow,
    ) -> Option<Message> {
        let (number, uid) = (view.number_of(row.uid)?, Uid::new(row.uid)?);
        let mut line = FetchLine::start(out, number);
        if plan.uid {
            line.uid(out, uid);
        }
        let becomes_seen = plan.sets_seen && row.flags.as_ref().is_none_or(|flags| flags.system & SEEN == 0);
        let mut flags_said = false;
        for item in &plan.plain {
            match item {
                FetchItem::Flags => {
                    flags_said = true;
                    write_flags(out, &mut line, view, row, becomes_seen);
                }
                FetchItem::InternalDate => {
                    let date = row.internal_date.unwrap_or_default();
                    let offset_minutes = i16::try_from(date.zone_minutes).unwrap_or(0);
                    line.internal_date(
                        out,
                        DateTime {
                            unix_seconds: date.unix_seconds,
                            offset_minutes,
                        },
                    );
                }
                FetchItem::Rfc822Size => line.size(out, row.size),
                FetchItem::Envelope => line.ready(out, "ENVELOPE", &row.envelope),
                FetchItem::Body => line.ready(out, "BODY", &row.body),
                FetchItem::BodyStructure => line.ready(out, "BODYSTRUCTURE", &row.body_structure),
                _ => {}
            }
        }
        if becomes_seen {
            self.unseen.push(row.uid);
            // RFC 3501 §6.4.5: flags that change are part of the response.
            if !flags_said {
                write_flags(out, &mut line, view, row, true);
            }
        }
        Some(Message {
            uid: row.uid,
            line,
            answered: 0,
            open: None,
            first: 0,
            skipped: 0,
        })
    }
}

impl Message {
    fn piece(
        &mut self,
        out: &mut Vec<u8>,
        plan: &FetchPlan,
        piece: &SectionData,
        unknown_encoding: &mut bool,
    ) -> Result<(), Inconsistent> {
        let index = self.first + usize::try_from(piece.index).unwrap_or(usize::MAX - self.first);
        if index != self.answered {
            return Err(Inconsistent("sections out of order"));
        }
        let item = plan
            .sections
            .get(index)
            .ok_or(Inconsistent("a section that was not asked for"))?;
        let (open, announced) = match self.open {
            Some(open) if index == self.first && self.skipped > 0 => (open, piece.total + self.skipped),
            Some(open) => (open, piece.total),
            None => {
                if self.whole(out, item, piece, unknown_encoding) {
                    self.answered += 1;
                    return Ok(());
                }
                write_name(out, &mut self.line, item);
                self.line.value_header(out, piece.total);
                (
                    Open {
                        sent: 0,
                        total: piece.total,
                    },
                    piece.total,
                )
            }
        };
        let sent = open.sent + piece.data.len() as u64;
        if announced != open.total || sent > open.total {
            return Err(Inconsistent("a section of another size than was said"));
        }
        out.extend_from_slice(&piece.data);
        if sent == open.total {
            self.open = None;
            self.skipped = 0;
            self.answered += 1;
        } else {
            self.open = Some(Open {
                sent,
                total: open.total,
            });
        }
        Ok(())
    }

    /// Answers a section that has no data; false for one that has.
    fn whole(
        &mut self,
        out: &mut Vec<u8>,
        item: &FetchItem,
        piece: &SectionData,
        unknown: &mut bool,
    ) -> bool {
        if piece.unknown_encoding {
            *unknown = true;
        }
        let absent = piece.absent || piece.unknown_encoding;
        if let FetchItem::BinarySize(part) = item {
            self.line
                .binary_size(out, part, if absent { 0 } else { piece.total });
            return true;
        }
        if absent {
            write_name(out, &mut self.line, item);
            self.line.nil(out);
        }
        absent
    }
}

fn write_flags(out: &mut Vec<u8>, line: &mut FetchLine, view: &View, row: &FetchedRow, becomes_seen: bool) {
    let mut flags = row.flags.clone().unwrap_or_default();
    if becomes_seen {
        flags.system |= SEEN;
    }
    line.flags(out, &view.flags_of(row.uid, Some(&flags)));
}

fn write_name(out: &mut Vec<u8>, line: &mut FetchLine, item: &FetchItem) {
    match item {
        FetchItem::Rfc822 => line.name(out, "RFC822"),
        FetchItem::Rfc822Header => line.name(out, "RFC822.HEADER"),
        FetchItem::Rfc822Text => line.name(out, "RFC822.TEXT"),
        FetchItem::BodySection { section, partial, .. } => {
            line.body_name(out, section, partial.map(|partial| partial.offset));
        }
        FetchItem::Binary { part, partial, .. } => {
            line.binary_name(out, part, partial.map(|partial| partial.offset));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rookery_mail::imap::frame::RawCommand;
    use rookery_mail::imap::parse::parse_command;
    use rookery_mail::imap::types::CommandBody;
    use rookery_proto::mailstore::v1::{Flags, InternalDate, OpenedMailbox, UidSet};

    use super::*;

    fn plan(items: &str) -> FetchPlan {
        let raw = RawCommand::from_line(format!("a FETCH 1 {items}").as_bytes());
        match parse_command(&raw).unwrap().body {
            CommandBody::Fetch { numbering, items, .. } => FetchPlan::new(items, numbering, false).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn view() -> View {
        let uids = Some(UidSet { bounds: vec![7, 8] });
        View::new(&OpenedMailbox {
            uids,
            recent_from: 8,
            ..OpenedMailbox::default()
        })
    }

    fn piece(index: u32, total: u64, data: &'static [u8]) -> SectionData {
        SectionData {
            index,
            total,
            data: Bytes::from_static(data),
            ..SectionData::default()
        }
    }

    fn row(uid: u32, sections: Vec<SectionData>, more: bool) -> FetchedRow {
        FetchedRow {
            uid,
            flags: Some(Flags {
                system: 2,
                keywords: vec!["$X".into()],
            }),
            sections,
            more,
            ..FetchedRow::default()
        }
    }

    #[test]
    fn pieces_become_literals() {
        let (plan, view) = (plan("(BODY[HEADER] UID BODY[2]<5.9> BODY.PEEK[3])"), view());
        let (mut out, mut writer) = (Vec::new(), RowWriter::default());
        writer
            .row(&mut out, &plan, &view, &row(7, vec![piece(0, 5, b"he")], true))
            .unwrap();
        writer
            .row(&mut out, &plan, &view, &row(7, vec![piece(0, 5, b"ad")], true))
            .unwrap();
        let absent = SectionData {
            index: 2,
            absent: true,
            ..SectionData::default()
        };
        writer
            .row(
                &mut out,
                &plan,
                &view,
                &row(7, vec![piece(0, 5, b"!"), piece(1, 0, b""), absent], false),
            )
            .unwrap();
        assert!(!writer.is_within());
        assert_eq!((writer.done, writer.unseen.as_slice()), (7, &[7][..]));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "* 1 FETCH (UID 7 FLAGS (\\Answered \\Seen $X) BODY[HEADER] {5}\r\nhead! BODY[2]<5> {0}\r\n BODY[3] NIL)\r\n"
        );
    }

    #[test]
    fn a_broken_stream_goes_on_where_it_stopped() {
        let (plan, view) = (plan("(FLAGS BODY.PEEK[1] BODY.PEEK[2])"), view());
        let (mut out, mut writer) = (Vec::new(), RowWriter::default());
        writer
            .row(
                &mut out,
                &plan,
                &view,
                &row(8, vec![piece(0, 1, b"x"), piece(1, 6, b"abc")], true),
            )
            .unwrap();
        let call = writer.resume(&mut out, &plan, 4).unwrap();
        assert_eq!(
            (
                call.sections.len(),
                call.sections[0].offset,
                call.sections[0].length
            ),
            (1, 3, 3)
        );
        let rest = row(8, vec![piece(0, 3, b"d")], true);
        writer.row(&mut out, &plan, &view, &rest).unwrap();
        // It breaks again.
        let call = writer.resume(&mut out, &plan, 4).unwrap();
        assert_eq!((call.sections[0].offset, call.sections[0].length), (4, 2));
        writer
            .row(&mut out, &plan, &view, &row(8, vec![piece(0, 2, b"ef")], false))
            .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "* 2 FETCH (FLAGS (\\Answered $X \\Recent) BODY[1] {1}\r\nx BODY[2] {6}\r\nabcdef)\r\n"
        );
    }

    #[test]
    fn of_a_message_that_has_gone_the_rest_is_nil_but_not_within_a_literal() {
        let (plan, view) = (plan("(BODY.PEEK[1] BINARY.SIZE[2] BODY.PEEK[3])"), view());
        for (bytes, text) in [
            (
                1,
                Some("* 2 FETCH (BODY[1] {1}\r\nx BINARY.SIZE[2] 0 BODY[3] NIL)\r\n"),
            ),
            (2, None),
        ] {
            let (mut out, mut writer) = (Vec::new(), RowWriter::default());
            let begun = row(8, vec![piece(0, bytes, b"x")], true);
            writer.row(&mut out, &plan, &view, &begun).unwrap();
            assert!(!writer.answer_gone(&mut out, &plan), "not known to have gone");
            writer.resume(&mut out, &plan, 4).unwrap();
            assert_eq!(writer.answer_gone(&mut out, &plan), text.is_some());
            assert_eq!(writer.is_within(), text.is_none());
            if let Some(text) = text {
                assert_eq!(String::from_utf8(out).unwrap(), text);
            }
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let (plan, view) = (plan("BODY.PEEK[]"), view());
        for bad in [
            row(7, vec![piece(0, 3, b"abcd")], false),
            row(7, vec![piece(1, 3, b"abc")], false),
            row(7, vec![piece(0, 3, b"ab")], false),
            row(7, vec![piece(0, 3, b"a"), piece(0, 4, b"bcd")], false),
        ] {
            let mut writer = RowWriter::default();
            assert!(
                writer.row(&mut Vec::new(), &plan, &view, &bad).is_err(),
                "{bad:?}"
            );
            assert!(writer.is_within());
        }
    }

    #[test]
    fn plain_items_in_the_order_asked() {
        let (plan, view) = (plan("(RFC822.SIZE INTERNALDATE ENVELOPE)"), view());
        let mut row = row(7, Vec::new(), false);
        row.size = 12;
        row.internal_date = Some(InternalDate {
            unix_seconds: 837_596_665,
            zone_minutes: -420,
        });
        row.envelope = Bytes::from_static(b"(NIL)");
        let mut out = Vec::new();
        RowWriter::default().row(&mut out, &plan, &view, &row).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "* 1 FETCH (RFC822.SIZE 12 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" ENVELOPE (NIL))\r\n"
        );
    }
}
