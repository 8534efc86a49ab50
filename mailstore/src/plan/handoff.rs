//! Hand-offs: kept for recipients of other shards, leased by proxies, completed when delivered.

use bytes::Bytes;
use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as proto, HandOffRow, reply};
use rookery_replication::{Batch, Column, View};

use super::bodies::{BodyAdder, Releaser};
use super::{HandOff, Plan, PlanContext, done, limit_exceeded};
use crate::schema::keys::Kind;
use crate::schema::{AccountId, HandOffRecord, ModSeq, Reader, Value, keys};

/// Recipients of one hand-off.
const RECIPIENTS_MAX: usize = 1000;

/// Rows of one lease.
const LEASE_ROWS_MAX: u32 = 100;

/// Bytes of the bodies of one lease; the first row always goes, however large. What does not fit stays due, so that
/// another proxy, or the next lease, takes it at once.
const LEASE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How often a row's time is doubled at most.
const DOUBLINGS_MAX: u32 = 16;

/// After which time a row is due again at the latest, however often it was tried, unless it was leased for longer.
const PAUSE_MILLIS_MAX: u64 = 60 * 60 * 1000;

pub(super) fn keep(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &HandOff,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, account);
    if command.recipients.len() > RECIPIENTS_MAX {
        return Err(limit_exceeded(format!(
            "a hand-off has at most {RECIPIENTS_MAX} recipients"
        )));
    }
    let mut batch = Batch::new();
    let mut bodies = BodyAdder::default();
    let mut ids: Vec<[u8; 16]> = Vec::new();
    for recipient in &command.recipients {
        let record = HandOffRecord {
            transaction: command.transaction,
            sender: command.sender.clone(),
            address: recipient.address.clone(),
            prefix: recipient.prefix.clone(),
            account: AccountId(recipient.account),
            body: command.body.hash,
            issued_at_millis: command.issued_at_millis,
            due_millis: context.now_millis,
            attempts: 0,
        };
        let id = record.id();
        if ids.contains(&id) || reader.hand_off(&id)?.is_some() {
            continue;
        }
        ids.push(id);
        bodies.add(&reader, &mut batch, &command.body)?;
        put(&mut batch, context, &id, &record);
    }
    Ok(Plan::new(batch, done(ModSeq(0))))
}

pub(super) fn lease(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::LeaseHandOffs,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, AccountId(0));
    let limit = command.limit.min(LEASE_ROWS_MAX) as usize;
    let mut due: Vec<(u64, [u8; 16])> = Vec::new();
    let (from, to) = keys::due(context.shard, Kind::HandOffDue, context.now_millis);
    let scanned = view.scan(Column::Rows, &from, &to, &mut |key, _| {
        due.extend(keys::due_millis(key).zip(keys::hand_off_of_due(key)));
        due.len() < limit
    });
    scanned.map_err(crate::schema::unread)?;
    due.truncate(limit);
    let mut batch = Batch::new();
    let mut rows = Vec::with_capacity(due.len());
    let mut bytes = 0u64;
    for (due_millis, id) in due {
        let Some(mut record) = reader.hand_off(&id)? else {
            batch.delete(Column::Rows, keys::hand_off_due(context.shard, due_millis, &id));
            continue;
        };
        bytes = bytes.saturating_add(record.body.size);
        if !rows.is_empty() && bytes > LEASE_BYTES_MAX {
            break;
        }
        batch.delete(Column::Rows, keys::hand_off_due(context.shard, due_millis, &id));
        record.due_millis = context
            .now_millis
            .saturating_add(pause_millis(command.lease_millis, record.attempts));
        record.attempts = record.attempts.saturating_add(1);
        put(&mut batch, context, &id, &record);
        rows.push(HandOffRow {
            id: Bytes::copy_from_slice(&id),
            transaction: Bytes::copy_from_slice(&record.transaction),
            sender: record.sender,
            recipient: Some(proto::HandOffRecipient {
                address: record.address,
                prefix: record.prefix,
                account: record.account.0,
            }),
            body: Bytes::new(),
            issued_at_millis: record.issued_at_millis,
            attempts: record.attempts,
        });
    }
    Ok(Plan::new(batch, reply::Call::HandOffs(proto::HandOffs { rows })))
}

/// How long a row is left to the proxy that leases it, and kept from others: the lease, doubled for each time that it was
/// in vain. So a row that cannot be delivered for long (its account is full, or suspended) falls behind those that can.
fn pause_millis(lease_millis: u32, attempts: u32) -> u64 {
    let lease = u64::from(lease_millis.max(1));
    let doubled = lease << attempts.min(DOUBLINGS_MAX);
    doubled.min(PAUSE_MILLIS_MAX.max(lease))
}

