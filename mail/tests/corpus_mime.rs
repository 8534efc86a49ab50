//! Replays the corpus of the fuzz target `mime_analyze` and the messages of these tests: the same checks as
//! the target, on a stable toolchain.

use std::path::Path;

use rookery_mail::mime::section::{Section, SectionItem, locate};
use rookery_mail::mime::{Analysis, Outcome, SearchText, analyze_guarded};

/// What `fuzz/fuzz_targets/mime_analyze.rs` asserts.
fn check(message: &[u8]) {
    let (analysis, outcome) = analyze_guarded(message);
    assert_ne!(outcome, Outcome::Panicked);
    for value in [&analysis.envelope, &analysis.body, &analysis.bodystructure] {
        assert!(value.is_ascii() && !value.iter().any(|byte| b"\r\n\0".contains(byte)));
    }
    for part in &analysis.parts {
        assert!(part.header.end <= part.body.start && part.body.end <= message.len() as u64);
    }
    for path in [vec![], vec![1], vec![1, 1], vec![2, 1]] {
        let _ = locate(
            &analysis.parts,
            &Section {
                path,
                item: SectionItem::Text,
            },
        );
    }
    let _ = SearchText::new(&[], message, &analysis.parts);
    assert_eq!(Analysis::decode(analysis.encode()), Ok(analysis));
    let _ = Analysis::decode(message.to_vec().into());
}

#[test]
fn the_corpus_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["tests/messages", "../fuzz/corpus/mime_analyze"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a corpus") {
            check(&std::fs::read(entry.expect("an entry").path()).expect("an input"));
            count += 1;
        }
    }
    assert!(count >= 30, "only {count} inputs");
}
