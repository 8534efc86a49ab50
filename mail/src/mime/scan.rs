//! Finds the parts of a message: one pass over its lines, with a stack of the parts that are open.
//! Costs time linear in the message and memory linear in its parts; never recurses, never decodes.

use super::content::PartFields;
use super::header::{is_blank_line, line_end};
use super::limits::{LimitReached, Limits};
use super::part::{PartKind, PartSpan, Span};

/// Longest boundary that is honoured; RFC 2046 §5.1.1 allows 70.
const BOUNDARY_BYTES_MAX: usize = 998;

/// The parts of a message, and beside each the header fields that describe it.
pub(super) struct Scan<'a> {
    pub(super) parts: Vec<PartSpan>,
    pub(super) fields: Vec<PartFields<'a>>,
}

/// Finds the parts of `message`.
pub(super) fn scan<'a>(message: &'a [u8], limits: &Limits) -> Result<Scan<'a>, LimitReached> {
    let mut scanner = Scanner {
        message,
        limits,
        found: Scan {
            parts: Vec::new(),
            fields: Vec::new(),
        },
        open: Vec::new(),
        lines: 0,
        header_fields: 0,
    };
    scanner.open_part(None, 0, 0, false)?;
    let mut at = 0;
    while at < message.len() {
        let next = at + line_end(&message[at..]);
        scanner.line(at, next)?;
        scanner.lines += u64::from(message[next - 1] == b'\n');
        at = next;
    }
    scanner.close_above(0, message.len(), scanner.lines)?;
    Ok(scanner.found)
}

struct Scanner<'a, 'l> {
    message: &'a [u8],
    limits: &'l Limits,
    found: Scan<'a>,
    open: Vec<Open>,
    /// Line ends before the current line.
    lines: u64,
    header_fields: usize,
}

/// A part whose end was not seen yet.
struct Open {
    part: usize,
    start: usize,
    in_header: bool,
    /// Delimits the children of a multipart; taken away by the closing delimiter.
    boundary: Option<Vec<u8>>,
    is_digest: bool,
    children: u32,
    /// Until the header is read, where that begins.
    body_start: usize,
    lines_before_body: u64,
}

impl Scanner<'_, '_> {
    fn line(&mut self, at: usize, next: usize) -> Result<(), LimitReached> {
        let line = &self.message[at..next];
        if line.starts_with(b"--")
            && let Some((level, closing)) = self.delimiter(line)
        {
            // RFC 2046 §5.1.1: the line end before the delimiter belongs to it.
            let end_of_line = line_end_before(self.message, at);
            let lines = self.lines - u64::from(end_of_line > 0);
            self.close_above(level + 1, at - end_of_line, lines)?;
            let multipart = &mut self.open[level];
            if closing {
                multipart.boundary = None;
            } else {
                let (parent, is_digest) = (multipart.part, multipart.is_digest);
                let lines = self.lines + u64::from(line.ends_with(b"\n"));
                self.open_part(Some(parent), next, lines, is_digest)?;
            }
        } else if is_blank_line(line) && self.open.last().is_some_and(|open| open.in_header) {
            self.finish_header(next, next, self.lines + 1)?;
        }
        Ok(())
    }