pub(super) fn complete(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::CompleteHandOff,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, AccountId(0));
    if command.ids.len() > RECIPIENTS_MAX {
        return Err(limit_exceeded(format!(
            "at most {RECIPIENTS_MAX} hand-offs are completed together"
        )));
    }
    let mut ids = Vec::with_capacity(command.ids.len());
    for id in &command.ids {
        let id: [u8; 16] = id
            .as_ref()
            .try_into()
            .map_err(|_| Status::invalid("a hand-off's id is 16 bytes"))?;
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    let mut batch = Batch::new();
    let mut releaser = Releaser::new(reader);
    for id in ids {
        let Some(record) = reader.hand_off(&id)? else {
            continue;
        };
        batch.delete(
            Column::Rows,
            keys::hand_off_due(context.shard, record.due_millis, &id),
        );
        batch.delete(Column::Rows, keys::hand_off(context.shard, &id));
        releaser.release_body(&mut batch, &record.body)?;
    }
    releaser.finish(&mut batch);
    Ok(Plan::new(batch, done(ModSeq(0))))
}

fn put(batch: &mut Batch, context: &PlanContext, id: &[u8; 16], record: &HandOffRecord) {
    batch.put(Column::Rows, keys::hand_off(context.shard, id), record.encode());
    batch.put(
        Column::Rows,
        keys::hand_off_due(context.shard, record.due_millis, id),
        Bytes::new(),
    );
}

#[cfg(test)]
mod tests {
    use rookery_replication::MemoryStore;

    use super::super::{BodySource, PlanLimits, PreparedBody};
    use super::*;
    use crate::schema::body::{BODY_CHUNK_BYTES, encode_chunk};
    use crate::schema::{BodyHash, ShardId};

    const LEASE_MILLIS: u32 = 1000;

    struct Rig {
        store: MemoryStore,
        context: PlanContext,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                store: MemoryStore::new(),
                context: PlanContext {
                    shard: ShardId(1),
                    now_millis: 10_000_000,
                    limits: PlanLimits::default(),
                    disk_nearly_full: false,
                },
            }
        }

        /// Keeps a body of so many bytes for an address.
        fn keep(&mut self, address: &str, size: usize) {
            let text = vec![b'x'; size];
            let chunks = text.chunks(BODY_CHUNK_BYTES).map(encode_chunk).collect();
            let hand_off = HandOff {
                transaction: [1; 16],
                issued_at_millis: self.context.now_millis,
                sender: String::new(),
                body: PreparedBody {
                    hash: BodyHash::of(&text),
                    source: BodySource::Chunks(chunks),
                    analysis: Bytes::new(),
                    header_len: 0,
                },
                recipients: vec![proto::HandOffRecipient {
                    address: address.into(),
                    ..Default::default()
                }],
            };
            let plan = keep(&self.store, &self.context, AccountId(9), &hand_off).expect("keeps");
            self.store.apply(&plan.batch);
        }

        /// The addresses that are leased now.
        fn lease(&mut self) -> Vec<String> {
            let command = proto::LeaseHandOffs {
                shard: 1,
                limit: 10,
                lease_millis: LEASE_MILLIS,
            };
            let plan = lease(&self.store, &self.context, &command).expect("leases");
            self.store.apply(&plan.batch);
            let Some(reply::Call::HandOffs(leased)) = plan.reply.call else {
                panic!("{:?}", plan.reply)
            };
            let addresses = leased.rows.into_iter().map(|row| row.recipient.unwrap().address);
            addresses.collect()
        }

        fn pass(&mut self, millis: u64) {
            self.context.now_millis += millis;
        }
    }

    #[test]
    fn what_does_not_fit_beside_a_large_row_stays_due() {
        let mut rig = Rig::new();
        rig.keep("large", LEASE_BYTES_MAX as usize + 1);
        rig.pass(1);
        rig.keep("small", 10);
        rig.pass(1);
        rig.keep("smaller", 9);
        assert_eq!(rig.lease(), ["large"]);
        assert_eq!(rig.lease(), ["small", "smaller"]);
        assert!(rig.lease().is_empty());
    }

    #[test]
    fn a_row_that_stays_falls_behind() {
        let mut rig = Rig::new();
        rig.keep("stuck", 10);
        for pause in [1000, 2000, 4000] {
            assert_eq!(rig.lease(), ["stuck"]);
            rig.pass(pause - 1);
            assert!(rig.lease().is_empty(), "not yet {pause}");
            rig.pass(1);
        }
        assert_eq!(pause_millis(30_000, 6), 1_920_000);
        assert_eq!(pause_millis(30_000, u32::MAX), PAUSE_MILLIS_MAX);
        assert_eq!(pause_millis(u32::MAX, u32::MAX), u64::from(u32::MAX));
    }
}
