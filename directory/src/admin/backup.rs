//! `backup create|restore`: rows out of the cluster and into it, streamed between the operator and the shards.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use rookery_proto::admin::v1::account_place::State as PlaceState;
use rookery_proto::admin::v1::backup_server::Backup;
use rookery_proto::admin::v1::export_rows_request::Part;
use rookery_proto::admin::v1::*;
use rookery_proto::call::CHUNK_BYTES_MAX;
use rookery_proto::mailstore::v1::{ExportShard, ImportAccount, ImportRows, reply, request};
use rookery_proto::rows::{RowColumn, RowDecoder, encode_frame};
use rookery_proto::{Body, Status};
use rookery_replication::Column;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Streaming};
use tracing::Instrument;

use super::{of_shard, to_tonic};
use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::restore::{self, Place, ROWS_MAX};
use crate::plan::{PlanError, holding};
use crate::post::Post;
use crate::schema::portable::{self, Portable};
use crate::schema::read::{ReadError, Rows};
use crate::schema::{AccountId, ShardId};

/// How long one part may take to be written by the operator.
const EXPORT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long a shard may take for the rows of one call.
const IMPORT_MAX: Duration = Duration::from_secs(50);

/// How long a shard may take to make an account live.
const FINISH_MAX: Duration = Duration::from_secs(10);

/// Accounts that are placed in one call.
const PLACES_MAX: usize = 10_000;

/// Accounts that are finished in one call.
const FINISHED_MAX: usize = 1_000;

/// Calls on shards under way for one call of the operator.
const CALLS_MAX: usize = 16;

/// Pieces that wait for a slow operator.
const PIECES_WAITING: usize = 4;

/// Bytes of the directory's rows in one change.
const CHANGE_BYTES: usize = 512 * 1024;

type Pieces = mpsc::Sender<Result<RowsPiece, tonic::Status>>;

/// Serves the operator's backups.
pub struct BackupService {
    post: Arc<Post>,
}

impl BackupService {
    pub(crate) fn new(post: Arc<Post>) -> Self {
        Self { post }
    }
}

#[tonic::async_trait]
impl Backup for BackupService {
    type ExportRowsStream = Pin<Box<dyn Stream<Item = Result<RowsPiece, tonic::Status>> + Send>>;

