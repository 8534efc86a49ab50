//! A mailstore that keeps what it gets in memory, and fails when told to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rookery_proto::mailstore::v1::{
    Deliver, Delivered, DeliveryOutcome, Done, HandOff, HandOffRow, HandOffs, NewBody, Reply, ShardEvent,
    Upload, Uploaded, new_body, reply, request,
};
use rookery_proto::{Incoming, MailstoreProtocol, Reason, ReplySink, Service, Status};
use tokio::sync::Notify;

/// Bytes of an upload that become durable together.
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes of a body in one reply to a lease.
const PIECE_BYTES: usize = 300_000;

/// A message of an account.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    pub(super) account: u64,
    pub(super) sender: String,
    pub(super) prefix: String,
    pub(super) body: Vec<u8>,
}

#[derive(Default)]
pub(super) struct State {
    /// Every call fails as if nobody were there.
    pub(super) down: bool,
    /// So many deliveries are stored, but their answers are lost.
    pub(super) lost_answers: u32,
    /// Dies once an upload has brought so many bytes.
    pub(super) dies_in_upload_at: Option<usize>,
    /// Takes no chunk of any upload.
    pub(super) stuck: bool,
    pub(super) over_quota: HashSet<u64>,
    pub(super) no_hand_offs: bool,
    pub(super) mails: Vec<Mail>,
    pub(super) rows: Vec<HandOffRow>,
    pub(super) deliver_calls: u32,
    pub(super) uploads: HashMap<(Bytes, Bytes), Vec<u8>>,
    /// What is stored, in whole chunks, of uploads that are not whole.
    parts: HashMap<(Bytes, Bytes), Vec<u8>>,
    /// Where the calls of uploads began.
    pub(super) uploads_from: Vec<u64>,
    outcomes: HashSet<(Bytes, u64)>,
    pub(super) leased: HashSet<Bytes>,
    /// After so many pieces of rows the stream of a lease breaks.
    pub(super) lease_breaks_after: Option<usize>,
}

/// One node with one shard.
pub(super) struct Store {
    pub(super) shard: u32,
    pub(super) state: Mutex<State>,
    /// Told whenever something was stored or a row went.
    pub(super) changed: Notify,
    /// What the client has written so far, for looking at how far it is ahead of an upload.
    pub(super) written: AtomicUsize,
    pub(super) ahead_max: AtomicUsize,
}

impl Store {
    pub(super) fn new(shard: u32) -> Arc<Self> {
        Arc::new(Self {
            shard,
            state: Mutex::default(),
            changed: Notify::new(),
            written: AtomicUsize::new(0),
            ahead_max: AtomicUsize::new(0),
        })
    }

    pub(super) fn mails(&self) -> Vec<Mail> {
        self.state.lock().mails.clone()
    }

    /// The account that a token names; one of another shard is refused.
    fn account(&self, token: &Bytes) -> Result<u64, Status> {
        let text = std::str::from_utf8(token).unwrap_or_default();
        let account: Option<u64> = text
            .strip_prefix("deliver-")
            .and_then(|number| number.parse().ok());
        match account {
            Some(account) if account % 3 == u64::from(self.shard) => Ok(account),
            _ => Err(Status::new(
                Reason::PermissionDenied,
                format!("not a token for this shard: {text:?}"),
            )),
        }
    }

    fn body(&self, state: &State, token: &Bytes, body: Option<NewBody>) -> Result<Vec<u8>, Status> {
        match body.and_then(|body| body.source) {
            Some(new_body::Source::Inline(bytes)) if bytes.len() <= 256 * 1024 => Ok(bytes.to_vec()),
            Some(new_body::Source::Upload(id)) => {
                let upload = state.uploads.get(&(token.clone(), id));
                upload
                    .cloned()
                    .ok_or_else(|| Status::new(Reason::FailedPrecondition, "no such upload"))
            }
            _ => Err(Status::invalid("no body, or too large a one")),
        }
    }

    fn deliver(&self, token: &Bytes, deliver: Deliver) -> Result<reply::Call, Status> {
        self.account(token)?;
        let mut state = self.state.lock();
        state.deliver_calls += 1;
        let body = self.body(&state, token, deliver.body)?;
        let mut outcomes = Vec::new();
        for recipient in deliver.recipients {
            let account = self.account(&recipient.token)?;
            let mut outcome = DeliveryOutcome {
                account,
                ..Default::default()
            };
            if state.over_quota.contains(&account) {
                outcome.error = Some(Status::new(Reason::OverQuota, "full").into());
            } else if state.outcomes.insert((deliver.transaction.clone(), account)) {
                state.mails.push(Mail {
                    account,
                    sender: deliver.sender.clone(),
                    prefix: String::from_utf8(recipient.prefix.to_vec()).unwrap(),
                    body: body.clone(),
                });
            }
            outcomes.push(outcome);
        }
        self.changed.notify_waiters();
        if state.lost_answers > 0 {
            state.lost_answers -= 1;
            return Err(Status::unavailable("the answer was lost"));
        }
        Ok(reply::Call::Delivered(Delivered { outcomes }))
    }

