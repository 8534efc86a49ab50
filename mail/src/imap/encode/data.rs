//! Untagged data that is not about one message's content. RFC 3501 §7.2 to §7.4.1 and the extensions' lines.

use std::ops::RangeInclusive;

use super::number::{number, ranges};
use super::string::{flag_list, mailbox, nstring, string};
use crate::imap::types::{Flag, MailboxName, Numbering, SeqNo, SpecialUse, StatusItem, Tag};

/// An attribute of a mailbox in LIST and LSUB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListAttribute {
    /// `\Noinferiors`
    NoInferiors,
    /// `\Noselect`
    NoSelect,
    /// `\NonExistent`, RFC 5258 §3.
    NonExistent,
    /// `\HasChildren`, RFC 3348.
    HasChildren,
    /// `\HasNoChildren`, RFC 3348.
    HasNoChildren,
    /// `\Subscribed`, RFC 5258 §3.
    Subscribed,
    /// What the mailbox is for, RFC 6154.
    Use(SpecialUse),
}

impl ListAttribute {
    fn as_str(self) -> &'static str {
        match self {
            Self::NoInferiors => "\\Noinferiors",
            Self::NoSelect => "\\Noselect",
            Self::NonExistent => "\\NonExistent",
            Self::HasChildren => "\\HasChildren",
            Self::HasNoChildren => "\\HasNoChildren",
            Self::Subscribed => "\\Subscribed",
            Self::Use(special_use) => special_use.as_str(),
        }
    }
}

/// `* CAPABILITY …`: the capabilities, separated by spaces.
pub fn capability(out: &mut Vec<u8>, capabilities: &str) {
    out.extend_from_slice(b"* CAPABILITY ");
    out.extend_from_slice(capabilities.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `* ENABLED …`, RFC 5161 §3.2; nothing behind it when nothing was enabled.
pub fn enabled(out: &mut Vec<u8>, capabilities: &[&str]) {
    out.extend_from_slice(b"* ENABLED");
    for capability in capabilities {
        out.push(b' ');
        out.extend_from_slice(capability.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `* n EXISTS`
pub fn exists(out: &mut Vec<u8>, messages: u32) {
    counted(out, messages, b" EXISTS\r\n");
}

/// `* n RECENT`
pub fn recent(out: &mut Vec<u8>, messages: u32) {
    counted(out, messages, b" RECENT\r\n");
}

/// `* n EXPUNGE`
pub fn expunge(out: &mut Vec<u8>, message: SeqNo) {
    counted(out, message.get(), b" EXPUNGE\r\n");
}

/// `* FLAGS (…)`
pub fn flags<'a>(out: &mut Vec<u8>, flags: impl IntoIterator<Item = &'a Flag>) {
    out.extend_from_slice(b"* FLAGS ");
    flag_list(out, flags);
    out.extend_from_slice(b"\r\n");
}

/// `* LIST (…) "/" name`, with CHILDINFO when a subscribed child is why it is listed (RFC 5258 §4).
pub fn list(out: &mut Vec<u8>, attributes: &[ListAttribute], name: &MailboxName, subscribed_below: bool) {
    list_line(out, b"* LIST (", attributes, name);
    if subscribed_below {
        out.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    }
    out.extend_from_slice(b"\r\n");
}

/// `* LSUB (…) "/" name`
pub fn lsub(out: &mut Vec<u8>, attributes: &[ListAttribute], name: &MailboxName) {
    list_line(out, b"* LSUB (", attributes, name);
    out.extend_from_slice(b"\r\n");
}

fn list_line(out: &mut Vec<u8>, front: &[u8], attributes: &[ListAttribute], name: &MailboxName) {
    out.extend_from_slice(front);
    for (index, attribute) in attributes.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(attribute.as_str().as_bytes());
    }
    out.extend_from_slice(b") \"/\" ");
    mailbox(out, name);
}

/// `* STATUS name (item value …)`
pub fn status_items(out: &mut Vec<u8>, name: &MailboxName, values: &[(StatusItem, u64)]) {
    out.extend_from_slice(b"* STATUS ");
    mailbox(out, name);
    out.extend_from_slice(b" (");
    for (index, (item, value)) in values.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(item.as_str().as_bytes());
        out.push(b' ');
        number(out, *value);
    }
    out.extend_from_slice(b")\r\n");
}

/// `* SEARCH …`: every number, since the plain answer has no ranges.
pub fn search(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    out.extend_from_slice(b"* SEARCH");
    for found in numbers {
        out.push(b' ');
        number(out, u64::from(found));
    }
    out.extend_from_slice(b"\r\n");
}

/// What an ESEARCH says; what was not asked for is `None`, or breaks clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EsearchAnswer<'a> {
    /// `MIN n`
    pub min: Option<u32>,
    /// `MAX n`
    pub max: Option<u32>,
    /// `COUNT n`
    pub count: Option<u32>,
    /// `ALL set`: ascending ranges; left out when empty (RFC 4731 §3.1).
    pub all: Option<&'a [RangeInclusive<u32>]>,
}

/// `* ESEARCH (TAG "…") [UID] …`. RFC 4466 §2.6.2.
pub fn esearch(out: &mut Vec<u8>, tag: &Tag, numbering: Numbering, answer: &EsearchAnswer<'_>) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    string(out, tag.as_str().as_bytes());
    out.push(b')');
    if numbering == Numbering::Uid {
        out.extend_from_slice(b" UID");
    }
    let values = [
        (" MIN ", answer.min),
        (" MAX ", answer.max),
        (" COUNT ", answer.count),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            out.extend_from_slice(name.as_bytes());
            number(out, u64::from(value));
        }
    }
    if let Some(all) = answer.all.filter(|all| !all.is_empty()) {
        out.extend_from_slice(b" ALL ");
        ranges(out, all.iter().cloned());
    }
    out.extend_from_slice(b"\r\n");
}

