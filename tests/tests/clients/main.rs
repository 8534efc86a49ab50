//! Real mail clients on a real cluster: what people run against a mail server works against this one.
//!
//! Each client is a program of others, driven as its users drive it, with the cluster's CA as the only authority that it
//! trusts. Nothing here speaks a protocol itself, except to look at what a client has left on the server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod curl;
mod mbsync;
mod mutt;
mod python;
mod swaks;

use std::path::PathBuf;

use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient};

/// The password of every account of a playground.
const PASSWORD: &str = "playground";

/// The port of an endpoint. Clients are given `localhost`, which is the name in the certificate.
fn port(endpoint: &str) -> &str {
    endpoint.rsplit(':').next().unwrap()
}

/// The cluster's CA certificate.
fn ca(cluster: &Cluster) -> PathBuf {
    cluster.manifest().ca_file.clone()
}

/// Writes a file into the cluster's scratch folder.
fn scratch(cluster: &Cluster, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = cluster.scratch().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// All messages of a mailbox as the server holds them, in the order of their UIDs.
fn messages_of(cluster: &Cluster, user: &str, mailbox: &str) -> Vec<String> {
    let mut imap = ImapClient::login(&cluster.proxy(1).imap, user).unwrap();
    let examined = imap.command(&format!("EXAMINE {mailbox}")).unwrap().ok().unwrap();
    if examined.exists() == Some(0) {
        return Vec::new();
    }
    let fetched = imap.command("FETCH 1:* BODY.PEEK[]").unwrap().ok().unwrap();
    let bodies = fetched
        .untagged
        .iter()
        .map(|response| literals(response).remove(0));
    bodies
        .map(|body| String::from_utf8_lossy(&body).into_owned())
        .collect()
}