    fn hand_off(&self, token: &Bytes, hand_off: HandOff) -> Result<reply::Call, Status> {
        self.account(token)?;
        let mut state = self.state.lock();
        if state.no_hand_offs {
            return Err(Status::new(Reason::LimitExceeded, "no room"));
        }
        let delivery = hand_off.delivery.unwrap();
        let body = self.body(&state, token, delivery.body)?;
        for recipient in hand_off.recipients {
            let row = HandOffRow {
                id: [&delivery.transaction[..], &recipient.account.to_be_bytes()[..]]
                    .concat()
                    .into(),
                transaction: delivery.transaction.clone(),
                sender: delivery.sender.clone(),
                recipient: Some(recipient),
                body: body.clone().into(),
                issued_at_millis: delivery.issued_at_millis,
                attempts: 0,
            };
            state.rows.retain(|known| known.id != row.id);
            state.rows.push(row);
        }
        Ok(reply::Call::Done(Done::default()))
    }

    /// All rows that are not leased yet, and after how many pieces of them the stream breaks.
    fn lease(&self) -> (Vec<HandOffRow>, Option<usize>) {
        let mut state = self.state.lock();
        let due = state.rows.iter().filter(|row| !state.leased.contains(&row.id));
        let rows: Vec<_> = due.cloned().collect();
        state.leased.extend(rows.iter().map(|row| row.id.clone()));
        (rows, state.lease_breaks_after)
    }

    async fn upload(
        &self,
        upload: Upload,
        mut call: Incoming<MailstoreProtocol>,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<reply::Call, Status> {
        self.account(&call.context.token)?;
        if self.state.lock().stuck {
            std::future::pending::<()>().await;
        }
        let key = (call.context.token.clone(), upload.id);
        let mut bytes = {
            let mut state = self.state.lock();
            state.uploads_from.push(upload.from);
            let mut part = state.parts.remove(&key).unwrap_or_default();
            assert!(part.len() as u64 >= upload.from, "it goes on behind what is here");
            part.truncate(upload.from as usize);
            part
        };
        let told = |size: usize, hash: &'static [u8]| {
            let hash = Bytes::from_static(hash);
            reply::Call::Uploaded(Uploaded {
                size: size as u64,
                hash,
            })
        };
        let mut stored = bytes.len();
        replies
            .send(Reply {
                call: Some(told(stored, b"")),
            })
            .await?;
        let body = call.body.as_mut().unwrap();
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(&chunk);
            // A slow disk: whoever is faster gets ahead as far as it can.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            let ahead = self.written.load(Ordering::SeqCst).saturating_sub(bytes.len());
            self.ahead_max.fetch_max(ahead, Ordering::SeqCst);
            let dies = {
                let mut state = self.state.lock();
                state.parts.insert(
                    key.clone(),
                    bytes[..bytes.len() / CHUNK_BYTES * CHUNK_BYTES].to_vec(),
                );
                let dies = state.dies_in_upload_at.take_if(|at| bytes.len() >= *at).is_some();
                state.down |= dies;
                dies
            };
            self.changed.notify_waiters();
            if dies {
                return Err(Status::unavailable("the connection was cut"));
            }
            if bytes.len() - stored >= CHUNK_BYTES {
                stored = bytes.len() / CHUNK_BYTES * CHUNK_BYTES;
                replies
                    .send(Reply {
                        call: Some(told(stored, b"")),
                    })
                    .await?;
            }
        }
        let whole = told(bytes.len(), b"hash");
        self.state.lock().uploads.insert(key, bytes);
        Ok(whole)
    }
}

/// A row once for each piece of its body.
fn pieces(row: &HandOffRow) -> Vec<HandOffRow> {
    let count = row.body.len().div_ceil(PIECE_BYTES).max(1);
    let piece = |number: usize| {
        let from = number * PIECE_BYTES;
        HandOffRow {
            body: row.body.slice(from..row.body.len().min(from + PIECE_BYTES)),
            ..row.clone()
        }
    };
    (0..count).map(piece).collect()
}

impl Service<MailstoreProtocol> for Store {
    fn serve(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            if self.state.lock().down {
                return Err(Status::unavailable("nobody is there"));
            }
            let token = call.context.token.clone();
            let reply = match call.request.call.clone().unwrap() {
                request::Call::Deliver(deliver) => self.deliver(&token, deliver)?,
                request::Call::HandOff(hand_off) => self.hand_off(&token, hand_off)?,
                request::Call::Upload(upload) => self.upload(upload, call, &replies).await?,
                request::Call::LeaseHandOffs(_) => {
                    let (rows, breaks_after) = self.lease();
                    for (number, row) in rows.iter().flat_map(pieces).enumerate() {
                        if breaks_after == Some(number) {
                            return Err(Status::unavailable("the stream broke"));
                        }
                        let call = Some(reply::Call::HandOffs(HandOffs { rows: vec![row] }));
                        replies.send(Reply { call }).await?;
                    }
                    return Ok(());
                }
                request::Call::CompleteHandOff(complete) => {
                    self.state
                        .lock()
                        .rows
                        .retain(|row| !complete.ids.contains(&row.id));
                    self.changed.notify_waiters();
                    reply::Call::Done(Done::default())
                }
                request::Call::Watch(_) => {
                    let event = ShardEvent {
                        overflow: true,
                        ..Default::default()
                    };
                    replies
                        .send(Reply {
                            call: Some(reply::Call::ShardEvent(event)),
                        })
                        .await?;
                    std::future::pending().await
                }
                other => return Err(Status::invalid(format!("not for this test: {other:?}"))),
            };
            replies.send(Reply { call: Some(reply) }).await
        })
    }
}
