//! Any bytes as a message: the analysis neither panics nor leads outside the message, what it gives fits on a 7-bit
//! line, and its stored form reads back and finds in the fields for SEARCH what the header has. The same bytes as a stored form are refused or read.

use rookery_mail::mime::section::{Section, SectionItem, locate};
use rookery_mail::mime::{Analysis, Needle, Outcome, SearchField, SearchText, Stored, analyze_guarded};

/// Checks one message.
pub fn check(message: &[u8]) {
    let (analysis, outcome) = analyze_guarded(message);
    assert_ne!(outcome, Outcome::Panicked);
    for value in [&analysis.envelope, &analysis.body, &analysis.bodystructure] {
        assert!(value.is_ascii() && !value.iter().any(|byte| b"\r\n\0".contains(byte)));
    }
    for part in &analysis.parts {
        assert!(part.header.end <= part.body.start && part.body.end <= message.len() as u64);
    }
    for path in [vec![], vec![1], vec![1, 1], vec![2, 1]] {
        let item = SectionItem::Text;
        let _ = locate(&analysis.parts, &Section { path, item });
    }
    check_search(message, &analysis);
    assert_eq!(Analysis::decode(analysis.encode()), Ok(analysis));
    let _ = Analysis::decode(message.to_vec().into());
}

/// What is stored of a field answers as the header does.
fn check_search(message: &[u8], analysis: &Analysis) {
    let text = SearchText::new(&[], message, &analysis.parts);
    let stored = Stored::new(analysis.encode()).expect("what was just written");
    let some_values = text.headers().iter().take(8).map(|(_, value)| value.as_str());
    for looked_for in some_values.chain(["", "a", "\0"]) {
        let needle = Needle::new(looked_for);
        for field in SearchField::ALL {
            if let Some(found) = stored.has_field(field, &needle) {
                assert_eq!(found, text.has_header(field.name(), &needle), "{looked_for:?}");
            }
        }
    }
}
