//! What makes faults: shims that are loaded into nodes, and the disk as a power cut leaves it.

pub mod disk;
pub mod shim;
