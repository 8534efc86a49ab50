//! Planners: pure functions from what is stored and a command to a batch, a reply and events.
//!
//! A planner reads through a [`View`] that shows what is in flight, and fixes every byte that will be written: UIDs,
//! modseqs and times are in the batch, so that whoever applies it holds the same. It never waits, never reads a clock,
//! never touches message bytes: those come hashed, analysed and compressed as a [`PreparedBody`].

mod account;
mod append;
mod arriving;
mod bodies;
mod collect;
mod copy;
mod deliver;
mod edit;
mod expire;
mod expunge;
mod handoff;
mod hierarchy;
mod import;
mod key;
mod moving;
mod names;
mod recent;
mod store;
mod upload;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use rookery_proto::mailstore::v1::{self as proto, MailboxEvent, Reply, reply};
use rookery_proto::rows::Row;
use rookery_proto::{Reason, Status};
use rookery_replication::{Batch, View};

pub use self::bodies::{BodySource, PreparedBody};
pub use self::names::canonical_name;
pub use self::recent::RecentClaim;
use crate::schema::reply::REPLY_BYTES_MAX;
use crate::schema::{AccountId, BodyHash, InternalDate, ModSeq, ShardId, UploadId};

/// What a planner knows besides the command.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext {
    /// The shard.
    pub shard: ShardId,
    /// The time that is written down, unix milliseconds.
    pub now_millis: u64,
    /// Bounds.
    pub limits: PlanLimits,
    /// Whether what makes the store grow is refused.
    pub disk_nearly_full: bool,
}

/// How long and how much a shard keeps.
#[derive(Debug, Clone, Copy)]
pub struct PlanLimits {
    /// How long a reply is kept for its idempotency key: ten times a proxy's patience.
    pub reply_kept_millis: u64,
    /// The largest reply that is kept, at most [`REPLY_BYTES_MAX`]; a plan with a larger one is refused.
    pub reply_bytes_max: usize,
    /// How long the outcome of a delivery is kept for its transaction.
    pub delivery_kept_millis: u64,
    /// How long a whole upload is kept for the plan that uses it: many times a proxy's patience.
    pub upload_kept_millis: u64,
    /// How long an upload is kept after its last chunk before it is whole: longer than a proxy takes to send the next,
    /// over a new connection too.
    pub upload_unfinished_kept_millis: u64,
    /// Bytes, in whole chunks, of an account's uploads that no plan has used yet; never less than the largest message.
    pub uploads_pending_bytes_max: u64,
    /// The largest message in bytes.
    pub message_bytes_max: u64,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self {
            reply_kept_millis: 300 * 1000,
            reply_bytes_max: REPLY_BYTES_MAX,
            delivery_kept_millis: 24 * 3600 * 1000,
            upload_kept_millis: 3600 * 1000,
            upload_unfinished_kept_millis: 15 * 60 * 1000,
            uploads_pending_bytes_max: 256 * 1024 * 1024,
            message_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// Messages of one append.
pub const APPEND_MESSAGES_MAX: usize = 1000;

/// A command for the shard's writer.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// The account that the call's token names; of no matter for commands of the shard.
    pub account: AccountId,
    /// The session's key.
    pub key: Option<MutationKey>,
    /// What to do.
    pub command: Command,
}

/// An idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MutationKey {
    /// 16 random bytes for each session.
    pub session: [u8; 16],
    /// Ascends within the session.
    pub number: u64,
    /// When it was first tried, unix milliseconds.
    pub issued_at_millis: u64,
}

impl MutationKey {
    /// From the wire.
    pub fn from_proto(key: &proto::IdempotencyKey) -> Result<Self, Status> {
        let session = key.session.as_ref().try_into();
        let session =
            session.map_err(|_| Status::invalid("the session of an idempotency key is 16 bytes"))?;
        Ok(Self {
            session,
            number: key.number,
            issued_at_millis: key.issued_at_millis,
        })
    }
}

