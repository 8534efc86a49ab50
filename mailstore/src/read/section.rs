//! Sections of a message: from the protocol's name of one to where its bytes come from.

use bytes::Bytes;
use rookery_mail::mime::section::{SectionBytes, locate_served, part_at};
use rookery_mail::mime::{Encoding, Section, SectionItem, Span, decode_part, header_fields};
use rookery_proto::Status;
use rookery_proto::mailstore::v1 as proto;
use rookery_proto::mailstore::v1::section::Kind;

use super::Snapshot;
use super::message::{OpenMessage, guarded};

/// Sections that one fetch may ask for.
pub(super) const SECTIONS_MAX: usize = 100;

/// Levels of a part's path.
const PATH_LEVELS_MAX: usize = 100;

/// A section that a fetch asks for.
pub(super) struct WantedSection {
    section: Section,
    binary: Binary,
    partial: Option<(u64, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Binary {
    No,
    Data,
    Size,
}

/// Where a section's bytes come from.
pub(super) enum SectionSource {
    /// The message has no such part.
    Absent,
    /// BINARY of an encoding that cannot be decoded.
    UnknownEncoding,
    /// The size alone.
    Size(u64),
    /// These bytes of the message as it is served.
    Span(Span),
    /// Bytes that had to be made.
    Made(Bytes),
}

impl SectionSource {
    /// Size of the section in bytes.
    pub(super) fn total(&self) -> u64 {
        match self {
            SectionSource::Absent | SectionSource::UnknownEncoding => 0,
            SectionSource::Size(size) => *size,
            SectionSource::Span(span) => span.len(),
            SectionSource::Made(bytes) => bytes.len() as u64,
        }
    }

    /// Bytes that are to be sent.
    pub(super) fn data_len(&self) -> u64 {
        if matches!(self, SectionSource::Size(_)) {
            0
        } else {
            self.total()
        }
    }

    fn partial(self, partial: Option<(u64, u64)>) -> Self {
        let Some((offset, length)) = partial else {
            return self;
        };
        match self {
            SectionSource::Span(span) => SectionSource::Span(span.partial(offset, length)),
            SectionSource::Made(bytes) => {
                let cut = Span::new(0, bytes.len() as u64).partial(offset, length);
                SectionSource::Made(bytes.slice(cut.range()))
            }
            other => other,
        }
    }
}

impl WantedSection {
    pub(super) fn from_proto(section: &proto::Section) -> Result<Self, Status> {
        if section.part.len() > PATH_LEVELS_MAX {
            return Err(Status::invalid(format!(
                "a section names more than {PATH_LEVELS_MAX} levels of parts"
            )));
        }
        let names = || {
            section
                .fields
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .collect()
        };
        let (item, binary) = match section.kind() {
            Kind::Unspecified => (SectionItem::Whole, Binary::No),
            Kind::Header => (SectionItem::Header, Binary::No),
            Kind::HeaderFields => (
                SectionItem::HeaderFields {
                    names: names(),
                    not: false,
                },
                Binary::No,
            ),
            Kind::HeaderFieldsNot => (
                SectionItem::HeaderFields {
                    names: names(),
                    not: true,
                },
                Binary::No,
            ),
            Kind::Mime => (SectionItem::Mime, Binary::No),
            Kind::Text => (SectionItem::Text, Binary::No),
            Kind::Binary => (SectionItem::Whole, Binary::Data),
            Kind::BinarySize => (SectionItem::Whole, Binary::Size),
        };
        let partial = section.partial.then_some((section.offset, section.length));
        Ok(Self {
            section: Section {
                path: section.part.clone(),
                item,
            },
            binary,
            partial,
        })
    }

    /// Finds the section in a message.
    pub(super) fn source(
        &self,
        snapshot: &Snapshot,
        message: &mut OpenMessage,
    ) -> Result<SectionSource, Status> {
        let source = match self.binary {
            Binary::No => self.plain(snapshot, message)?,
            Binary::Data | Binary::Size => self.decoded(snapshot, message)?,
        };
        Ok(source.partial(self.partial))
    }

    fn plain(&self, snapshot: &Snapshot, message: &mut OpenMessage) -> Result<SectionSource, Status> {
        if self.section.path.is_empty() {
            // What lies at the message's own level needs no parts.
            let (header, end) = (message.header_len(), message.len());
            match &self.section.item {
                SectionItem::Whole => return Ok(SectionSource::Span(Span::new(0, end))),
                SectionItem::Header => return Ok(SectionSource::Span(Span::new(0, header))),
                SectionItem::Text => return Ok(SectionSource::Span(Span::new(header, end))),
                SectionItem::HeaderFields { names, not } => {
                    return fields(snapshot, message, Span::new(0, header), names, *not);
                }
                SectionItem::Mime => return Ok(SectionSource::Absent),
            }
        }
        let prefix_len = message.prefix_len();
        match locate_served(message.parts(snapshot)?, &self.section, prefix_len) {
            None => Ok(SectionSource::Absent),
            Some(SectionBytes::Range(span)) => Ok(SectionSource::Span(span)),
            Some(SectionBytes::Fields { header, names, not }) => {
                fields(snapshot, message, header, names, not)
            }
        }
    }

    // RFC 3516 §4.2, §4.3
    fn decoded(&self, snapshot: &Snapshot, message: &mut OpenMessage) -> Result<SectionSource, Status> {
        let (span, encoding) = if self.section.path.is_empty() {
            (Span::new(0, message.len()), Encoding::Binary)
        } else {
            let prefix_len = message.prefix_len();
            let parts = message.parts(snapshot)?;
            let Some(part) = part_at(parts, &self.section.path).map(|index| &parts[index]) else {
                return Ok(SectionSource::Absent);
            };
            (part.body.shifted(prefix_len), part.encoding)
        };
        let source = match encoding {
            Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => SectionSource::Span(span),
            Encoding::Other => SectionSource::UnknownEncoding,
            Encoding::Base64 | Encoding::QuotedPrintable => {
                let body = message.read_span(snapshot, span)?;
                match guarded(|| decode_part(&body, encoding)) {
                    Some(Ok(decoded)) => SectionSource::Made(decoded.into()),
                    Some(Err(_)) | None => SectionSource::UnknownEncoding,
                }
            }
        };
        Ok(match (self.binary, &source) {
            (Binary::Size, SectionSource::Span(_) | SectionSource::Made(_)) => {
                SectionSource::Size(source.total())
            }
            _ => source,
        })
    }
}

fn fields(
    snapshot: &Snapshot,
    message: &mut OpenMessage,
    header: Span,
    names: &[Vec<u8>],
    not: bool,
) -> Result<SectionSource, Status> {
    let header = message.read_span(snapshot, header)?;
    Ok(SectionSource::Made(header_fields(&header, names, not).into()))
}
