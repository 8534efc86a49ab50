//! Dialogues over an in-memory stream: order, limits, TLS, refusals, streaming.

mod appends;
mod dialogue;
mod fake;
mod hostile;
mod survive;
