//! FETCH lines, item by item, with bodies that the connection may stream itself.

use super::number::number;
use super::string::{astring, date_time, flag_list, literal_header};
use crate::imap::types::{DateTime, Flag, PartPath, Section, SectionText, SeqNo, Uid};

/// One untagged FETCH: `start`, items in any order (UID first, as many clients want), `finish`.
///
/// It does not borrow the output, so that a body can be sent between two items.
#[derive(Debug)]
#[must_use = "an untagged FETCH needs its end"]
pub struct FetchLine {
    first: bool,
}

impl FetchLine {
    /// `"*" SP nz-number SP "FETCH" SP "("`
    pub fn start(out: &mut Vec<u8>, message: SeqNo) -> Self {
        out.extend_from_slice(b"* ");
        number(out, u64::from(message.get()));
        out.extend_from_slice(b" FETCH (");
        Self { first: true }
    }

    /// `UID n`
    pub fn uid(&mut self, out: &mut Vec<u8>, uid: Uid) {
        self.separate(out);
        out.extend_from_slice(b"UID ");
        number(out, u64::from(uid.get()));
    }

    /// `FLAGS (…)`
    pub fn flags<'a>(&mut self, out: &mut Vec<u8>, flags: impl IntoIterator<Item = &'a Flag>) {
        self.separate(out);
        out.extend_from_slice(b"FLAGS ");
        flag_list(out, flags);
    }

    /// `INTERNALDATE "…"`
    pub fn internal_date(&mut self, out: &mut Vec<u8>, moment: DateTime) {
        self.separate(out);
        out.extend_from_slice(b"INTERNALDATE ");
        date_time(out, moment);
    }

    /// `RFC822.SIZE n`
    pub fn size(&mut self, out: &mut Vec<u8>, size: u64) {
        self.separate(out);
        out.extend_from_slice(b"RFC822.SIZE ");
        number(out, size);
    }

    /// An item whose value is ready to send: ENVELOPE, BODY, BODYSTRUCTURE.
    pub fn ready(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) {
        self.separate(out);
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        out.extend_from_slice(value);
    }

    /// The name of an item whose value follows: `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`.
    pub fn name(&mut self, out: &mut Vec<u8>, name: &str) {
        self.separate(out);
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
    }

    /// `BODY[section]<origin> `, its value to follow; the answer never says PEEK. RFC 3501 §7.4.2.
    pub fn body_name(&mut self, out: &mut Vec<u8>, asked: &Section, origin: Option<u32>) {
        self.separate(out);
        out.extend_from_slice(b"BODY");
        section(out, asked);
        write_origin(out, origin);
        out.push(b' ');
    }

    /// `BINARY[part]<origin> `, its value to follow. RFC 3516 §4.2.
    pub fn binary_name(&mut self, out: &mut Vec<u8>, part: &PartPath, origin: Option<u32>) {
        self.separate(out);
        out.extend_from_slice(b"BINARY[");
        write_part(out, part);
        out.push(b']');
        write_origin(out, origin);
        out.push(b' ');
    }

    /// `BINARY.SIZE[part] n`. RFC 3516 §4.3.
    pub fn binary_size(&mut self, out: &mut Vec<u8>, part: &PartPath, size: u64) {
        self.separate(out);
        out.extend_from_slice(b"BINARY.SIZE[");
        write_part(out, part);
        out.extend_from_slice(b"] ");
        number(out, size);
    }

    /// The value of a body as a literal that is at hand, its octets as they are.
    pub fn value(&self, out: &mut Vec<u8>, octets: &[u8]) {
        literal_header(out, octets.len() as u64);
        out.extend_from_slice(octets);
    }

    /// The front of a body's literal; exactly `size` octets must follow before anything else is written.
    pub fn value_header(&self, out: &mut Vec<u8>, size: u64) {
        literal_header(out, size);
    }

    /// `NIL`: the message has no such part.
    pub fn nil(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"NIL");
    }

    /// `")" CRLF`
    pub fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }

    fn separate(&mut self, out: &mut Vec<u8>) {
        if !self.first {
            out.push(b' ');
        }
        self.first = false;
    }
}

/// `section = "[" [section-spec] "]"`
pub fn section(out: &mut Vec<u8>, section: &Section) {
    out.push(b'[');
    write_part(out, &section.part);
    if let Some(text) = &section.text {
        if !section.part.is_empty() {
            out.push(b'.');
        }
        match text {
            SectionText::Header => out.extend_from_slice(b"HEADER"),
            SectionText::HeaderFields(fields) => header_list(out, b"HEADER.FIELDS (", fields),
            SectionText::HeaderFieldsNot(fields) => header_list(out, b"HEADER.FIELDS.NOT (", fields),
            SectionText::Text => out.extend_from_slice(b"TEXT"),
            SectionText::Mime => out.extend_from_slice(b"MIME"),
        }
    }
    out.push(b']');
}

fn header_list(out: &mut Vec<u8>, name: &[u8], fields: &[String]) {
    out.extend_from_slice(name);
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        astring(out, field.as_bytes());
    }
    out.push(b')');
}

fn write_part(out: &mut Vec<u8>, part: &PartPath) {
    for (index, step) in part.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        number(out, u64::from(*step));
    }
}

fn write_origin(out: &mut Vec<u8>, origin: Option<u32>) {
    if let Some(origin) = origin {
        out.push(b'<');
        number(out, u64::from(origin));
        out.push(b'>');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let mut out = Vec::new();
        let mut line = FetchLine::start(&mut out, SeqNo::new(12).unwrap());
        line.uid(&mut out, Uid::new(99).unwrap());
        line.flags(&mut out, &[Flag::Seen]);
        line.size(&mut out, 44_827);
        line.ready(&mut out, "ENVELOPE", b"(NIL)");
        let fields = vec!["From".to_owned(), "X(Y".to_owned()];
        let asked = Section {
            part: vec![1, 2],
            text: Some(SectionText::HeaderFieldsNot(fields)),
        };
        line.body_name(&mut out, &asked, Some(0));
        line.value(&mut out, b"ab");
        line.body_name(
            &mut out,
            &Section {
                part: vec![3],
                text: Some(SectionText::Mime),
            },
            None,
        );
        line.nil(&mut out);
        line.body_name(&mut out, &Section::default(), None);
        line.value_header(&mut out, 3);
        out.extend_from_slice(b"xyz");
        line.binary_size(&mut out, &vec![1], 5);
        line.finish(&mut out);
        let wanted = "* 12 FETCH (UID 99 FLAGS (\\Seen) RFC822.SIZE 44827 ENVELOPE (NIL) \
                      BODY[1.2.HEADER.FIELDS.NOT (From \"X(Y\")]<0> {2}\r\nab BODY[3.MIME] NIL \
                      BODY[] {3}\r\nxyz BINARY.SIZE[1] 5)\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn many_lines_are_cheap() {
        // No rate is asserted; the output's size is what the inputs say.
        let flags = [Flag::Seen, Flag::Keyword("$Forwarded".into())];
        let mut out = Vec::new();
        for number in 1..=100_000 {
            let mut line = FetchLine::start(&mut out, SeqNo::new(number).unwrap());
            line.uid(&mut out, Uid::new(number).unwrap());
            line.flags(&mut out, &flags);
            line.finish(&mut out);
        }
        assert!(out.ends_with(b"* 100000 FETCH (UID 100000 FLAGS (\\Seen $Forwarded))\r\n"));
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 100_000);
    }
}
