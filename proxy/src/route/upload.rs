//! A large message on its way to a shard, over the death of the shard's leader.
//!
//! What was sent is kept until the shard has said that it is durable, so that after a break the upload goes on there, at
//! whoever leads then. Memory is bounded: what is kept fills a window, and while the window is full nothing is taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use rookery_process::traces;
use rookery_proto::call::{CHUNK_BYTES_MAX, cancelled};
use rookery_proto::mailstore::v1::{self as mailstore, Reply, Uploaded, reply, request};
use rookery_proto::{Body, MailstoreProtocol, Protocol, Reason, Replies, Status};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::account::Account;
use super::ask::{Bearer, context, start};
use super::cluster::Cluster;
use super::leaders::{Target, Way};

/// Bytes that a mailstore may have without saying that they are durable (mailstore.proto, `Uploaded`).
const ACKNOWLEDGED_EACH_BYTES: u64 = 256 * 1024;

/// Bytes that are kept until they are acknowledged: a few times that, so that the shard always has something to do.
const WINDOW_BYTES_MAX: u64 = 4 * ACKNOWLEDGED_EACH_BYTES;

/// For whom it is uploaded.
pub(crate) enum Holder {
    /// A session's account.
    Account(Arc<Account>),
    /// An account of a shard, by a token.
    Token(u32, Bytes),
}

impl Holder {
    fn shard(&self) -> u32 {
        match self {
            Holder::Account(account) => account.shard(),
            Holder::Token(shard, _) => *shard,
        }
    }

    fn bearer(&self) -> Bearer<'_> {
        match self {
            Holder::Account(account) => Bearer::Account(account),
            Holder::Token(_, token) => Bearer::Token(token),
        }
    }
}

/// An upload. Dropped before its end, it is cancelled, and what the shard has of it expires.
pub(crate) struct Upload {
    id: [u8; 16],
    sent: u64,
    // Gone before the sender, so that nothing is made of the drop of that.
    task: AbortOnDropHandle<Result<u64, Status>>,
    /// Gone once all was sent.
    input: Option<mpsc::Sender<Piece>>,
}

/// What comes of the message. The channel's end without [`Piece::End`] says that the rest will never come.
enum Piece {
    More(Bytes),
    End,
}

impl Upload {
    /// Begins an upload that lasts until the deadline at most. What fails is told by [`Upload::finish`]. Must be called
    /// within a tokio runtime.
    pub(crate) fn begin(cluster: &Arc<Cluster>, holder: Holder, id: [u8; 16], deadline: Instant) -> Self {
        let (input, pieces) = mpsc::channel(1);
        let traced = traces::call(MailstoreProtocol::NAME, "upload");
        traced.count("rookery.shard", holder.shard().into());
        let pump = Pump {
            cluster: Arc::clone(cluster),
            way: cluster.leaders().way(holder.shard()),
            holder,
            id,
            deadline,
            pieces,
            window: Window::default(),
            progress: Instant::now(),
        };
        Self {
            id,
            sent: 0,
            task: AbortOnDropHandle::new(tokio::spawn(traced.run(pump.run()))),
            input: Some(input),
        }
    }

    /// Sends some more; waits while the shard is behind, within the cluster's patience. Of an upload that has failed the
    /// rest is swallowed.
    pub(crate) async fn send(&mut self, mut bytes: Bytes) {
        let Some(input) = &self.input else { return };
        self.sent += bytes.len() as u64;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
            if input.send(Piece::More(piece)).await.is_err() {
                return;
            }
        }
    }

    /// All was sent: the shard may finish it.
    pub(crate) async fn end(&mut self) {
        if let Some(input) = self.input.take() {
            // It may have failed already, and says so in the end.
            let _ = input.send(Piece::End).await;
        }
    }

    /// All was sent: waits until it is durable, and gives the upload's id.
    pub(crate) async fn finish(mut self, deadline: Instant) -> Result<Bytes, Status> {
        self.end().await;
        let Self { id, sent, task, .. } = self;
        let size = timeout_at(deadline.into(), task)
            .await
            .map_err(|_| Status::unavailable("the upload was not confirmed in time"))?
            .map_err(|_| Status::internal("the upload's task ended"))??;
        if size != sent {
            return Err(Status::internal(
                "the mailstore confirmed something else than was uploaded",
            ));
        }
        Ok(Bytes::copy_from_slice(&id))
    }
}

/// What was taken and is not known to be durable.
#[derive(Debug, Default)]
struct Window {
    /// Bytes of the message before it, all durable.
    start: u64,
    pieces: VecDeque<Bytes>,
    bytes: u64,
    /// Pieces of it that were sent by this call.
    sent: usize,
    sent_bytes: u64,
    /// Nothing comes behind it.
    ended: bool,
}

