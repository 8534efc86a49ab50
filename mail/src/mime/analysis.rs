//! The one look at a message: what FETCH, SEARCH and threads need of it, and the fallbacks that make every
//! message servable.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use super::bodystructure::{Form, structure};
use super::envelope::EnvelopeFields;
use super::header::header_len;
use super::limits::{LimitReached, Limits};
use super::part::{Encoding, PartKind, PartSpan, Span};
use super::scan::scan;
use super::search_field::SearchFields;

/// Bytes of a Date field that are looked at.
const DATE_BYTES_MAX: usize = 256;
/// Bytes of one message id; RFC 5322 §2.1.1 limits a line to 998.
const MESSAGE_ID_BYTES_MAX: usize = 998;
/// Message ids kept of one field.
const MESSAGE_IDS_MAX: usize = 100;
/// Bytes of a header that are parsed of a message which is served opaque.
const OPAQUE_HEADER_BYTES_MAX: usize = 64 * 1024;
/// The envelope of a message of which nothing was parsed.
const ENVELOPE_EMPTY: &[u8] = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
const SECONDS_PER_DAY: i64 = 86_400;

/// What was found in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// Length of the message's header with its blank line; RFC822.TEXT begins there.
    pub header_len: u64,
    /// The value of ENVELOPE, 7-bit, ready to send.
    pub envelope: Bytes,
    /// The value of BODY, 7-bit, ready to send.
    pub body: Bytes,
    /// The value of BODYSTRUCTURE, 7-bit, ready to send.
    pub bodystructure: Bytes,
    /// All parts; see [`PartSpan`]. Never empty.
    pub parts: Vec<PartSpan>,
    /// The Date field, in seconds since 1970.
    pub sent_date: Option<i64>,
    /// The day that the Date field names, its time zone disregarded, in days since 1970: what SENTBEFORE,
    /// SENTON and SENTSINCE compare (RFC 3501 §6.4.4).
    pub sent_day: Option<i32>,
    /// The Message-ID with its angle brackets.
    pub message_id: Option<String>,
    /// The message ids of In-Reply-To.
    pub in_reply_to: Vec<String>,
    /// The message ids of References.
    pub references: Vec<String>,
    /// What SEARCH FROM, TO, CC, BCC and SUBJECT compare.
    pub search_fields: SearchFields,
}

/// How an analysis came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message was understood.
    Parsed,
    /// The message went over a limit and is served opaque.
    Limited(LimitReached),
    /// The parser panicked; the message is served opaque.
    Panicked,
}

/// Analyses `message`; one that goes over a limit is served opaque. Linear in the message's length.
///
/// May panic where `mail-parser` does; use [`analyze_guarded`] for mail from outside.
#[must_use]
pub fn analyze(message: &[u8], limits: &Limits) -> Analysis {
    try_analyze(message, limits).unwrap_or_else(|_| Analysis::opaque_with_envelope(message, limits))
}

/// Analyses `message` with the default limits, catching panics, and says how it went.
#[must_use]
pub fn analyze_guarded(message: &[u8]) -> (Analysis, Outcome) {
    let limits = Limits::default();
    let analysed = catch_unwind(AssertUnwindSafe(|| match try_analyze(message, &limits) {
        Ok(analysis) => (analysis, Outcome::Parsed),
        Err(limit) => (
            Analysis::opaque_with_envelope(message, &limits),
            Outcome::Limited(limit),
        ),
    }));
    analysed.unwrap_or_else(|_| (Analysis::opaque(message), Outcome::Panicked))
}

fn try_analyze(message: &[u8], limits: &Limits) -> Result<Analysis, LimitReached> {
    let scan = scan(message, limits)?;
    let header = scan.parts[0].header;
    let body = structure(message, &scan, Form::Body, limits)?;
    let bodystructure = structure(message, &scan, Form::BodyStructure, limits)?;
    let mut analysis = Analysis {
        header_len: header.end,
        envelope: Bytes::new(),
        body: body.into(),
        bodystructure: bodystructure.into(),
        parts: scan.parts,
        sent_date: None,
        sent_day: None,
        message_id: None,
        in_reply_to: Vec::new(),
        references: Vec::new(),
        // A message is not opaque for a charset's sake: its header is read when it is searched.
        search_fields: catch_unwind(|| SearchFields::of(header.of(message))).unwrap_or_default(),
    };
    analysis.set_envelope(header.of(message), limits);
    Ok(analysis)
}

