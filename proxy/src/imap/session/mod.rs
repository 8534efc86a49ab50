//! The state of a client's dialogue: what is legal now, and what the client believes of the selected mailbox.
//!
//! Pure: values in, values out, no socket and no clock.

pub mod runs;
pub mod state;
pub mod view;

#[cfg(test)]
mod tests;

pub use runs::UidRuns;
pub use state::State;
pub use view::{Expunges, Untagged, View};
