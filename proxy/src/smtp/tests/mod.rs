//! Whole dialogs over streams in memory, with doubles of the directory and of three mailstores behind the real transport
//! within one process.

mod client;
mod dialogs;
mod directory;
mod failures;
mod hand_offs;
mod large;
mod lmtp;
mod login;
mod store;
mod world;

use client::Client;
use world::World;