impl Analysis {
    /// What is served of a message that cannot be analysed: an empty envelope and one part of plain text.
    /// Looks for nothing but the end of the header, so it cannot fail.
    #[must_use]
    pub fn opaque(message: &[u8]) -> Analysis {
        let header_len = header_len(message) as u64;
        let body = Span::new(header_len, message.len() as u64);
        let lines = memchr::memchr_iter(b'\n', body.of(message)).count();
        let (encoding, token) = if message.is_ascii() {
            (Encoding::SevenBit, "7bit")
        } else {
            (Encoding::EightBit, "8bit")
        };
        let basic = format!(
            r#"("text" "plain" ("charset" "us-ascii") NIL NIL "{token}" {} {lines}"#,
            body.len()
        );
        Analysis {
            header_len,
            envelope: Bytes::from_static(ENVELOPE_EMPTY),
            body: format!("{basic})").into(),
            bodystructure: format!("{basic} NIL NIL NIL NIL)").into(),
            parts: vec![PartSpan {
                parent: None,
                position: 1,
                kind: PartKind::Leaf,
                header: Span::new(0, header_len),
                body,
                lines: lines as u64,
                encoding,
                media_type: "text/plain".to_owned(),
                charset: Some("us-ascii".to_owned()),
            }],
            sent_date: None,
            sent_day: None,
            message_id: None,
            in_reply_to: Vec::new(),
            references: Vec::new(),
            search_fields: SearchFields::default(),
        }
    }

    /// The same, with the envelope read from the beginning of the header.
    fn opaque_with_envelope(message: &[u8], limits: &Limits) -> Analysis {
        let mut analysis = Analysis::opaque(message);
        let header = analysis.parts[0].header.of(message);
        if header.len() <= OPAQUE_HEADER_BYTES_MAX {
            analysis.search_fields = SearchFields::of(header);
        }
        analysis.set_envelope(&header[..header.len().min(OPAQUE_HEADER_BYTES_MAX)], limits);
        analysis
    }

    fn set_envelope(&mut self, header: &[u8], limits: &Limits) {
        let fields = EnvelopeFields::read(header, limits.header_fields_max);
        let mut envelope = Vec::new();
        fields.push_envelope(&mut envelope, limits);
        self.envelope = envelope.into();
        if let Some((unix, day)) = fields.date.as_deref().and_then(sent_date) {
            self.sent_date = Some(unix);
            self.sent_day = Some(day);
        }
        self.message_id = fields
            .message_id
            .as_deref()
            .and_then(|value| message_ids(value).next());
        self.in_reply_to = fields
            .in_reply_to
            .as_deref()
            .map(all_message_ids)
            .unwrap_or_default();
        self.references = fields
            .references
            .as_deref()
            .map(all_message_ids)
            .unwrap_or_default();
    }
}

fn sent_date(value: &[u8]) -> Option<(i64, i32)> {
    let mut value = value[..value.len().min(DATE_BYTES_MAX)].to_vec();
    value.push(b'\n');
    let HeaderValue::DateTime(mut date) = MessageStream::new(&value).parse_date() else {
        return None;
    };
    // A leap second is a valid time, and the parser's check does not know it.
    date.second = date.second.min(59);
    if !date.is_valid() {
        return None;
    }
    let day = i32::try_from(date.to_timestamp_local().div_euclid(SECONDS_PER_DAY)).ok()?;
    Some((date.to_timestamp(), day))
}

/// The message ids in a field, each with its angle brackets.
fn message_ids(value: &[u8]) -> impl Iterator<Item = String> + '_ {
    value.split(|&byte| byte == b'<').skip(1).filter_map(|rest| {
        let id = &rest[..memchr::memchr(b'>', rest)?];
        let id: Vec<u8> = id
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        (!id.is_empty() && id.len() <= MESSAGE_ID_BYTES_MAX)
            .then(|| format!("<{}>", String::from_utf8_lossy(&id)))
    })
}

fn all_message_ids(value: &[u8]) -> Vec<String> {
    message_ids(value).take(MESSAGE_IDS_MAX).collect()
}
