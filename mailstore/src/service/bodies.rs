//! Bodies of new messages made ready for a plan: hashed, analysed, compressed.

use std::sync::Arc;

use bytes::Bytes;
use rookery_proto::mailstore::v1::{NewBody, new_body::Source};
use rookery_proto::{Reason, Status};

use super::reads::blocking;
use super::{HostedShard, MailstoreService};
use crate::body::OpenBody;
use crate::plan::{BodySource, PreparedBody};
use crate::schema::{AccountId, BodyHash, BodyLocation, UploadId};

/// The largest body that comes in its call; larger ones are uploaded first.
const INLINE_BODY_BYTES_MAX: usize = 256 * 1024;

impl MailstoreService {
    /// Makes a body ready. An upload must be one of `account`'s; that it is not there is for the plan to say.
    pub(super) async fn prepare_body(
        &self,
        shard: &Arc<HostedShard>,
        account: AccountId,
        body: Option<NewBody>,
    ) -> Result<PreparedBody, Status> {
        match body.and_then(|body| body.source) {
            None => Err(Status::invalid("a new message has no body")),
            Some(Source::Inline(raw)) => self.prepare_inline(raw).await,
            Some(Source::Upload(id)) => self.prepare_upload(shard, account, &id).await,
        }
    }

    async fn prepare_inline(&self, raw: Bytes) -> Result<PreparedBody, Status> {
        if raw.len() > INLINE_BODY_BYTES_MAX {
            return Err(Status::new(
                Reason::LimitExceeded,
                format!("a body of more than {INLINE_BODY_BYTES_MAX} bytes must be uploaded first"),
            ));
        }
        let hash = BodyHash::of(&raw);
        // It is analysed on another thread while it is compressed here.
        let (analysed, encoded) = tokio::join!(self.analyser.analyze(&hash, &raw), async {
            self.bodies.encode(&raw, hash)
        });
        Ok(PreparedBody {
            hash,
            source: BodySource::Chunks(encoded.chunks),
            analysis: analysed.stored,
            header_len: analysed.header_len,
        })
    }

    async fn prepare_upload(
        &self,
        shard: &Arc<HostedShard>,
        account: AccountId,
        id: &[u8],
    ) -> Result<PreparedBody, Status> {
        let upload =
            UploadId::from_slice(id).ok_or_else(|| Status::invalid("the id of an upload is 16 bytes"))?;
        let snapshot = self.snapshot(shard, account);
        let Some(upload_record) = snapshot.reader().upload(upload)? else {
            return Ok(PreparedBody::gone());
        };
        let Some(finished) = upload_record.finished else {
            return Ok(PreparedBody::gone());
        };
        let hash = finished.hash;
        // A plan may still take the upload's chunks. Otherwise they belong to the body already, or were given up for it.
        let unused = !finished.used && upload_record.chunks > 0;
        let location = match unused {
            true => Some(BodyLocation::Upload(account, upload)),
            false => snapshot.reader().body(&hash)?.map(|record| record.location),
        };
        if location.is_none() {
            return Ok(PreparedBody::gone());
        }
        let remembered = self.analyser.remembered(&hash).filter(|_| !unused);
        let analysed = match remembered {
            Some(analysed) => analysed,
            None => {
                // Room first, so that not all large messages are in memory at once.
                let _room = self.analyser.room(hash.size).await;
                let bodies = Arc::clone(&self.bodies);
                let body = OpenBody { hash, location };
                let raw = blocking(&self.reads, move || {
                    if !unused {
                        return bodies.read_range(&snapshot.reader(), &body, 0..hash.size).map_err(Status::from);
                    }
                    let raw = bodies.read_unverified(&snapshot.reader(), &body)?;
                    // Chunks of two attempts may have come under one id: nothing may be stored under the hash of other
                    // bytes, and so be given to whoever is sent those.
                    if BodyHash::of(&raw) != hash {
                        return Err(Status::new(
                            Reason::FailedPrecondition,
                            "the upload holds other bytes than it was finished with: send it again under another id",
                        ));
                    }
                    Ok(raw)
                })
                .await?;
                self.analyser.analyze(&hash, &raw).await
            }
        };
        Ok(PreparedBody {
            hash,
            source: BodySource::Upload(account, upload),
            analysis: analysed.stored,
            header_len: analysed.header_len,
        })
    }
}
