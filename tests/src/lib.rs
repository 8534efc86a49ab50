//! What whole-cluster tests share: a cluster in one line, clients that speak as real ones do, and an oracle.
//!
//! Tests drive the built program from outside, through `rookery playground` and its `cluster.json`; of the roles only the
//! proxy's ways to a shard and to the directory are used here, for what no mail client can ask. A missing program makes a test fail with what to
//! install.

pub mod cluster;
pub mod directory_scale;
pub mod faults;
pub mod grow;
pub mod http;
pub mod imap;
pub mod member;
pub mod messages;
pub mod peers;
pub mod smtp;

pub use cluster::{Cluster, Options};
pub use imap::ImapClient;
pub use member::MemberClient;
pub use smtp::SmtpClient;
