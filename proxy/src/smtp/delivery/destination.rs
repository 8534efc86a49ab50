//! An account that a message goes to, and the header lines that it gets before the message's own.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use rookery_mail::smtp::path::{ForwardPath, ReversePath};
use rookery_mail::smtp::trace::{Protocol, Received, return_path};
use rookery_proto::directory::v1 as directory;
use rookery_proto::mailstore::v1::{HandOffRecipient, Recipient};

/// What the header lines tell of the way of a message.
pub(in crate::smtp) struct Trace<'a> {
    pub(in crate::smtp) sender: &'a ReversePath,
    pub(in crate::smtp) client_name: Option<&'a str>,
    pub(in crate::smtp) client: IpAddr,
    pub(in crate::smtp) host: &'a str,
    pub(in crate::smtp) protocol: Protocol,
    pub(in crate::smtp) unix_seconds: i64,
}

/// An account that a message goes to.
#[derive(Debug, Clone)]
pub(in crate::smtp) struct Destination {
    pub(super) account: u64,
    pub(super) shard: u32,
    pub(super) token: Bytes,
    /// For Delivered-To: what the aliases led to.
    address: String,
    /// As in RCPT TO.
    path: Arc<ForwardPath>,
    pub(super) prefix: Bytes,
}

impl Destination {
    pub(super) fn new(path: Arc<ForwardPath>, found: directory::Destination) -> Self {
        let directory::Destination {
            account,
            shard,
            token,
            address,
            ..
        } = found;
        Self {
            account,
            shard,
            token,
            address,
            path,
            prefix: Bytes::new(),
        }
    }

    /// One with its header lines written already.
    pub(in crate::smtp) fn with_prefix(
        path: ForwardPath,
        found: directory::Destination,
        prefix: Bytes,
    ) -> Self {
        Self {
            prefix,
            ..Self::new(Arc::new(path), found)
        }
    }

    /// The same account where the directory says that it is now.
    pub(super) fn at(&self, found: directory::Destination) -> Self {
        Self {
            prefix: self.prefix.clone(),
            ..Self::new(Arc::clone(&self.path), found)
        }
    }

    /// Its own address, behind the aliases that led to it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Writes the lines: each account sees its own recipient and nobody else's (RFC 5321 §7.6).
    pub(super) fn write_prefix(&mut self, trace: &Trace<'_>, id: &str) {
        let received = Received {
            client_name: trace.client_name,
            client_address: Some(trace.client),
            host: trace.host,
            protocol: trace.protocol,
            id,
            recipient: Some(&self.path),
            unix_seconds: trace.unix_seconds,
        };
        let mut prefix = return_path(trace.sender);
        // What could forge a header line is left out; the directory gives no such address.
        if !self.address.chars().any(char::is_control) {
            prefix.push_str("Delivered-To: ");
            prefix.push_str(&self.address);
            prefix.push_str("\r\n");
        }
        prefix.push_str(&received.header());
        self.prefix = prefix.into();
    }

    /// As `Deliver` wants it.
    pub(super) fn recipient(&self) -> Recipient {
        Recipient {
            token: self.token.clone(),
            address: self.address.clone(),
            prefix: self.prefix.clone(),
        }
    }

    /// As `HandOff` wants it. Of an alias's member the row names the member: an alias leaves out who is suspended, so
    /// that, asked for again, it could not tell a member who waits from one who is gone.
    pub(super) fn hand_off(&self) -> HandOffRecipient {
        HandOffRecipient {
            address: self.address.clone(),
            prefix: self.prefix.clone(),
            account: self.account,
        }
    }

    /// Bytes that it takes in a request, at most.
    pub(super) fn request_bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        self.token.len() + self.address.len() + self.prefix.len() + OVERHEAD
    }
}

/// A recipient as the directory is asked for it.
pub(in crate::smtp) fn asked(path: &ForwardPath) -> String {
    match path {
        ForwardPath::Postmaster => "postmaster".to_owned(),
        ForwardPath::Address(address) => address.to_string(),
    }
}

/// The accounts of one shard.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) shard: u32,
    /// The token with which the shard is called: its first account's.
    pub(super) token: Bytes,
    /// Places among the destinations, ascending.
    pub(super) places: Vec<usize>,
}

/// The destinations by shard, in the order in which the shards first appear.
pub(super) fn groups(destinations: &[Destination]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_shard = std::collections::HashMap::new();
    for (place, destination) in destinations.iter().enumerate() {
        let index = *by_shard.entry(destination.shard).or_insert_with(|| {
            groups.push(Group {
                shard: destination.shard,
                token: destination.token.clone(),
                places: Vec::new(),
            });
            groups.len() - 1
        });
        groups[index].places.push(place);
    }
    groups
}

/// Each shard with the token with which it is called.
pub(in crate::smtp) fn leads(destinations: &[Destination]) -> Vec<(u32, Bytes)> {
    groups(destinations)
        .into_iter()
        .map(|group| (group.shard, group.token))
        .collect()
}

/// Splits places so that the destinations of each part fit one request.
pub(super) fn batches(destinations: &[Destination], places: &[usize]) -> Vec<Vec<usize>> {
    /// Bytes of the recipients of one request: with an inline body it stays below the transport's limit.
    const RECIPIENTS_BYTES_MAX: usize = 512 * 1024;
    /// Recipients of one request; a shard takes 1,000.
    const RECIPIENTS_MAX: usize = 500;
    let mut batches = vec![Vec::new()];
    let (mut bytes, mut count) = (0, 0);
    for &place in places {
        let more = destinations[place].request_bytes();
        if count > 0 && (bytes + more > RECIPIENTS_BYTES_MAX || count == RECIPIENTS_MAX) {
            batches.push(Vec::new());
            (bytes, count) = (0, 0);
        }
        (bytes, count) = (bytes + more, count + 1);
        if let Some(batch) = batches.last_mut() {
            batch.push(place);
        }
    }
    batches
}
