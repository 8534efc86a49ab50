//! Replays the corpora of the SMTP fuzz targets as plain tests.

use std::path::Path;

#[path = "support/smtp_invariants.rs"]
mod smtp_invariants;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is there") {
        let path = entry.expect("an entry").path();
        let input = std::fs::read(&path).expect("a file");
        let outcome = std::panic::catch_unwind(|| check(&input));
        assert!(outcome.is_ok(), "{} broke an invariant", path.display());
        inputs += 1;
    }
    assert!(inputs >= 8, "{} holds {inputs} inputs only", corpus.display());
}

#[test]
fn smtp_command() {
    replay("smtp_command", smtp_invariants::command);
}

#[test]
fn smtp_data() {
    replay("smtp_data", smtp_invariants::data);
}
