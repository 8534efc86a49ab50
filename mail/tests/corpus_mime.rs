//! Replays the corpus of the fuzz target `mime_analyze` and the messages of these tests, on a stable toolchain.

use std::path::Path;

#[path = "../../fuzz/checks/mime_analyze.rs"]
#[allow(unreachable_pub)]
mod mime_analyze;

#[test]
fn the_corpus_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["tests/messages", "../fuzz/corpus/mime_analyze"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a corpus") {
            mime_analyze::check(&std::fs::read(entry.expect("an entry").path()).expect("an input"));
            count += 1;
        }
    }
    assert!(count >= 30, "only {count} inputs");
}
