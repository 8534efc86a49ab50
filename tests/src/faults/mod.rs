//! The fault test: clients with a record of all they did, nemeses that strike the cluster meanwhile, and an oracle that
//! holds the record against what is there at the end.
//!
//! [`run::run`] is one run of one seed; `make torture` makes many, the test target `faults` a few short ones. What is
//! tested and what is not is in `docs/reliability.md`.

pub mod answers;
pub mod closing;
pub mod content;
pub mod control;
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
pub mod shim;
pub mod stage;
pub mod workload;
