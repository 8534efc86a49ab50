//! Replays the corpus of the fuzz target `stored_value`, and every cut and every changed byte of it.

use std::path::Path;

#[path = "../../fuzz/checks/stored_value.rs"]
#[allow(unreachable_pub)]
mod stored_value;

#[test]
fn stored_values_are_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/stored_value");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        inputs += 1;
        for cut in 0..=input.len() {
            stored_value::check(&input[..cut]);
        }
        for position in 0..input.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = input.clone();
                changed[position] = byte;
                stored_value::check(&changed);
            }
        }
    }
    assert!(inputs >= 6, "the corpus has {inputs} inputs");
}
