//! Any bytes as what follows DATA.
#![no_main]

#[path = "../../mail/tests/support/smtp_invariants.rs"]
#[allow(dead_code)]
mod smtp_invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| smtp_invariants::data(input));