    async fn export_rows(
        &self,
        request: Request<ExportRowsRequest>,
    ) -> Result<Response<Self::ExportRowsStream>, tonic::Status> {
        let part = request.into_inner().part;
        let part = part.ok_or_else(|| tonic::Status::invalid_argument("no part is named"))?;
        let (pieces, stream) = mpsc::channel(PIECES_WAITING);
        let core = self.post.core().map_err(to_tonic)?;
        let export = async move {
            let cancel = core.cancel.clone();
            let exported = tokio::select! {
                exported = export(&core, part, pieces.clone()) => exported,
                () = cancel.cancelled() => Err(Status::unavailable("the directory is stopping")),
            };
            if let Err(status) = exported {
                tracing::warn!(%status, "an export failed");
                // An operator who has gone needs no word.
                let _ = pieces.send(Err(to_tonic(status))).await;
            }
        };
        tokio::spawn(export.instrument(tracing::info_span!("admin_call", call = "export_rows")));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn hold_moves(
        &self,
        request: Request<HoldMovesRequest>,
    ) -> Result<Response<HoldMovesResponse>, tonic::Status> {
        let core = self.post.core().map_err(to_tonic)?;
        let HoldMovesRequest { hold_id, renew } = request.into_inner();
        super::run("hold_moves", async move {
            let now = now_millis();
            let held = core
                .state
                .change(move |rows| holding::hold(rows, &hold_id, renew, now));
            let moving = held.await?;
            Ok(HoldMovesResponse { moving })
        })
        .await
    }

    async fn release_moves(
        &self,
        request: Request<ReleaseMovesRequest>,
    ) -> Result<Response<ReleaseMovesResponse>, tonic::Status> {
        let core = self.post.core().map_err(to_tonic)?;
        let hold_id = request.into_inner().hold_id;
        super::run("release_moves", async move {
            core.state
                .change(move |rows| holding::release(rows, &hold_id))
                .await?;
            Ok(ReleaseMovesResponse {})
        })
        .await
    }

    async fn begin_restore(
        &self,
        request: Request<BeginRestoreRequest>,
    ) -> Result<Response<BeginRestoreResponse>, tonic::Status> {
        let core = self.post.core().map_err(to_tonic)?;
        let BeginRestoreRequest {
            backup_id,
            last_account,
        } = request.into_inner();
        super::run("begin_restore", async move {
            tracing::info!(backup_id, last_account, "a restore begins or goes on");
            core.state
                .change(move |rows| restore::begin(rows, &backup_id, last_account))
                .await?;
            Ok(BeginRestoreResponse {})
        })
        .await
    }

    async fn restore_directory(
        &self,
        request: Request<Streaming<RowsPiece>>,
    ) -> Result<Response<RestoreDirectoryResponse>, tonic::Status> {
        let core = self.post.core().map_err(to_tonic)?;
        let pieces = request.into_inner();
        super::run("restore_directory", async move {
            restore_directory(&core, pieces).await?;
            Ok(RestoreDirectoryResponse {})
        })
        .await
    }

    async fn place_accounts(
        &self,
        request: Request<PlaceAccountsRequest>,
    ) -> Result<Response<PlaceAccountsResponse>, tonic::Status> {
        let core = self.post.core().map_err(to_tonic)?;
        let request = request.into_inner();
        super::run("place_accounts", async move { place(&core, request).await }).await
    }

    async fn restore_rows(
        &self,
        request: Request<Streaming<RestoreRowsRequest>>,
    ) -> Result<Response<RestoreRowsResponse>, tonic::Status> {
        let core = self.post.core().map_err(to_tonic)?;
        let pieces = request.into_inner();
        super::run("restore_rows", async move { restore_rows(&core, pieces).await }).await
    }

    async fn finish_accounts(
        &self,
        request: Request<FinishAccountsRequest>,
    ) -> Result<Response<FinishAccountsResponse>, tonic::Status> {
        let core = self.post.core().map_err(to_tonic)?;
        let request = request.into_inner();
        super::run("finish_accounts", async move { finish(&core, request).await }).await
    }

    async fn end_restore(
        &self,
        request: Request<EndRestoreRequest>,
    ) -> Result<Response<EndRestoreResponse>, tonic::Status> {
        let core = self.post.core().map_err(to_tonic)?;
        let backup_id = request.into_inner().backup_id;
        super::run("end_restore", async move { end(&core, backup_id).await }).await
    }
}

async fn export(core: &Core, part: Part, pieces: Pieces) -> Result<(), Status> {
    let (shard, hand_offs_only) = match part {
        Part::Directory(_) => {
            return core
                .state
                .read(move |rows| export_directory(rows, &pieces))
                .await?;
        }
        Part::Shard(shard) => (shard, false),
        Part::HandOffs(shard) => (shard, true),
    };
    let call = request::Call::ExportShard(ExportShard {
        shard,
        hand_offs_only,
    });
    let mut replies = core.provisioner.call_leader(shard, call, None, EXPORT_MAX)?;
    while let Some(reply) = replies.next().await {
        let Some(reply::Call::ExportedRows(exported)) = reply.map_err(|status| of_shard(shard, status))?.call
        else {
            return Err(Status::internal("a shard answered an export with something else"));
        };
        let piece = RowsPiece {
            frames: exported.frames,
        };
        if pieces.send(Ok(piece)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Runs on a thread that may block, over one snapshot.
fn export_directory(rows: Rows<'_>, pieces: &Pieces) -> Result<(), Status> {
    let mut pending = BytesMut::new();
    for range in portable::ranges() {
        let mut failed = None;
        let scanned = rows
            .0
            .scan(Column::Rows, &range.from, &range.to, &mut |key, value| {
                let added = encode_frame(RowColumn::Rows, key, value, &mut pending)
                    .map_err(|error| Status::internal(error.to_string()))
                    .and_then(|()| send_pieces(pieces, &mut pending, CHUNK_BYTES_MAX));
                failed = added.err();
                failed.is_none()
            });
        scanned.map_err(|error| Status::from(ReadError::from(error)))?;
        if let Some(status) = failed {
            return Err(status);
        }
    }
    send_pieces(pieces, &mut pending, 1)
}

/// Sends what has gathered while it has so many bytes.
fn send_pieces(pieces: &Pieces, pending: &mut BytesMut, bytes_min: usize) -> Result<(), Status> {
    while pending.len() >= bytes_min {
        let bytes = pending.len().min(CHUNK_BYTES_MAX);
        let piece = RowsPiece {
            frames: pending.split_to(bytes).freeze(),
        };
        if pieces.blocking_send(Ok(piece)).is_err() {
            return Err(rookery_proto::call::cancelled());
        }
    }
    Ok(())
}

fn of_stream(status: tonic::Status) -> Status {
    Status::unavailable(format!("the operator's command has gone: {}", status.message()))
}

async fn restore_directory(core: &Core, mut pieces: Streaming<RowsPiece>) -> Result<(), Status> {
    let mut decoder = RowDecoder::default();
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while let Some(piece) = pieces.message().await.map_err(of_stream)? {
        decoder.push(&piece.frames);
        while let Some(row) = decoder
            .next_row()
            .map_err(|error| Status::invalid(error.to_string()))?
        {
            bytes += row.frame_bytes();
            let row =
                portable::read(&row.key, &row.value).map_err(|error| Status::invalid(error.to_string()))?;
            taken.push(row);
            if taken.len() == ROWS_MAX || bytes >= CHANGE_BYTES {
                take(core, std::mem::take(&mut taken)).await?;
                bytes = 0;
            }
        }
    }
    decoder
        .finish()
        .map_err(|error| Status::invalid(error.to_string()))?;
    take(core, taken).await
}

async fn take(core: &Core, taken: Vec<Portable>) -> Result<(), Status> {
    core.state.change(move |rows| restore::take(rows, &taken)).await
}

async fn place(core: &Core, request: PlaceAccountsRequest) -> Result<PlaceAccountsResponse, Status> {
    if request.accounts.len() > PLACES_MAX {
        return Err(Status::invalid(format!(
            "at most {PLACES_MAX} accounts at a time"
        )));
    }
    let places = core.state.read(move |rows| {
        restore::check(rows, &request.backup_id)?;
        let ids: Vec<AccountId> = request.accounts.into_iter().map(AccountId).collect();
        restore::place(rows, request.shard.map(ShardId), &ids)
    });
    let places = places.await??.into_iter().map(|place| {
        let (state, shard) = match place {
            Place::Unknown => (PlaceState::Unknown, 0),
            Place::Awaited(shard) => (PlaceState::Awaited, shard.0),
            Place::Done(shard) => (PlaceState::Done, shard.0),
        };
        AccountPlace {
            state: state.into(),
            shard,
        }
    });
    Ok(PlaceAccountsResponse {
        places: places.collect(),
    })
}

/// Passes rows on to the shard as they come.
async fn restore_rows(
    core: &Core,
    mut pieces: Streaming<RestoreRowsRequest>,
) -> Result<RestoreRowsResponse, Status> {
    let Some(first) = pieces.message().await.map_err(of_stream)? else {
        return Err(Status::invalid("no shard is named"));
    };
    let (shard, backup_id) = (first.shard, first.backup_id);
    core.state
        .read(move |rows| restore::check(rows, &backup_id))
        .await??;
    let (sender, body) = Body::channel();
    let call = request::Call::ImportRows(ImportRows { shard });
    let replies = core
        .provisioner
        .call_leader(shard, call, Some(body), IMPORT_MAX)?;
    let feeding = async move {
        let mut next: Option<Bytes> = Some(first.frames);
        while let Some(mut frames) = next {
            while !frames.is_empty() {
                let chunk = frames.split_to(frames.len().min(CHUNK_BYTES_MAX));
                // A shard that takes no more has said why.
                if sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
            next = match pieces.message().await {
                Ok(piece) => piece.map(|piece| piece.frames),
                Err(status) => {
                    let _ = sender.send(Err(of_stream(status))).await;
                    return;
                }
            };
        }
    };
    let (imported, ()) = tokio::join!(replies.single(), feeding);
    imported.map_err(|status| of_shard(shard, status))?;
    Ok(RestoreRowsResponse {})
}

async fn finish(core: &Core, request: FinishAccountsRequest) -> Result<FinishAccountsResponse, Status> {
    if request.accounts.len() > FINISHED_MAX {
        return Err(Status::invalid(format!(
            "at most {FINISHED_MAX} accounts at a time"
        )));
    }
    let ids: Vec<AccountId> = request.accounts.into_iter().map(AccountId).collect();
    let asked = ids.clone();
    let waiting = core.state.read(move |rows| {
        restore::check(rows, &request.backup_id)?;
        let mut waiting = Vec::new();
        for id in asked {
            if rows.awaited(id)?.is_some()
                && let Some(account) = rows.account(id)?
            {
                waiting.push((id, account));
            }
        }
        Ok::<_, PlanError>(waiting)
    });
    let calls = waiting.await??.into_iter().map(|(id, account)| {
        let call = request::Call::ImportAccount(ImportAccount {
            shard: account.shard,
            account: id.0,
            generation: account.generation,
            quota_bytes: account.quota_bytes,
        });
        async move {
            let replies = core
                .provisioner
                .call_leader(account.shard, call, None, FINISH_MAX)?;
            replies
                .single()
                .await
                .map_err(|status| of_shard(account.shard, status))
        }
    });
    let mut calls = futures_util::stream::iter(calls).buffer_unordered(CALLS_MAX);
    while let Some(done) = calls.next().await {
        done?;
    }
    drop(calls);
    core.state
        .change(move |rows| restore::finished(rows, &ids))
        .await?;
    Ok(FinishAccountsResponse {})
}

async fn end(core: &Core, backup_id: String) -> Result<EndRestoreResponse, Status> {
    let mut without_mail = 0;
    loop {
        let id = backup_id.clone();
        let ended = core.state.change(move |rows| restore::end(rows, &id)).await?;
        without_mail += ended.dues.len() as u64;
        // What cannot be done now is done by the reconciliation.
        if let Err(status) = core.provisioner.settle(ended.dues).await {
            tracing::warn!(%status, "some accounts are not on their shards yet; it goes on by itself");
        }
        if ended.is_last {
            tracing::info!(backup_id, "the restore has ended");
            return Ok(EndRestoreResponse { without_mail });
        }
    }
}
