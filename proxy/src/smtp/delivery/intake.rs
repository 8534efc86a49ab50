//! Content on its way: kept while it is small, sent to each involved shard as it comes when it is large.
//!
//! Memory is bounded whatever the size: up to [`INLINE_BYTES_MAX`] are kept, and beyond that each shard may be behind by
//! what its upload's window holds; the pieces are shared between the shards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use rookery_proto::Status;
use rookery_proto::call::CHUNK_BYTES_MAX;
use rookery_proto::mailstore::v1::{NewBody, new_body};

use crate::route::{Cluster, Holder, Upload};

/// Bytes of the largest body that travels within a request (mailstore.proto, `Upload`).
pub(in crate::smtp) const INLINE_BYTES_MAX: usize = 256 * 1024;

/// The content of one message, as it comes.
pub(in crate::smtp) struct Intake {
    cluster: Arc<Cluster>,
    id: [u8; 16],
    /// The shards it goes to, each with the token with which it is called.
    leads: Vec<(u32, Bytes)>,
    /// How long an upload may last.
    duration_max: Duration,
    /// Not sent yet; all of the content while it is small.
    held: BytesMut,
    octets: u64,
    state: State,
}

enum State {
    Small,
    Uploading(Vec<Upload>),
    Discarded,
}

/// Where a shard finds the body.
pub(super) enum Source {
    /// In the request.
    Inline(Bytes),
    /// In an upload that was begun in this shard.
    Upload(Box<Upload>),
    /// Nowhere: the content was discarded.
    None,
}

impl Source {
    /// Waits until the body is whole in the shard, and says how a request refers to it.
    pub(super) async fn settle(self, deadline: Instant) -> Result<NewBody, Status> {
        let source = match self {
            Source::Inline(bytes) => new_body::Source::Inline(bytes),
            Source::Upload(upload) => new_body::Source::Upload(upload.finish(deadline).await?),
            Source::None => return Err(Status::internal("content that was discarded cannot be stored")),
        };
        Ok(NewBody { source: Some(source) })
    }
}

impl Intake {
    /// Nothing yet, for these shards.
    pub(in crate::smtp) fn new(
        cluster: Arc<Cluster>,
        id: [u8; 16],
        leads: Vec<(u32, Bytes)>,
        duration_max: Duration,
    ) -> Self {
        Self {
            cluster,
            id,
            leads,
            duration_max,
            held: BytesMut::new(),
            octets: 0,
            state: State::Small,
        }
    }

    /// Takes a piece.
    pub(in crate::smtp) fn stage(&mut self, piece: &[u8]) {
        self.octets += piece.len() as u64;
        if !matches!(self.state, State::Discarded) {
            self.held.extend_from_slice(piece);
        }
    }

    /// Octets so far.
    pub(in crate::smtp) fn octets(&self) -> u64 {
        self.octets
    }

    /// Sends on what is held, as far as it is much.
    pub(in crate::smtp) async fn advance(&mut self) {
        if matches!(self.state, State::Small) && self.held.len() > INLINE_BYTES_MAX {
            let deadline = Instant::now() + self.duration_max + self.cluster.options().patience;
            let begin = |(shard, token): &(u32, Bytes)| {
                let holder = Holder::Token(*shard, token.clone());
                Upload::begin(&self.cluster, holder, self.id, deadline)
            };
            self.state = State::Uploading(self.leads.iter().map(begin).collect());
        }
        while self.held.len() >= CHUNK_BYTES_MAX && matches!(self.state, State::Uploading(_)) {
            let chunk = self.held.split_to(CHUNK_BYTES_MAX).freeze();
            self.send(chunk).await;
        }
    }

    /// Keeps nothing from here on, and cancels what was begun.
    pub(in crate::smtp) fn discard(&mut self) {
        self.state = State::Discarded;
        self.held = BytesMut::new();
    }

    /// The content is whole: where each shard finds it, in the order of the shards.
    pub(super) async fn finish(mut self) -> Vec<Source> {
        if matches!(self.state, State::Uploading(_)) && !self.held.is_empty() {
            let rest = self.held.split().freeze();
            self.send(rest).await;
        }
        match self.state {
            State::Small => {
                let body = self.held.freeze();
                self.leads.iter().map(|_| Source::Inline(body.clone())).collect()
            }
            State::Uploading(uploads) => uploads
                .into_iter()
                .map(|upload| Source::Upload(Box::new(upload)))
                .collect(),
            State::Discarded => self.leads.iter().map(|_| Source::None).collect(),
        }
    }

    async fn send(&mut self, chunk: Bytes) {
        let State::Uploading(uploads) = &mut self.state else {
            return;
        };
        join_all(uploads.iter_mut().map(|upload| upload.send(chunk.clone()))).await;
    }
}
