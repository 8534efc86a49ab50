//! The fault test in short: a few fixed seeds. `make torture` is the long form.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod seeds;
mod shims;
