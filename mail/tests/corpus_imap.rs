//! Replays the corpus of the fuzz target `imap_command`, whole and cut short at every byte: the same checks as the
//! target, on a stable toolchain.

use std::path::Path;

use rookery_mail::imap::fuzz::imap_command;

#[test]
fn the_corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/imap_command");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        inputs += 1;
        imap_command(&input);
        // Short inputs only, since the work is quadratic.
        if input.len() <= 600 {
            (0..input.len()).for_each(|end| imap_command(&input[..end]));
        }
    }
    assert!(inputs >= 15, "only {inputs} inputs in {}", folder.display());
}

#[test]
fn damaged_inputs_hold() {
    // One byte after another is replaced by those that matter to the grammar.
    let input = b"a APPEND x (\\Seen) {2+}\r\nab ~{1}\r\nc\r\nb UID FETCH 1:*,2 (BODY.PEEK[1.HEADER.FIELDS (a)]<0.9>)\r\n\
                  c SEARCH CHARSET utf-8 OR (NOT SEEN) HEADER {1+}\r\nx \"y\\\"\" \r\nd LIST (SUBSCRIBED) \"\" (% *)\r\n";
    for place in 0..input.len() {
        for byte in *b"\0\r\n \"\\(){}[]<>*%+~&9a\xff" {
            let mut damaged = input.to_vec();
            damaged[place] = byte;
            imap_command(&damaged);
        }
    }
}
