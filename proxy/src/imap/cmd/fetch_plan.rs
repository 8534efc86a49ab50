//! What a FETCH asks of the shard, and in which order its items are answered.

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::types::{FetchItem, Numbering, PartPath, Partial, SectionText};
use rookery_proto::mailstore::v1::{Fetch, Section, UidSet, section::Kind};

use crate::imap::answer::Answer;

/// Sections that one call may ask for.
const SECTIONS_MAX: usize = 100;

/// A FETCH in two halves: what fits into one row, and sections, which may come in pieces.
#[derive(Debug)]
pub(super) struct FetchPlan {
    /// Whether the answer begins with UID.
    pub uid: bool,
    /// Items without section data, each once, in the client's order; without UID.
    pub plain: Vec<FetchItem>,
    /// Items with section data, each once, in the client's order.
    pub sections: Vec<FetchItem>,
    /// Whether messages become \Seen.
    pub sets_seen: bool,
}

impl FetchPlan {
    /// Sorts the items of a command; refused when there are too many sections.
    pub(super) fn new(items: Vec<FetchItem>, numbering: Numbering, read_only: bool) -> Result<Self, Answer> {
        let sets_seen = !read_only && items.iter().any(FetchItem::sets_seen);
        let mut plan = Self {
            uid: numbering == Numbering::Uid,
            plain: Vec::new(),
            sections: Vec::new(),
            sets_seen,
        };
        for item in items {
            let half = match &item {
                FetchItem::Uid => {
                    plan.uid = true;
                    continue;
                }
                _ if wire_section(&item).is_some() => &mut plan.sections,
                _ => &mut plan.plain,
            };
            if !half.contains(&item) {
                half.push(item);
            }
        }
        if plan.sections.len() > SECTIONS_MAX {
            return Err(Answer::no("too many sections at once").code(ResponseCode::Limit));
        }
        Ok(plan)
    }

    /// Whether the session can answer without the shard.
    pub(super) fn is_known_to_session(&self) -> bool {
        self.uid && self.plain.is_empty() && self.sections.is_empty()
    }

    /// The call for these messages.
    pub(super) fn request(&self, mailbox: u32, uids: UidSet) -> Fetch {
        let has = |wanted: FetchItem| self.plain.contains(&wanted);
        Fetch {
            mailbox,
            uids: Some(uids),
            flags: self.sets_seen || has(FetchItem::Flags),
            size: has(FetchItem::Rfc822Size),
            internal_date: has(FetchItem::InternalDate),
            envelope: has(FetchItem::Envelope),
            body: has(FetchItem::Body),
            body_structure: has(FetchItem::BodyStructure),
            sections: self.sections.iter().filter_map(wire_section).collect(),
            ..Fetch::default()
        }
    }

    /// The call for the rest of a message of which some sections are answered, and `sent` of `total` bytes of the next.
    pub(super) fn rest(&self, mailbox: u32, uid: u32, answered: usize, part: Option<(u64, u64)>) -> Fetch {
        let mut sections: Vec<_> = self
            .sections
            .iter()
            .skip(answered)
            .filter_map(wire_section)
            .collect();
        if let (Some(first), Some((sent, total))) = (sections.first_mut(), part) {
            first.partial = true;
            first.offset += sent;
            first.length = total - sent;
        }
        let uids = Some(UidSet {
            bounds: vec![uid, uid],
        });
        Fetch {
            mailbox,
            uids,
            sections,
            ..Fetch::default()
        }
    }
}

/// The section that answers an item; `None` for items without section data.
fn wire_section(item: &FetchItem) -> Option<Section> {
    Some(match item {
        FetchItem::Rfc822 => section(&[], Kind::Unspecified, &[], None),
        FetchItem::Rfc822Header => section(&[], Kind::Header, &[], None),
        FetchItem::Rfc822Text => section(&[], Kind::Text, &[], None),
        FetchItem::BodySection {
            section: asked,
            partial,
            ..
        } => {
            let (kind, fields): (_, &[String]) = match &asked.text {
                None => (Kind::Unspecified, &[]),
                Some(SectionText::Header) => (Kind::Header, &[]),
                Some(SectionText::HeaderFields(fields)) => (Kind::HeaderFields, fields),
                Some(SectionText::HeaderFieldsNot(fields)) => (Kind::HeaderFieldsNot, fields),
                Some(SectionText::Text) => (Kind::Text, &[]),
                Some(SectionText::Mime) => (Kind::Mime, &[]),
            };
            section(&asked.part, kind, fields, *partial)
        }
        FetchItem::Binary { part, partial, .. } => section(part, Kind::Binary, &[], *partial),
        FetchItem::BinarySize(part) => section(part, Kind::BinarySize, &[], None),
        _ => return None,
    })
}

fn section(part: &[u32], kind: Kind, fields: &[String], partial: Option<Partial>) -> Section {
    let part: PartPath = part.to_vec();
    Section {
        part,
        kind: kind.into(),
        fields: fields.to_vec(),
        partial: partial.is_some(),
        offset: partial.map_or(0, |partial| partial.offset.into()),
        length: partial.map_or(0, |partial| partial.length.into()),
    }
}

#[cfg(test)]
mod tests {
    use rookery_mail::imap::frame::RawCommand;
    use rookery_mail::imap::parse::parse_command;
    use rookery_mail::imap::types::CommandBody;

    use super::*;

    fn plan(items: &str) -> FetchPlan {
        let raw = RawCommand::from_line(format!("a FETCH 1 {items}").as_bytes());
        match parse_command(&raw).unwrap().body {
            CommandBody::Fetch { numbering, items, .. } => FetchPlan::new(items, numbering, false).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn items_become_one_call() {
        let plan = plan("(FLAGS BODY.PEEK[HEADER.FIELDS (From To)] UID ENVELOPE BODY[1.2]<7.9> FLAGS)");
        assert!(plan.uid && plan.sets_seen);
        assert_eq!(plan.plain, [FetchItem::Flags, FetchItem::Envelope]);
        let call = plan.request(4, UidSet { bounds: vec![1, 9] });
        assert!(call.flags && call.envelope && !call.body && !call.size && !call.modseq);
        assert_eq!(call.sections.len(), 2);
        assert_eq!(call.sections[0].kind(), Kind::HeaderFields);
        assert_eq!(call.sections[0].fields, ["From", "To"]);
        assert_eq!((call.sections[1].offset, call.sections[1].length), (7, 9));
        assert_eq!(call.sections[1].part, [1, 2]);
    }

    #[test]
    fn the_rest_of_a_message_begins_where_it_broke_off() {
        let call = plan("(BODY.PEEK[1] BODY.PEEK[2]<100.50> BODY.PEEK[3])").rest(4, 7, 1, Some((20, 50)));
        assert_eq!(call.sections.len(), 2);
        let first = &call.sections[0];
        assert_eq!(
            (first.part.as_slice(), first.partial, first.offset, first.length),
            (&[2][..], true, 120, 30)
        );
        assert!(!call.sections[1].partial);
        assert!(!call.flags);
    }

    #[test]
    fn peeking_sets_nothing() {
        assert!(!plan("(BODY.PEEK[] RFC822.HEADER RFC822.SIZE)").sets_seen);
        for item in ["BODY[]", "RFC822", "RFC822.TEXT", "BODY[TEXT]"] {
            assert!(plan(item).sets_seen, "{item}");
        }
    }
}
