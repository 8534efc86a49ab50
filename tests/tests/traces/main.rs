//! Traces as a real collector takes them: one for each message and command, through all processes; nothing in them that nobody may
//! see; and no wait for a collector that is away.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod away;
mod collector;
mod told;
mod whole;