impl Window {
    fn has_room(&self) -> bool {
        !self.ended && self.bytes < WINDOW_BYTES_MAX
    }

    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        self.pieces.push_back(piece);
    }

    fn unsent(&self) -> Option<&Bytes> {
        self.pieces.get(self.sent)
    }

    fn is_sent(&mut self) {
        if let Some(piece) = self.pieces.get(self.sent) {
            self.sent_bytes += piece.len() as u64;
            self.sent += 1;
        }
    }

    /// All of the message was sent by this call.
    fn is_all_sent(&self) -> bool {
        self.ended && self.sent == self.pieces.len()
    }

    /// Whether it is the mailstore's turn: to take something, or to say that it is durable.
    fn waits(&self) -> bool {
        self.unsent().is_some() || self.sent_bytes >= ACKNOWLEDGED_EACH_BYTES || self.is_all_sent()
    }

    /// So much of the message is durable. False when that cannot be.
    fn acknowledge(&mut self, size: u64) -> bool {
        if size > self.start + self.sent_bytes {
            return false;
        }
        while self.start < size
            && let Some(piece) = self.pieces.front_mut()
        {
            let taken = (size - self.start).min(piece.len() as u64);
            piece.advance(taken as usize);
            self.start += taken;
            self.bytes -= taken;
            self.sent_bytes -= taken;
            if piece.is_empty() {
                self.pieces.pop_front();
                self.sent -= 1;
            }
        }
        true
    }

    /// The next call sends it from its start again.
    fn rewind(&mut self) {
        self.sent = 0;
        self.sent_bytes = 0;
    }

    fn end(&self) -> u64 {
        self.start + self.bytes
    }
}

/// Brings the message to whoever leads.
struct Pump {
    cluster: Arc<Cluster>,
    holder: Holder,
    id: [u8; 16],
    deadline: Instant,
    pieces: mpsc::Receiver<Piece>,
    window: Window,
    way: Way,
    /// When it was last the shard's turn, or the shard said something.
    progress: Instant,
}

impl Pump {
    async fn run(mut self) -> Result<u64, Status> {
        let brought = self.bring().await;
        traces::current().ended(brought.as_ref().err().map(Status::for_traces));
        brought
    }

    async fn bring(&mut self) -> Result<u64, Status> {
        let leaders = Arc::clone(self.cluster.leaders());
        loop {
            let until = self.deadline.min(self.progress + self.patience());
            let token = self.cluster.token_of(self.holder.bearer(), until).await?;
            if self.holder.shard() != self.way.shard() {
                self.way = leaders.way(self.holder.shard());
            }
            let target = leaders.next(&mut self.way, until).await?;
            match self.attempt(token, &target).await {
                Err(status) if status.is_retryable() => {
                    let (shard, from) = (self.holder.shard(), self.window.start);
                    tracing::debug!(shard, from, %status, "an upload broke off; going on");
                    leaders.failed(&mut self.way, &target.node, &status);
                }
                Err(status) if status.reason == Reason::Moved => match &self.holder {
                    // No account moves with an upload under way, so that all of it is here still.
                    Holder::Account(account) => {
                        account.find_again(self.way.shard(), until).await?;
                        self.way = leaders.way(account.shard());
                    }
                    Holder::Token(..) => return Err(status),
                },
                outcome => return outcome,
            }
        }
    }

    fn patience(&self) -> Duration {
        self.cluster.options().patience
    }

    /// One call, from what is durable to the message's end.
    async fn attempt(&mut self, token: Bytes, target: &Target) -> Result<u64, Status> {
        self.window.rewind();
        let (chunks, body) = Body::channel();
        let context = context(token, self.deadline, &traces::current());
        let call = request::Call::Upload(mailstore::Upload {
            id: Bytes::copy_from_slice(&self.id),
            from: self.window.start,
            acknowledge: true,
        });
        let mut link = Link {
            replies: start(target, context, 0, call, None, Some(body)),
            chunks: Some(chunks),
        };
        let outcome = self.converse(&mut link, target).await;
        link.abandon().await;
        outcome
    }

    async fn converse(&mut self, link: &mut Link, target: &Target) -> Result<u64, Status> {
        let Link { replies, chunks } = link;
        let mut was_heard = false;
        // Since when the shard owes an answer, or takes nothing.
        let mut waiting_since: Option<Instant> = None;
        loop {
            if self.window.is_all_sent() {
                // The body's end.
                *chunks = None;
            }
            if was_heard && !self.window.waits() {
                waiting_since = None;
            } else if waiting_since.is_none() {
                waiting_since = Some(Instant::now());
                if was_heard {
                    self.progress = Instant::now();
                }
            }
            let patience_ends = self.progress + self.patience();
            let silence_ends = match waiting_since {
                Some(since) if target.has_rivals() => patience_ends.min(since + self.way.tour.silence()),
                _ => patience_ends,
            };
            tokio::select! {
                biased;
                reply = replies.next() => {
                    if was_heard && waiting_since.is_none() {
                        self.progress = Instant::now();
                    }
                    let uploaded = uploaded(reply)?;
                    self.cluster.leaders().found(&mut self.way, &target.node);
                    was_heard = true;
                    waiting_since = None;
                    self.progress = Instant::now();
                    if !uploaded.hash.is_empty() {
                        return self.whole(uploaded.size);
                    }
                    if !self.window.acknowledge(uploaded.size) {
                        return Err(Status::internal("the mailstore acknowledged more than was sent"));
                    }
                }
                () = send(chunks.as_ref(), self.window.unsent()), if is_open(chunks.as_ref()) => self.window.is_sent(),
                piece = self.pieces.recv(), if self.window.has_room() => match piece {
                    Some(Piece::More(bytes)) => self.window.push(bytes),
                    Some(Piece::End) => self.window.ended = true,
                    None => return Err(cancelled()),
                },
                () = sleep_until(silence_ends.into()), if waiting_since.is_some() => {
                    self.way.tour.was_silent();
                    return Err(Status::unavailable(format!("{} takes no more of the upload", target.node)));
                }
            }
        }
    }

