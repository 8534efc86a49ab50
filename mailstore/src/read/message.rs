//! One message as it is served: its record, its analysis, and its bytes (header lines of the recipient, then the body).

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rookery_mail::mime::{Analysis, CodecError, PartSpan, Span, Stored};
use rookery_proto::Status;

use super::Snapshot;
use crate::body::OpenBody;
use crate::schema::MessageRecord;

/// A message that is being read.
pub(super) struct OpenMessage {
    record: MessageRecord,
    /// All of the body, when it was read ahead.
    held: Option<Bytes>,
    stored: Option<Stored>,
    parts: Option<Vec<PartSpan>>,
}

impl OpenMessage {
    pub(super) fn new(record: MessageRecord) -> Self {
        Self {
            record,
            held: None,
            stored: None,
            parts: None,
        }
    }

    /// Keeps all of its body, which was read ahead.
    pub(super) fn hold(&mut self, body: Bytes) {
        self.held = Some(body);
    }

    pub(super) fn prefix(&self) -> &Bytes {
        &self.record.prefix
    }

    /// Length of the header as it is served.
    pub(super) fn header_len(&self) -> u64 {
        self.prefix_len() + self.record.header_len
    }

    pub(super) fn prefix_len(&self) -> u64 {
        self.record.prefix.len() as u64
    }

    /// Length of the whole message as it is served.
    pub(super) fn len(&self) -> u64 {
        self.record.size()
    }

    /// The stored analysis; that of opaque text when there is none that can be read.
    pub(super) fn stored(&mut self, snapshot: &Snapshot) -> Result<&Stored, Status> {
        if self.stored.is_none() {
            let known = Stored::new(self.record.analysis.clone()).ok();
            let stored = match known {
                Some(stored) => stored,
                None => {
                    let body = self.read_span(snapshot, Span::new(self.prefix_len(), self.len()))?;
                    Stored::new(Analysis::opaque(&body).encode())
                        .map_err(|error| Status::internal(error.to_string()))?
                }
            };
            return Ok(self.stored.insert(stored));
        }
        self.stored
            .as_ref()
            .ok_or_else(|| Status::internal("an analysis was lost"))
    }

    /// All of the analysis.
    pub(super) fn analysis(&mut self, snapshot: &Snapshot) -> Result<Analysis, Status> {
        let decoded = self.stored(snapshot)?.decode();
        decoded.map_err(|error| damaged_analysis(&error))
    }

    /// The parts of the body.
    pub(super) fn parts(&mut self, snapshot: &Snapshot) -> Result<&[PartSpan], Status> {
        if self.parts.is_none() {
            self.parts = Some(self.analysis(snapshot)?.parts);
        }
        Ok(self.parts.as_deref().unwrap_or_default())
    }

    /// Some bytes from `offset` of the message as it is served, at most `length`; none only at its end.
    pub(super) fn read(&mut self, snapshot: &Snapshot, offset: u64, length: usize) -> Result<Bytes, Status> {
        let prefix_len = self.prefix_len();
        if offset < prefix_len {
            let from = offset as usize;
            let to = from.saturating_add(length).min(self.record.prefix.len());
            return Ok(self.record.prefix.slice(from..to));
        }
        if let Some(held) = &self.held {
            let from = usize::try_from(offset - prefix_len)
                .unwrap_or(usize::MAX)
                .min(held.len());
            let to = from.saturating_add(length).min(held.len());
            return Ok(held.slice(from..to));
        }
        let body = self.body();
        Ok(snapshot
            .bodies
            .read(&snapshot.reader(), &body, offset - prefix_len, length)?)
    }

    /// All bytes of a span of the message as it is served.
    pub(super) fn read_span(&mut self, snapshot: &Snapshot, span: Span) -> Result<Bytes, Status> {
        let prefix_len = self.prefix_len();
        let span = Span::new(span.start.min(self.len()), span.end.min(self.len()));
        if span.end <= prefix_len {
            return Ok(self.record.prefix.slice(span.range()));
        }
        let body = self.body();
        let of_body = span.start.saturating_sub(prefix_len)..span.end - prefix_len;
        let bytes = match &self.held {
            // It has all bytes that the record says.
            Some(held) => held.slice(of_body.start as usize..of_body.end as usize),
            None => snapshot.bodies.read_range(&snapshot.reader(), &body, of_body)?,
        };
        if span.start >= prefix_len {
            return Ok(bytes);
        }
        Ok([&self.record.prefix[span.start as usize..], &bytes]
            .concat()
            .into())
    }

    pub(super) fn body(&self) -> OpenBody {
        OpenBody::of(self.record.body)
    }
}

/// The answer when a stored analysis has a known version and cannot be read all the same.
pub(super) fn damaged_analysis(error: &CodecError) -> Status {
    Status::internal(format!("a stored analysis: {error}"))
}

/// Runs code that looks into the content of a message, where hostile bytes may find a defect: its panic costs an answer,
/// not the caller.
pub(super) fn guarded<T>(look: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(look)).ok()
}
