//! Stored values of a mailstore. `mailstore/tests/corpus_values.rs` replays the corpus with the same check.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/stored_value.rs"]
mod stored_value;

fuzz_target!(|input: &[u8]| stored_value::check(input));
