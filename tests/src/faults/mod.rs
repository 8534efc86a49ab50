//! The fault test: clients with a record of all they did, nemeses that strike the cluster meanwhile, and an oracle that
//! holds the record against what is there at the end.
//!
//! [`run::run`] is one run of one seed, [`scale_out::run`] one of clients in a cluster that grows and shrinks, [`upgrade::run`] one in a cluster whose nodes are
//! replaced by another build; `make torture` makes many, the test target `faults` a few short ones. What is
//! tested and what is not is in `docs/reliability.md`.

pub mod answers;
pub mod closing;
pub mod content;
pub mod control;
mod crowd;
pub mod disk;
pub mod ending;
pub mod history;
pub mod invariants;
pub mod model;
pub mod nemesis;
pub mod network;
pub mod picture;
pub mod report;
pub mod room;
pub mod run;
pub mod scale_out;
pub mod shim;
pub mod stage;
pub mod upgrade;
pub mod workload;