    /// The mailstore has it whole.
    fn whole(&self, size: u64) -> Result<u64, Status> {
        if self.window.is_all_sent() && size == self.window.end() {
            Ok(size)
        } else {
            Err(Status::internal(
                "the mailstore confirmed something else than was uploaded",
            ))
        }
    }
}

fn uploaded(reply: Option<Result<Reply, Status>>) -> Result<Uploaded, Status> {
    match reply {
        Some(Ok(Reply {
            call: Some(reply::Call::Uploaded(uploaded)),
        })) => Ok(uploaded),
        Some(Err(status)) => Err(status),
        _ => Err(Status::internal(
            "the mailstore answered an upload with something else",
        )),
    }
}

/// Where the chunks of a call's body go.
type ChunkSender = mpsc::Sender<Result<Bytes, Status>>;

/// One call under way.
struct Link {
    replies: Replies<MailstoreProtocol>,
    /// Gone once all was sent.
    chunks: Option<ChunkSender>,
}

/// Whether the call still takes chunks. One that has ended does not, and its replies say why.
fn is_open(chunks: Option<&ChunkSender>) -> bool {
    chunks.is_some_and(|chunks| !chunks.is_closed())
}

/// Sends the next piece, if there is one. Cancel-safe: what was not waited for was not sent.
async fn send(chunks: Option<&ChunkSender>, piece: Option<&Bytes>) {
    if let (Some(chunks), Some(piece)) = (chunks, piece)
        && let Ok(place) = chunks.reserve().await
    {
        place.send(Ok(piece.clone()));
        return;
    }
    // Nothing to send, or nobody who takes it: then the replies end as well.
    std::future::pending().await
}

impl Link {
    /// Gives the call up. The body must not seem to have come to its end: it is open for as long as anybody reads it.
    async fn abandon(self) {
        let Self { replies, chunks } = self;
        drop(replies);
        if let Some(chunks) = chunks {
            chunks.closed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = ACKNOWLEDGED_EACH_BYTES;

    fn window(pieces: &[u64]) -> Window {
        let mut window = Window::default();
        for size in pieces {
            window.push(vec![7; *size as usize].into());
        }
        window
    }

    fn send_all(window: &mut Window) -> u64 {
        let mut sent = 0;
        while let Some(piece) = window.unsent() {
            sent += piece.len() as u64;
            window.is_sent();
        }
        sent
    }

    #[test]
    fn what_is_durable_goes_and_the_rest_is_sent_again() {
        // No piece ends where a chunk does.
        let mut window = window(&[CHUNK - 10, 30, CHUNK, 5]);
        assert_eq!(send_all(&mut window), 2 * CHUNK + 25);
        assert!(window.acknowledge(CHUNK));
        assert_eq!((window.start, window.bytes, window.sent), (CHUNK, CHUNK + 25, 3));
        assert!(window.waits());
        window.rewind();
        assert_eq!(window.unsent().map(Bytes::len), Some(20));
        assert_eq!(send_all(&mut window), CHUNK + 25);
        assert!(window.acknowledge(2 * CHUNK) && !window.waits());
        window.ended = true;
        assert!(window.waits() && window.is_all_sent());
        assert_eq!(window.end(), 2 * CHUNK + 25);
    }

    #[test]
    fn nobody_acknowledges_what_was_not_sent() {
        let mut window = window(&[CHUNK]);
        assert!(!window.acknowledge(CHUNK));
        window.is_sent();
        assert!(!window.acknowledge(CHUNK + 1));
        assert!(
            window.acknowledge(CHUNK) && window.acknowledge(CHUNK),
            "twice is once"
        );
        assert_eq!((window.bytes, window.sent, window.sent_bytes), (0, 0, 0));
    }

    #[test]
    fn it_holds_so_much() {
        let mut window = window(&[WINDOW_BYTES_MAX - 1]);
        assert!(window.has_room());
        window.push(Bytes::from_static(b"x"));
        assert!(!window.has_room());
        send_all(&mut window);
        assert!(window.acknowledge(CHUNK) && window.has_room());
    }
}
