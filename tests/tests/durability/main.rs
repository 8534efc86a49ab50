//! Syncs: what was acknowledged was synced before, and so outlives a crash that takes everything unsynced away.
//!
//! Kill -9 alone does not test syncing, since the kernel keeps what a dead process wrote. So one test takes away after
//! each kill whatever no completed sync had covered, and another reads from a trace of the system calls that every `250`
//! follows the sync of its message.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod power_cut;
mod traced;