    /// The innermost open multipart that `line` delimits, and whether the line closes it.
    ///
    /// RFC 2046 §5.1.1 lets anything follow a boundary; here only white space (and `--`) may, so that a
    /// boundary which begins like another one is not taken for it.
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line[2..].trim_ascii_end();
        let level_of = |boundary: &[u8]| {
            self.open
                .iter()
                .rposition(|open| open.boundary.as_deref() == Some(boundary))
        };
        if let Some(level) = level_of(text) {
            return Some((level, false));
        }
        let level = level_of(text.strip_suffix(b"--")?)?;
        Some((level, true))
    }

    fn open_part(
        &mut self,
        parent: Option<usize>,
        start: usize,
        lines: u64,
        in_digest: bool,
    ) -> Result<(), LimitReached> {
        if self.open.len() >= self.limits.nesting_depth_max {
            return Err(LimitReached::NestingDepth);
        }
        if self.found.parts.len() >= self.limits.parts_max {
            return Err(LimitReached::Parts);
        }
        let position = match self.open.last_mut() {
            Some(holder) => {
                holder.children += 1;
                holder.children
            }
            None => 1,
        };
        let fields = PartFields::missing(in_digest);
        self.found.parts.push(PartSpan {
            parent: parent.and_then(|part| u32::try_from(part).ok()),
            position,
            kind: PartKind::Leaf,
            header: Span::new(start as u64, start as u64),
            body: Span::new(start as u64, start as u64),
            lines: 0,
            encoding: fields.encoding(),
            media_type: fields.media_type(),
            charset: None,
        });
        self.found.fields.push(fields);
        self.open.push(Open {
            part: self.found.parts.len() - 1,
            start,
            in_header: true,
            boundary: None,
            is_digest: false,
            children: 0,
            body_start: start,
            lines_before_body: lines,
        });
        Ok(())
    }

    /// Reads the header of the innermost open part, which ends at `end`, and opens what it nests.
    fn finish_header(&mut self, end: usize, body_start: usize, lines: u64) -> Result<(), LimitReached> {
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        open.in_header = false;
        open.body_start = body_start.max(open.start);
        open.lines_before_body = lines;
        let (part, start, body_start) = (open.part, open.start, open.body_start);
        let fields = PartFields::read(
            &self.message[start..end.max(start)],
            &self.found.fields[part],
            &mut self.header_fields,
        );
        if self.header_fields > self.limits.header_fields_max {
            return Err(LimitReached::HeaderFields);
        }
        let span = &mut self.found.parts[part];
        span.header = Span::new(start as u64, end as u64);
        span.encoding = fields.encoding();
        span.media_type = fields.media_type();
        span.charset = fields.charset();
        if fields.is_multipart() {
            // One without a usable boundary stays a leaf and is served as text when it is closed.
            open.boundary = fields.boundary().filter(|b| b.len() <= BOUNDARY_BYTES_MAX);
            open.is_digest = span.media_type == "multipart/digest";
            span.kind = PartKind::Multipart;
        } else if fields.is_message() {
            span.kind = PartKind::Message;
        }
        let is_message = span.kind == PartKind::Message;
        self.found.fields[part] = fields;
        if is_message {
            self.open_part(Some(part), body_start, lines, false)
        } else {
            Ok(())
        }
    }

    /// Ends all open parts above `level` at `end`, where `lines` line ends have been seen.
    fn close_above(&mut self, level: usize, mut end: usize, mut lines: u64) -> Result<(), LimitReached> {
        while self.open.len() > level {
            let Some(open) = self.open.last() else { break };
            if open.body_start > end {
                // The line end that the delimiter claims already ended a header, or another delimiter.
                // That one keeps it, and so do all parts around it.
                (end, lines) = (open.body_start, open.lines_before_body);
            }
            if open.in_header {
                // No blank line came: all there is, is header. May open a nested message.
                self.finish_header(end, end, lines)?;
                continue;
            }
            let (part, body_start) = (open.part, open.body_start);
            let span = &mut self.found.parts[part];
            span.body = Span::new(body_start as u64, end as u64);
            span.lines = lines.saturating_sub(open.lines_before_body);
            if span.kind == PartKind::Multipart && open.children == 0 {
                // RFC 3501's grammar has no multipart without parts.
                let fields = self.found.fields[part].as_plain_text();
                span.kind = PartKind::Leaf;
                span.media_type = fields.media_type();
                span.charset = None;
                self.found.fields[part] = fields;
            }
            self.open.pop();
        }
        Ok(())
    }
}

/// Length of the line end just before offset `at`.
fn line_end_before(message: &[u8], at: usize) -> usize {
    let before = &message[..at];
    if before.ends_with(b"\r\n") {
        2
    } else {
        usize::from(before.ends_with(b"\n"))
    }
}