/// What a shard's writer can do.
#[derive(Debug, Clone)]
pub enum Command {
    /// See [`proto::PutAccount`].
    PutAccount(proto::PutAccount),
    /// See [`proto::PurgeAccount`].
    PurgeAccount(proto::PurgeAccount),
    /// See [`proto::CreateMailbox`].
    CreateMailbox(proto::CreateMailbox),
    /// See [`proto::DeleteMailbox`].
    DeleteMailbox(proto::DeleteMailbox),
    /// See [`proto::RenameMailbox`].
    RenameMailbox(proto::RenameMailbox),
    /// See [`proto::SetSubscription`].
    SetSubscription(proto::SetSubscription),
    /// What sessions have taken of the shard's mailboxes.
    ClaimRecent(Vec<RecentClaim>),
    /// See [`proto::Store`].
    Store(proto::Store),
    /// See [`proto::Copy`].
    Copy(proto::Copy),
    /// See [`proto::Expunge`].
    Expunge(proto::Expunge),
    /// New messages for a mailbox.
    Append(Append),
    /// A message for recipients of this shard.
    Deliver(Deliver),
    /// Recipients of other shards.
    HandOff(HandOff),
    /// See [`proto::LeaseHandOffs`]. The rows are answered without their bodies.
    LeaseHandOffs(proto::LeaseHandOffs),
    /// See [`proto::CompleteHandOff`].
    CompleteHandOff(proto::CompleteHandOff),
    /// The next chunk of an upload.
    UploadChunk(UploadChunk),
    /// An upload is whole.
    FinishUpload(FinishUpload),
    /// Rows of a backup; see [`proto::ImportRows`].
    ImportRows(Vec<Row>),
    /// See [`proto::ImportAccount`].
    ImportAccount(proto::ImportAccount),
    /// See [`proto::LeaveAccount`].
    LeaveAccount(proto::LeaveAccount),
    /// See [`proto::FreezeAccount`].
    FreezeAccount(proto::FreezeAccount),
    /// See [`proto::DepartAccount`].
    DepartAccount(proto::DepartAccount),
    /// See [`proto::ReceiveAccount`].
    ReceiveAccount(proto::ReceiveAccount),
    /// See [`proto::TakeRows`].
    TakeRows(TakeRows),
    /// See [`proto::SettleAccount`].
    SettleAccount(proto::SettleAccount),
    /// Works off some garbage and removes some of what has expired.
    Collect,
    /// Panics, as no planner should.
    #[cfg(test)]
    Panic,
}

impl Command {
    /// Whether it brings what stays, unlike what removes, changes in place, or finishes what has begun.
    fn makes_store_grow(&self) -> bool {
        match self {
            Command::Append(_)
            | Command::Deliver(_)
            | Command::HandOff(_)
            | Command::UploadChunk(_)
            | Command::ImportRows(_)
            | Command::TakeRows(_)
            | Command::CreateMailbox(_) => true,
            // A move is how mail gets into the trash, and leaves nothing behind.
            Command::Copy(copy) => !copy.r#move,
            _ => false,
        }
    }

    /// Bytes that it keeps in memory, roughly.
    pub fn bytes(&self) -> usize {
        const SMALL: usize = 512;
        SMALL
            + match self {
                Command::Append(append) => append.messages.iter().map(|message| message.body.bytes()).sum(),
                Command::Deliver(deliver) => {
                    let prefixes = deliver
                        .recipients
                        .iter()
                        .flatten()
                        .map(|recipient| recipient.prefix.len());
                    deliver.body.bytes() + prefixes.sum::<usize>()
                }
                Command::HandOff(hand_off) => hand_off.body.bytes(),
                Command::UploadChunk(chunk) => chunk.stored.len(),
                Command::ImportRows(rows) => rows.iter().map(Row::frame_bytes).sum(),
                Command::TakeRows(taken) => taken.rows.iter().map(moved_row_bytes).sum(),
                Command::ClaimRecent(claims) => std::mem::size_of_val(claims.as_slice()),
                Command::Store(store) => store.uids.as_ref().map_or(0, |uids| uids.bounds.len() * 4),
                Command::Copy(copy) => copy.uids.as_ref().map_or(0, |uids| uids.bounds.len() * 4),
                Command::Expunge(expunge) => expunge.uids.as_ref().map_or(0, |uids| uids.bounds.len() * 4),
                _ => 0,
            }
    }
}

