//! Writes BODY and BODYSTRUCTURE from a scan, in the bytes that FETCH sends. Recursion is as deep as the
//! scan's nesting limit.

use super::content::{Described, PartFields};
use super::envelope::EnvelopeFields;
use super::limits::{LimitReached, Limits};
use super::parameter::percent_encode;
use super::part::{PartKind, PartSpan};
use super::quote::{push_nstring, push_string};
use super::scan::Scan;

/// Which of the two forms to write.
// RFC 3501 §7.4.2: BODY is BODYSTRUCTURE without the extension data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Body,
    BodyStructure,
}

/// The structure of the whole message.
pub(super) fn structure(
    message: &[u8],
    scan: &Scan<'_>,
    form: Form,
    limits: &Limits,
) -> Result<Vec<u8>, LimitReached> {
    let mut children = vec![Vec::new(); scan.parts.len()];
    for (index, part) in scan.parts.iter().enumerate() {
        if let Some(parent) = part.parent {
            children[parent as usize].push(index);
        }
    }
    let mut writer = Writer {
        message,
        scan,
        children,
        form,
        limits,
        out: Vec::new(),
    };
    writer.part(0)?;
    Ok(writer.out)
}

struct Writer<'a> {
    message: &'a [u8],
    scan: &'a Scan<'a>,
    children: Vec<Vec<usize>>,
    form: Form,
    limits: &'a Limits,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn part(&mut self, index: usize) -> Result<(), LimitReached> {
        if self.out.len() > self.limits.bodystructure_bytes_max {
            return Err(LimitReached::BodyStructure);
        }
        let (part, fields) = (&self.scan.parts[index], &self.scan.fields[index]);
        self.out.push(b'(');
        if part.kind == PartKind::Multipart {
            for at in 0..self.children[index].len() {
                self.part(self.children[index][at])?;
            }
            self.out.push(b' ');
            push_string(&mut self.out, fields.content_type.sub.as_bytes());
            if self.form == Form::BodyStructure {
                self.out.push(b' ');
                push_parameters(&mut self.out, &fields.content_type);
                push_extension(&mut self.out, fields);
            }
        } else {
            push_basic_fields(&mut self.out, part, fields);
            if let (PartKind::Message, Some(&nested)) = (part.kind, self.children[index].first()) {
                self.nested_message(nested)?;
            }
            if part.kind == PartKind::Message || fields.content_type.main == "text" {
                self.out.extend_from_slice(format!(" {}", part.lines).as_bytes());
            }
            if self.form == Form::BodyStructure {
                self.out.push(b' ');
                push_nstring(&mut self.out, fields.md5.as_deref());
                push_extension(&mut self.out, fields);
            }
        }
        self.out.push(b')');
        Ok(())
    }

    fn nested_message(&mut self, nested: usize) -> Result<(), LimitReached> {
        let header = self.scan.parts[nested].header.of(self.message);
        self.out.push(b' ');
        EnvelopeFields::read(header, self.limits.header_fields_max).push_envelope(&mut self.out, self.limits);
        self.out.push(b' ');
        self.part(nested)
    }
}

/// `"type" "subtype" (parameters) id description encoding octets`
fn push_basic_fields(out: &mut Vec<u8>, part: &PartSpan, fields: &PartFields<'_>) {
    push_string(out, fields.content_type.main.as_bytes());
    out.push(b' ');
    push_string(out, fields.content_type.sub.as_bytes());
    out.push(b' ');
    push_parameters(out, &fields.content_type);
    out.push(b' ');
    push_nstring(out, fields.id.as_deref());
    out.push(b' ');
    push_nstring(out, fields.description.as_deref());
    out.push(b' ');
    push_string(out, fields.encoding_token.as_deref().unwrap_or(b"7bit"));
    out.extend_from_slice(format!(" {}", part.body.len()).as_bytes());
}

/// ` disposition language location`
fn push_extension(out: &mut Vec<u8>, fields: &PartFields<'_>) {
    out.push(b' ');
    match &fields.disposition {
        Some(disposition) => {
            out.push(b'(');
            push_string(out, disposition.main.as_bytes());
            out.push(b' ');
            push_parameters(out, disposition);
            out.push(b')');
        }
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    if fields.language.is_empty() {
        out.extend_from_slice(b"NIL");
    } else {
        for (at, tag) in fields.language.iter().enumerate() {
            out.push(if at == 0 { b'(' } else { b' ' });
            push_string(out, tag);
        }
        out.push(b')');
    }
    out.push(b' ');
    push_nstring(out, fields.location.as_deref());
}

fn push_parameters(out: &mut Vec<u8>, described: &Described) {
    if described.parameters.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    for (at, (name, value)) in described.parameters.iter().enumerate() {
        out.push(if at == 0 { b'(' } else { b' ' });
        push_parameter(out, name, value);
    }
    out.push(b')');
}

/// A raw 8-bit value is sent as an extended one, which is what RFC 2231 §4 has for it.
fn push_parameter(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if value.is_ascii() {
        push_string(out, name);
        out.push(b' ');
        push_string(out, value);
        return;
    }
    let text = super::quote::header_text(value);
    let mut extended = Vec::with_capacity(value.len() * 3);
    if name.ends_with(b"*") {
        for character in text.chars() {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            if character.is_ascii() {
                extended.extend_from_slice(bytes)
            } else {
                percent_encode(bytes, &mut extended)
            }
        }
        push_string(out, name);
    } else {
        extended.extend_from_slice(b"utf-8''");
        percent_encode(text.as_bytes(), &mut extended);
        push_string(out, &[name, b"*"].concat());
    }
    out.push(b' ');
    push_string(out, &extended);
}
