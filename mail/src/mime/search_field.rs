//! The five fields that SEARCH has keys for, as a stored analysis keeps them: the very text that [`SearchText`] makes of the
//! header, so that a search compares it without reading the header.
//!
//! What is stored must be what a look at the header would give today: a change to how a header is decoded or folded needs a
//! new version of the stored form ([`codec`](super::codec)), whose readers take older texts for unknown. Never guesses: a
//! text that was not kept whole is unknown.
//!
//! [`SearchText`]: super::SearchText

use super::header::{Field, fields};
use super::limits::SEARCH_FIELD_BYTES_MAX;
use super::text::{Needle, SEPARATOR, fold, header_value};

/// A field that SEARCH has a key for.
// RFC 3501 §6.4.4; RFC 9051 §6.4.4
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchField {
    /// FROM.
    From,
    /// TO.
    To,
    /// CC.
    Cc,
    /// BCC.
    Bcc,
    /// SUBJECT.
    Subject,
}

impl SearchField {
    /// All of them, in the order in which they are stored.
    pub const ALL: [SearchField; 5] = [
        SearchField::From,
        SearchField::To,
        SearchField::Cc,
        SearchField::Bcc,
        SearchField::Subject,
    ];

    /// The field of this name, whatever its case; none for any other field.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<SearchField> {
        SearchField::ALL
            .into_iter()
            .find(|field| name.eq_ignore_ascii_case(field.name().as_bytes()))
    }

    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SearchField::From => "from",
            SearchField::To => "to",
            SearchField::Cc => "cc",
            SearchField::Bcc => "bcc",
            SearchField::Subject => "subject",
        }
    }
}

/// What is known of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldText {
    /// Nothing: only the header tells.
    #[default]
    Unknown,
    /// The header has no such field.
    Absent,
    /// The folded values of all its occurrences, a NUL between them; no text that is searched for holds one.
    Text(String),
}

/// What is known of each field, in the order of [`SearchField::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchFields(pub [FieldText; 5]);

impl SearchFields {
    /// Reads a header. A field of which all occurrences take more than [`SEARCH_FIELD_BYTES_MAX`] is unknown.
    #[must_use]
    pub fn of(header: &[u8]) -> SearchFields {
        let mut found = [const { FieldText::Absent }; 5];
        for field in fields(header) {
            if let Some(name) = SearchField::named(field.name) {
                add(&mut found[name as usize], &field);
            }
        }
        SearchFields(found)
    }

    /// What is known of one.
    #[must_use]
    pub fn get(&self, field: SearchField) -> &FieldText {
        &self.0[field as usize]
    }
}

fn add(text: &mut FieldText, field: &Field<'_>) {
    let joined = match std::mem::take(text) {
        FieldText::Unknown => return,
        FieldText::Absent => fold(&header_value(field)),
        FieldText::Text(mut before) => {
            before.push(SEPARATOR);
            before.push_str(&fold(&header_value(field)));
            before
        }
    };
    if joined.len() <= SEARCH_FIELD_BYTES_MAX {
        *text = FieldText::Text(joined);
    }
}

/// Whether a field of this name in `header` contains what is searched for. Decodes no other field.
#[must_use]
pub fn has_field(header: &[u8], name: SearchField, needle: &Needle) -> bool {
    fields(header)
        .filter(|field| field.is(name.name()))
        .any(|field| needle.is_in(fold(&header_value(&field)).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_are_joined_and_what_is_too_long_is_unknown() {
        let text = |text: &str| FieldText::Text(text.to_owned());
        let header = b"FROM: Ann\r\n <A@x>\r\nto : b\r\nX-To: no\r\nTo:\r\nSubject: =?utf-8?q?=C3=9Cber?=\r\n\r\nCc: no";
        let fields = SearchFields::of(header);
        assert_eq!(fields.get(SearchField::From), &text("ann <a@x>"));
        assert_eq!(fields.get(SearchField::To), &text("b\0"));
        assert_eq!(fields.get(SearchField::Cc), &FieldText::Absent);
        assert_eq!(fields.get(SearchField::Bcc), &FieldText::Absent);
        assert_eq!(fields.get(SearchField::Subject), &text("über"));

        let subject = "x".repeat(SEARCH_FIELD_BYTES_MAX);
        let fields = SearchFields::of(format!("Subject: {subject}\r\nTo: b\r\n").as_bytes());
        assert_eq!(fields.get(SearchField::Subject), &text(&subject));
        // Not what fits of it, and not a later one that would fit.
        for longer in [
            format!("Subject: {subject}y\r\nSubject: z\r\nTo: b\r\n"),
            format!("Subject: {subject}\r\nSubject:\r\nSubject: z\r\nTo: b\r\n"),
        ] {
            let fields = SearchFields::of(longer.as_bytes());
            assert_eq!(fields.get(SearchField::Subject), &FieldText::Unknown);
            assert_eq!(fields.get(SearchField::To), &text("b"));
        }
    }
}