/// See [`proto::TakeRows`].
#[derive(Debug, Clone)]
pub struct TakeRows {
    /// Whose.
    pub account: AccountId,
    /// The move's.
    pub generation: u64,
    /// Which try of the move.
    pub attempt: u32,
    /// The rows.
    pub rows: Vec<proto::MovedRow>,
}

/// See [`proto::Append`].
#[derive(Debug, Clone)]
pub struct Append {
    /// Where to.
    pub mailbox: u32,
    /// At most [`APPEND_MESSAGES_MAX`].
    pub messages: Vec<AppendMessage>,
}

/// One message of an append.
#[derive(Debug, Clone)]
pub struct AppendMessage {
    /// Its bytes.
    pub body: PreparedBody,
    /// Its flags.
    pub flags: proto::Flags,
    /// `None`: now.
    pub internal_date: Option<InternalDate>,
}

/// See [`proto::Deliver`].
#[derive(Debug, Clone)]
pub struct Deliver {
    /// The SMTP transaction.
    pub transaction: [u8; 16],
    /// When it began, unix milliseconds.
    pub issued_at_millis: u64,
    /// What is delivered.
    pub body: PreparedBody,
    /// To whom, in the order of the request; an error is answered as it is.
    pub recipients: Vec<Result<DeliverRecipient, Status>>,
}

/// A recipient whose token was good.
#[derive(Debug, Clone)]
pub struct DeliverRecipient {
    /// Whose INBOX.
    pub account: AccountId,
    /// Header lines before the body's own.
    pub prefix: Bytes,
}

/// See [`proto::HandOff`].
#[derive(Debug, Clone)]
pub struct HandOff {
    /// The SMTP transaction.
    pub transaction: [u8; 16],
    /// When it began, unix milliseconds.
    pub issued_at_millis: u64,
    /// Reverse path.
    pub sender: String,
    /// What is to be delivered.
    pub body: PreparedBody,
    /// To whom.
    pub recipients: Vec<proto::HandOffRecipient>,
}

/// A chunk of an upload. Sending one again that is stored changes nothing.
#[derive(Debug, Clone)]
pub struct UploadChunk {
    /// The upload, of the mutation's account.
    pub upload: UploadId,
    /// Position, from 0.
    pub index: u32,
    /// Raw size: [`crate::schema::body::BODY_CHUNK_BYTES`] for all but the last.
    pub raw_len: usize,
    /// Its stored form, from [`crate::schema::body::encode_chunk`].
    pub stored: Bytes,
    /// Whether an upload is refused to an account that is over its quota. Not for deliveries: theirs serves all
    /// recipients of the shard, of whom each is checked by itself.
    pub within_quota: bool,
}

/// All chunks of an upload have been stored. Doing it again changes nothing.
#[derive(Debug, Clone)]
pub struct FinishUpload {
    /// The upload, of the mutation's account.
    pub upload: UploadId,
    /// The whole BLAKE3 hash, which is answered.
    pub blake3: [u8; 32],
    /// Names the bytes.
    pub hash: BodyHash,
}

/// What a command does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is written.
    pub batch: Batch,
    /// What is answered once that is durable.
    pub reply: Reply,
    /// What the change feed says then.
    pub events: Vec<MailboxEvent>,
    /// Whether [`Command::Collect`] has something to do afterwards.
    pub garbage: bool,
}

impl Plan {
    /// Nothing is written.
    fn unchanged(reply: reply::Call) -> Self {
        Self {
            batch: Batch::new(),
            reply: Reply { call: Some(reply) },
            events: Vec::new(),
            garbage: false,
        }
    }

    fn new(batch: Batch, reply: reply::Call) -> Self {
        Self {
            batch,
            ..Self::unchanged(reply)
        }
    }
}

fn moved_row_bytes(row: &proto::MovedRow) -> usize {
    row.key.len() + row.until.len() + row.value.as_ref().map_or(0, Bytes::len)
}

fn done(modseq: ModSeq) -> reply::Call {
    reply::Call::Done(proto::Done { modseq: modseq.0 })
}

/// Plans a command on what the view shows.
pub fn plan(view: &dyn View, context: &PlanContext, mutation: &Mutation) -> Result<Plan, Status> {
    let mut plan = plan_unnoted(view, context, mutation)?;
    moving::note(view, context, &mut plan)?;
    Ok(plan)
}

