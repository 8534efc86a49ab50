//! Writes the ENVELOPE of a message from its header, in the bytes that FETCH sends.

use std::borrow::Cow;

use super::address_list::push_addresses;
use super::header::{Field, fields, unfold};
use super::limits::{FIELD_BYTES_MAX, Limits};
use super::quote::push_nstring;

/// How many fields of one name are merged; later ones are left out.
const SAME_FIELDS_MAX: usize = 100;

/// The fields of a header that ENVELOPE, threads and sent dates are made from, unfolded.
#[derive(Debug, Default)]
pub(super) struct EnvelopeFields<'a> {
    pub(super) date: Option<Cow<'a, [u8]>>,
    pub(super) subject: Option<Cow<'a, [u8]>>,
    pub(super) in_reply_to: Option<Cow<'a, [u8]>>,
    pub(super) message_id: Option<Cow<'a, [u8]>>,
    pub(super) references: Option<Cow<'a, [u8]>>,
    from: Vec<Cow<'a, [u8]>>,
    sender: Vec<Cow<'a, [u8]>>,
    reply_to: Vec<Cow<'a, [u8]>>,
    to: Vec<Cow<'a, [u8]>>,
    cc: Vec<Cow<'a, [u8]>>,
    bcc: Vec<Cow<'a, [u8]>>,
}

impl<'a> EnvelopeFields<'a> {
    /// Reads a header.
    pub(super) fn read(header: &'a [u8], fields_max: usize) -> Self {
        let mut found = EnvelopeFields::default();
        for field in fields(header).take(fields_max) {
            found.take(&field);
        }
        found
    }

    fn take(&mut self, field: &Field<'a>) {
        let name: &[u8] = field.name;
        let one = |place: &mut Option<Cow<'a, [u8]>>| {
            if place.is_none() {
                *place = Some(value(field));
            }
        };
        // Several fields of addresses count as one, as if joined by a comma.
        let many = |place: &mut Vec<Cow<'a, [u8]>>| {
            if place.len() < SAME_FIELDS_MAX {
                place.push(value(field));
            }
        };
        match name.to_ascii_lowercase().as_slice() {
            b"date" => one(&mut self.date),
            b"subject" => one(&mut self.subject),
            b"in-reply-to" => one(&mut self.in_reply_to),
            b"message-id" => one(&mut self.message_id),
            b"references" => one(&mut self.references),
            b"from" => many(&mut self.from),
            b"sender" => many(&mut self.sender),
            b"reply-to" => many(&mut self.reply_to),
            b"to" => many(&mut self.to),
            b"cc" => many(&mut self.cc),
            b"bcc" => many(&mut self.bcc),
            _ => {}
        }
    }

    /// Appends `(date subject from sender reply-to to cc bcc in-reply-to message-id)`.
    // RFC 3501 §7.4.2
    pub(super) fn push_envelope(&self, out: &mut Vec<u8>, limits: &Limits) {
        let addresses = |out: &mut Vec<u8>, values: &[Cow<'_, [u8]>]| {
            push_addresses(
                out,
                values.iter().map(AsRef::as_ref),
                limits.address_list_bytes_max,
            );
        };
        let list = |values: &[Cow<'_, [u8]>]| {
            let mut out = Vec::new();
            addresses(&mut out, values);
            out
        };
        let from = list(&self.from);
        // Sender and Reply-To that are missing or empty are From: the client need not know why.
        let or_from = |values: &[Cow<'_, [u8]>]| {
            let own = list(values);
            if own == b"NIL" { from.clone() } else { own }
        };
        out.push(b'(');
        push_nstring(out, self.date.as_deref());
        out.push(b' ');
        push_nstring(out, self.subject.as_deref());
        out.push(b' ');
        out.extend_from_slice(&from);
        out.push(b' ');
        out.extend_from_slice(&or_from(&self.sender));
        out.push(b' ');
        out.extend_from_slice(&or_from(&self.reply_to));
        for values in [&self.to, &self.cc, &self.bcc] {
            out.push(b' ');
            addresses(out, values);
        }
        out.push(b' ');
        push_nstring(out, self.in_reply_to.as_deref());
        out.push(b' ');
        push_nstring(out, self.message_id.as_deref());
        out.push(b')');
    }
}

/// The subject in an ENVELOPE, which comes after the date; none when one of them has something escaped or it is NIL.
// RFC 3501 §7.4.2
pub(super) fn plain_subject(envelope: &[u8]) -> Option<&[u8]> {
    let date = envelope.strip_prefix(b"(")?;
    let subject = match date.strip_prefix(b"NIL") {
        Some(rest) => rest,
        None => plain_quoted(date)?.1,
    };
    Some(plain_quoted(subject.strip_prefix(b" ")?)?.0)
}

/// The content of a quoted string that has nothing escaped, and what follows it.
fn plain_quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let content = text.strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', content)?;
    (content[end] == b'"').then(|| (&content[..end], &content[end + 1..]))
}

fn value<'a>(field: &Field<'a>) -> Cow<'a, [u8]> {
    unfold(&field.value[..field.value.len().min(FIELD_BYTES_MAX)])
}