/// `* NAMESPACE (("" "/")) NIL NIL`: the one personal namespace. RFC 2342 §5.
pub fn namespace(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
}

/// `* ID (…)`, RFC 2971 §3.2; `NIL` when there is nothing to say.
pub fn id(out: &mut Vec<u8>, pairs: &[(&str, Option<&str>)]) {
    out.extend_from_slice(b"* ID ");
    if pairs.is_empty() {
        out.extend_from_slice(b"NIL");
    } else {
        for (index, (field, value)) in pairs.iter().enumerate() {
            out.push(if index == 0 { b'(' } else { b' ' });
            string(out, field.as_bytes());
            out.push(b' ');
            nstring(out, value.map(str::as_bytes));
        }
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

fn counted(out: &mut Vec<u8>, value: u32, name: &[u8]) {
    out.extend_from_slice(b"* ");
    number(out, u64::from(value));
    out.extend_from_slice(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut out = Vec::new();
        let name = MailboxName::new("Gesendete Entwürfe");
        capability(&mut out, "IMAP4rev1 IDLE");
        enabled(&mut out, &[]);
        enabled(&mut out, &["CONDSTORE"]);
        exists(&mut out, 0);
        recent(&mut out, 3);
        expunge(&mut out, SeqNo::new(4).unwrap());
        flags(&mut out, &Flag::SYSTEM);
        list(
            &mut out,
            &[ListAttribute::HasNoChildren, ListAttribute::Use(SpecialUse::Sent)],
            &name,
            false,
        );
        list(&mut out, &[], &MailboxName::new("a"), true);
        lsub(&mut out, &[ListAttribute::NoSelect], &MailboxName::new("a"));
        status_items(
            &mut out,
            &name,
            &[(StatusItem::Messages, 2), (StatusItem::UidNext, 7)],
        );
        search(&mut out, []);
        search(&mut out, [1, 2, 3]);
        let tag = Tag::new(b"A7").unwrap();
        let all = [1..=3, 9..=9];
        let answer = EsearchAnswer {
            min: Some(1),
            count: Some(4),
            all: Some(&all),
            ..Default::default()
        };
        esearch(&mut out, &tag, Numbering::Uid, &answer);
        esearch(
            &mut out,
            &tag,
            Numbering::Sequence,
            &EsearchAnswer {
                all: Some(&[]),
                ..Default::default()
            },
        );
        namespace(&mut out);
        id(&mut out, &[]);
        id(&mut out, &[("name", Some("Rookery")), ("version", None)]);
        let wanted = [
            "* CAPABILITY IMAP4rev1 IDLE",
            "* ENABLED",
            "* ENABLED CONDSTORE",
            "* 0 EXISTS",
            "* 3 RECENT",
            "* 4 EXPUNGE",
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)",
            "* LIST (\\HasNoChildren \\Sent) \"/\" \"Gesendete Entw&APw-rfe\"",
            "* LIST () \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            "* LSUB (\\Noselect) \"/\" a",
            "* STATUS \"Gesendete Entw&APw-rfe\" (MESSAGES 2 UIDNEXT 7)",
            "* SEARCH",
            "* SEARCH 1 2 3",
            "* ESEARCH (TAG \"A7\") UID MIN 1 COUNT 4 ALL 1:3,9",
            "* ESEARCH (TAG \"A7\")",
            "* NAMESPACE ((\"\" \"/\")) NIL NIL",
            "* ID NIL",
            "* ID (\"name\" \"Rookery\" \"version\" NIL)",
            "",
        ];
        assert_eq!(String::from_utf8(out).unwrap(), wanted.join("\r\n"));
    }
}