fn plan_unnoted(view: &dyn View, context: &PlanContext, mutation: &Mutation) -> Result<Plan, Status> {
    let account = mutation.account;
    let Some(key) = &mutation.key else {
        refuse_growth(context, &mutation.command)?;
        return dispatch(view, context, account, &mutation.command);
    };
    if let Some(reply) = key::kept_reply(view, context, account, key)? {
        return Ok(reply);
    }
    refuse_growth(context, &mutation.command)?;
    let mut plan = dispatch(view, context, account, &mutation.command)?;
    if !plan.batch.is_empty() {
        key::keep_reply(&mut plan, context, account, key)?;
    }
    Ok(plan)
}

/// A disk that is nearly full takes no new mail, so that what frees it can still be written.
fn refuse_growth(context: &PlanContext, command: &Command) -> Result<(), Status> {
    if context.disk_nearly_full && command.makes_store_grow() {
        return Err(Status::new(
            Reason::NoSpace,
            "the disk is nearly full: nothing new is stored until there is room again",
        ));
    }
    Ok(())
}

fn dispatch(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &Command,
) -> Result<Plan, Status> {
    match command {
        Command::PutAccount(command) => account::put(view, context, command),
        Command::PurgeAccount(command) => account::purge(view, context, command),
        Command::CreateMailbox(command) => hierarchy::create(view, context, account, command),
        Command::DeleteMailbox(command) => hierarchy::delete(view, context, account, command),
        Command::RenameMailbox(command) => hierarchy::rename(view, context, account, command),
        Command::SetSubscription(command) => hierarchy::subscribe(view, context, account, command),
        Command::ClaimRecent(claims) => recent::claim(view, context, claims),
        Command::Store(command) => store::store(view, context, account, command),
        Command::Copy(command) => copy::copy(view, context, account, command),
        Command::Expunge(command) => expunge::expunge(view, context, account, command),
        Command::Append(command) => append::append(view, context, account, command),
        Command::Deliver(command) => deliver::deliver(view, context, command),
        Command::HandOff(command) => handoff::keep(view, context, account, command),
        Command::LeaseHandOffs(command) => handoff::lease(view, context, command),
        Command::CompleteHandOff(command) => handoff::complete(view, context, command),
        Command::UploadChunk(command) => upload::chunk(view, context, account, command),
        Command::FinishUpload(command) => upload::finish(view, context, account, command),
        Command::ImportRows(rows) => import::rows(view, context, rows),
        Command::ImportAccount(command) => import::account(view, context, command),
        Command::LeaveAccount(command) => moving::leave(view, context, command),
        Command::FreezeAccount(command) => moving::freeze(view, context, command),
        Command::DepartAccount(command) => moving::depart(view, context, command),
        Command::ReceiveAccount(command) => moving::receive(view, context, command),
        Command::TakeRows(command) => moving::take(view, context, command),
        Command::SettleAccount(command) => moving::settle(view, context, command),
        Command::Collect => collect_and_expire(view, context),
        #[cfg(test)]
        Command::Panic => panic!("as told"),
    }
}

/// Neither of the two waits for the other's trouble.
fn collect_and_expire(view: &dyn View, context: &PlanContext) -> Result<Plan, Status> {
    let collected = collect::collect(view, context);
    let expired = expire::expire(view, context);
    match (collected, expired) {
        (Ok(mut plan), Ok(expired)) => {
            plan.batch.append(expired.batch);
            plan.garbage |= expired.garbage;
            Ok(plan)
        }
        (Ok(plan), Err(status)) | (Err(status), Ok(plan)) if !plan.batch.is_empty() => {
            collect::tell_damage("garbage, or what has expired", AccountId(0), &status);
            Ok(plan)
        }
        (_, Err(status)) | (Err(status), _) => Err(status),
    }
}

fn limit_exceeded(message: impl Into<String>) -> Status {
    Status::new(Reason::LimitExceeded, message)
}

fn uid_set(set: Option<&proto::UidSet>) -> Result<crate::schema::UidRanges, Status> {
    let Some(set) = set else {
        return Ok(crate::schema::UidRanges::new());
    };
    crate::schema::UidRanges::from_proto(set)
        .ok_or_else(|| Status::invalid("a set of UIDs is not ascending ranges"))
}
