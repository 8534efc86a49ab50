//! References to messages and bodies: what is new is stored, what is known is counted, what falls to 0 is removed.
//!
//! A counter holds the references beyond the first; none stored means 0. So a message that is delivered once and never
//! copied has no counter at all.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use rookery_proto::{Reason, Status};
use rookery_replication::{Batch, Column};

use crate::schema::body::{FinishedUpload, chunk_count};
use crate::schema::read::ReadError;
use crate::schema::{AccountId, BodyHash, BodyLocation, BodyRecord, Reader, UploadId, Value, keys};

/// A message's bytes, made ready outside of the writer.
#[derive(Debug, Clone)]
pub struct PreparedBody {
    /// Names the raw bytes; holds their size.
    pub hash: BodyHash,
    /// Where the bytes are.
    pub source: BodySource,
    /// What was found in them; empty when they could not be understood.
    pub analysis: Bytes,
    /// Length of the header with the empty line.
    pub header_len: u64,
}

/// Where the bytes of a new body are.
#[derive(Debug, Clone)]
pub enum BodySource {
    /// Here: the stored form of each chunk, from [`crate::schema::body::encode_chunk`].
    Chunks(Vec<Bytes>),
    /// In a finished upload of this account.
    Upload(AccountId, UploadId),
    /// In an upload that is not finished or not there any more. A plan that was made with it before is answered as it was, and an account
    /// that went to another shard, and its uploads with it, is said to be there; nothing new can be stored.
    Gone,
}

impl PreparedBody {
    /// What is left to say of an upload that is not there.
    pub fn gone() -> Self {
        Self {
            hash: BodyHash::default(),
            source: BodySource::Gone,
            analysis: Bytes::new(),
            header_len: 0,
        }
    }

    /// FAILED_PRECONDITION when its bytes are nowhere.
    pub(super) fn refuse_gone(&self) -> Result<(), Status> {
        match self.source {
            BodySource::Gone => Err(Status::new(
                Reason::FailedPrecondition,
                "the upload is not finished, or has expired: send it again",
            )),
            BodySource::Chunks(_) | BodySource::Upload(..) => Ok(()),
        }
    }

    /// Bytes that it keeps in memory.
    pub fn bytes(&self) -> usize {
        let chunks = match &self.source {
            BodySource::Chunks(chunks) => chunks.iter().map(Bytes::len).sum(),
            BodySource::Upload(..) | BodySource::Gone => 0,
        };
        chunks + self.analysis.len()
    }
}

/// Adds references to bodies within one plan.
#[derive(Default, Clone)]
pub(super) struct BodyAdder {
    /// Those of which a further reference is only to be counted, and where their bytes are.
    there: HashMap<BodyHash, BodyLocation>,
    /// Uploads whose bytes are there already.
    emptied: HashSet<(AccountId, UploadId)>,
    /// What was read of a body before.
    read: Option<(BodyHash, Option<BodyRecord>)>,
}

impl BodyAdder {
    /// Where the record of one body has been read already, before the plan.
    pub(super) fn having_read(hash: BodyHash, record: Option<BodyRecord>) -> Self {
        Self {
            read: Some((hash, record)),
            ..Self::default()
        }
    }

    /// Adds one reference; stores the body when it is new.
    pub(super) fn add(
        &mut self,
        reader: &Reader<'_>,
        batch: &mut Batch,
        body: &PreparedBody,
    ) -> Result<(), Status> {
        body.refuse_gone()?;
        let key = keys::body(reader.shard, &body.hash);
        let known = match (self.there.get(&body.hash), &self.read) {
            (Some(location), _) => Some(*location),
            (None, Some((hash, record))) if *hash == body.hash => record.map(|record| record.location),
            _ => reader.body(&body.hash)?.map(|record| record.location),
        };
        if let Some(location) = known {
            batch.add(key, 1);
            if let BodySource::Upload(account, upload) = &body.source
                && location != BodyLocation::Upload(*account, *upload)
                && self.emptied.insert((*account, *upload))
            {
                empty_upload(reader, batch, *account, *upload, &body.hash)?;
            }
            self.there.insert(body.hash, location);
            return Ok(());
        }
        let location = match &body.source {
            BodySource::Chunks(chunks) => {
                if chunks.len() as u64 != chunk_count(body.hash.size) {
                    return Err(Status::internal(
                        "a prepared body has another number of chunks than its size says",
                    ));
                }
                for (index, chunk) in (0u32..).zip(chunks) {
                    batch.put(
                        Column::Bodies,
                        keys::body_chunk(reader.shard, &body.hash, index),
                        chunk.clone(),
                    );
                }
                BodyLocation::Own
            }
            BodySource::Upload(account, upload) => {
                use_upload(reader, batch, *account, *upload, &body.hash)?;
                BodyLocation::Upload(*account, *upload)
            }
            BodySource::Gone => return body.refuse_gone(),
        };
        batch.put(Column::Rows, key, BodyRecord { location }.encode());
        self.there.insert(body.hash, location);
        Ok(())
    }
}

