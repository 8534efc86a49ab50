//! The bytes of an IMAP connection: framing and grammar. `mail/tests/corpus_imap.rs` replays the corpus.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| rookery_mail::imap::fuzz::imap_command(input));
