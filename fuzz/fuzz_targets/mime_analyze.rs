//! The analysis of messages. `mail/tests/corpus_mime.rs` replays the corpus with the same check.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/mime_analyze.rs"]
mod mime_analyze;

fuzz_target!(|message: &[u8]| mime_analyze::check(message));