/// Ties an upload's chunks to the body that refers to them from now on.
fn use_upload(
    reader: &Reader<'_>,
    batch: &mut Batch,
    account: AccountId,
    upload: UploadId,
    hash: &BodyHash,
) -> Result<(), Status> {
    let owner = Reader { account, ..*reader };
    let fits = owner.upload(upload)?.filter(|record| {
        record
            .finished
            .is_some_and(|finished| finished.hash == *hash && !finished.used)
            && u64::from(record.chunks) == chunk_count(hash.size)
    });
    let Some(mut record) = fits else {
        return Err(Status::new(
            Reason::FailedPrecondition,
            "the upload is not finished, or has expired: send it again",
        ));
    };
    batch.delete(
        Column::Rows,
        keys::upload_expiry(reader.shard, record.expires_millis, account, upload),
    );
    batch.add(
        keys::uploads_pending(reader.shard, account),
        -i64::from(record.chunks),
    );
    record.finished = Some(FinishedUpload {
        hash: *hash,
        used: true,
    });
    batch.put(
        Column::Rows,
        keys::upload(reader.shard, account, upload),
        record.encode(),
    );
    Ok(())
}

/// Gives up the chunks of an upload whose body the shard already had. Its record stays for a retry, until it expires.
fn empty_upload(
    reader: &Reader<'_>,
    batch: &mut Batch,
    account: AccountId,
    upload: UploadId,
    hash: &BodyHash,
) -> Result<(), Status> {
    let owner = Reader { account, ..*reader };
    let Some(mut record) = owner.upload(upload)? else {
        return Ok(());
    };
    if record
        .finished
        .is_none_or(|finished| finished.hash != *hash || finished.used)
    {
        return Ok(());
    }
    batch.add(
        keys::uploads_pending(reader.shard, account),
        -i64::from(record.chunks),
    );
    (record.chunks, record.size) = (0, 0);
    let (from, to) = keys::upload_chunks(reader.shard, account, upload);
    batch.delete_range(Column::Bodies, from, to);
    batch.put(
        Column::Rows,
        keys::upload(reader.shard, account, upload),
        record.encode(),
    );
    Ok(())
}

/// Drops references within one plan, in which the same thing may lose several.
pub(super) struct Releaser<'a> {
    reader: Reader<'a>,
    /// By counter key: what is stored, and how many references were dropped.
    counts: BTreeMap<Bytes, Count>,
}

struct Count {
    stored: i64,
    dropped: i64,
}

impl<'a> Releaser<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self {
            reader,
            counts: BTreeMap::new(),
        }
    }

    /// Drops one reference to what the key counts; true when it was the last.
    pub(super) fn release(&mut self, key: Bytes) -> Result<bool, ReadError> {
        let count = match self.counts.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let stored = self.reader.counter(new.key())?;
                new.insert(Count { stored, dropped: 0 })
            }
        };
        count.dropped += 1;
        Ok(count.dropped == count.stored + 1)
    }

    /// Drops one reference to a body and removes the body with the last.
    pub(super) fn release_body(&mut self, batch: &mut Batch, hash: &BodyHash) -> Result<(), ReadError> {
        let shard = self.reader.shard;
        let key = keys::body(shard, hash);
        if !self.release(key.clone())? {
            return Ok(());
        }
        match self.reader.body(hash)?.map(|record| record.location) {
            Some(BodyLocation::Own) => {
                for chunk in 0..chunk_count(hash.size) {
                    batch.delete(Column::Bodies, keys::body_chunk(shard, hash, chunk as u32));
                }
            }
            Some(BodyLocation::Upload(account, upload)) => {
                let (from, to) = keys::upload_chunks(shard, account, upload);
                batch.delete_range(Column::Bodies, from, to);
                batch.delete(Column::Rows, keys::upload(shard, account, upload));
            }
            None => {}
        }
        batch.delete(Column::Rows, key);
        Ok(())
    }

    /// Writes the counters; one that falls to 0 is removed.
    pub(super) fn finish(self, batch: &mut Batch) {
        for (key, count) in self.counts {
            if count.dropped < count.stored {
                batch.add(key, -count.dropped);
            } else if count.stored != 0 {
                batch.delete(Column::Counters, key);
            }
        }
    }
}
