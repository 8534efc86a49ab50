//! Simulated runs: machines, disks, clocks and a network that lose, delay and repeat, all from a seed, in one thread.
//!
//! For tests alone. What runs on the machines is the tests' own: replicas ([`rookery_replication`]) or all roles of a cluster.
//! Each machine is a runtime with a stopped clock; [`machine::step`] lets one after the other run for a few milliseconds and
//! delivers what was sent. Whatever is drawn and whatever clock is asked follows from the seed ([`entropy`], [`clock`]), so that a
//! seed which failed fails alike each time, in a process of its own ([`runs`]).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "says what it found")]

pub mod call;
pub mod clock;
pub mod entropy;
pub mod faults;
pub mod here;
pub mod log;
pub mod looks;
pub mod machine;
pub mod network;
pub mod run;
pub mod runs;
pub mod trace;

pub use here::Here;
pub use machine::Machine;
pub use run::Run;
