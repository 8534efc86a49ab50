//! What the collector tells of the spans that it took.

use std::collections::BTreeMap;

/// A span as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Span {
    /// What made it: the node's id.
    pub(crate) node: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: it has none.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

impl Span {
    /// An attribute, empty when there is none.
    pub(crate) fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// Where a line belongs.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Resource,
    Span,
    Links,
}

/// The spans in the collector's text.
pub(crate) fn spans(text: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut node = String::new();
    let mut part = Part::Resource;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("ResourceSpans #") {
            part = Part::Resource;
        } else if line.starts_with("Span #") {
            part = Part::Span;
            spans.push(Span {
                node: node.clone(),
                ..Span::default()
            });
        } else if line == "Links:" {
            part = Part::Links;
        } else if let Some((key, value)) = line.strip_prefix("-> ").and_then(|line| line.split_once(": ")) {
            let value = value
                .split_once('(')
                .and_then(|(_, value)| value.strip_suffix(')'));
            let Some(value) = value else { continue };
            match (part, spans.last_mut()) {
                (Part::Resource, _) if key == "service.instance.id" => node = value.to_owned(),
                (Part::Span, Some(span)) => {
                    span.attributes.insert(key.to_owned(), value.to_owned());
                }
                _ => {}
            }
        } else if let (Part::Span, Some(span), Some((key, value))) =
            (part, spans.last_mut(), line.split_once(':'))
        {
            let value = value.trim().to_owned();
            match key.trim_end() {
                "Trace ID" => span.trace = value,
                "Parent ID" => span.parent = value,
                "ID" => span.id = value,
                "Name" => span.name = value,
                "Kind" => span.kind = value,
                "Start time" => span.began = value.parse().unwrap_or(0),
                "End time" => span.ended = value.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    spans
}
