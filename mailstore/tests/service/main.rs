//! A mailstore's calls over the local transport: what proxies and the directory see of it.

#![allow(clippy::unwrap_used)]

mod access;
mod change;
mod crash;
mod deliver;
mod handoff;
mod isolation;
mod load;
mod remote;
mod support;
mod upload;
mod watch;
