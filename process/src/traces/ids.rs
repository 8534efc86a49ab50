//! The ids of a trace and a span, and how they travel: the `traceparent` of W3C Trace Context, version 00.

use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Octets of a `traceparent` of version 00; later versions may have more behind them.
const TRACEPARENT_OCTETS: usize = 55;

/// Which trace and which span of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    /// 16 bytes, as 32 hexadecimal digits.
    pub(crate) trace: TraceId,
    /// 8 bytes, as 16 hexadecimal digits.
    pub(crate) span: SpanId,
}

impl Ids {
    /// Of a span that was made by [`super::span`].
    pub(super) fn of(span: &Span) -> Option<Self> {
        span.with_subscriber(|(id, subscriber)| {
            let span = subscriber.downcast_ref::<Registry>()?.span(id)?;
            span.extensions().get::<Self>().copied()
        })
        .flatten()
    }

    /// Keeps them with a span, for [`Ids::of`] and for log lines.
    pub(crate) fn keep(self, span: &Span) {
        span.with_subscriber(|(id, subscriber)| {
            let registry = subscriber.downcast_ref::<Registry>();
            if let Some(span) = registry.and_then(|registry| registry.span(id)) {
                span.extensions_mut().replace(self);
            }
        });
    }

    /// Of the caller, when it is traced: a call of which the caller is not traced has none.
    pub(super) fn parse(traceparent: &str) -> Option<Self> {
        // version "-" trace-id "-" parent-id "-" trace-flags
        let text = traceparent.as_bytes();
        let is_whole = match text {
            [b'0', b'0', b'-', ..] => text.len() == TRACEPARENT_OCTETS,
            [b'f', b'f', ..] => false,
            _ => text.len() == TRACEPARENT_OCTETS || text.get(TRACEPARENT_OCTETS) == Some(&b'-'),
        };
        if !is_whole || !traceparent.is_ascii() {
            return None;
        }
        let mut fields = traceparent.split('-');
        let mut field = |digits: usize| {
            let is_digit = |octet: u8| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet);
            fields
                .next()
                .filter(|field| field.len() == digits && field.bytes().all(is_digit))
        };
        field(2)?;
        let trace = TraceId::from_hex(field(32)?).ok()?;
        let span = SpanId::from_hex(field(16)?).ok()?;
        let flags = u8::from_str_radix(field(2)?, 16).ok()?;
        let is_sampled = TraceFlags::new(flags).is_sampled();
        let is_valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        (is_sampled && is_valid).then_some(Self { trace, span })
    }

    /// As a parent or a link of other spans.
    pub(super) fn context(self, is_remote: bool) -> SpanContext {
        SpanContext::new(
            self.trace,
            self.span,
            TraceFlags::SAMPLED,
            is_remote,
            TraceState::NONE,
        )
    }
}

/// The `traceparent` that goes with calls.
impl fmt::Display for Ids {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{}-{}-01", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_told_as_it_was_read() {
        let ids = Ids::parse(WHOLE).unwrap();
        assert_eq!(ids.to_string(), WHOLE);
        assert_eq!(Ids::parse(&WHOLE.replace("-01", "-03")), Some(ids));
        let later = format!("{}-more", WHOLE.replacen("00", "42", 1));
        assert_eq!(Ids::parse(&later), Some(ids));
    }

    #[test]
    fn what_is_not_sampled_or_not_whole_is_no_parent() {
        let wrong = [
            "",
            "00-trace",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c8031-9cb7ad6b7169203331-0-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-é1",
        ];
        for wrong in wrong {
            assert_eq!(Ids::parse(wrong), None, "{wrong}");
        }
        for end in 0..WHOLE.len() {
            assert_eq!(Ids::parse(&WHOLE[..end]), None);
        }
    }
}
