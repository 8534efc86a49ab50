//! Planners: pure functions from what is stored and a command to a batch, a reply and events.
