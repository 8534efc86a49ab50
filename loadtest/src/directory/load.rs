//! Accounts into an empty directory by the calls of a restore, several streams at a time.
//!
//! A password's hash comes with each account, so that none has to be made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use rookery_proto::admin::v1::admin_client::AdminClient;
use rookery_proto::admin::v1::backup_client::BackupClient;
use rookery_proto::admin::v1::{
    BeginRestoreRequest, EndRestoreRequest, FinishAccountsRequest, RowsPiece, SetSuspendedRequest,
};
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

/// The id under which all is restored.
const BACKUP_ID: &str = "accounts-at-scale";

/// Accounts that one call takes in.
const ACCOUNTS_EACH: u64 = 5_000;

/// Accounts that one call makes live.
const FINISHED_EACH: usize = 1_000;

/// Bytes of one piece of a stream.
const PIECE_BYTES: usize = 256 * 1024;

/// How long a call that is told to come later is made again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause before that.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Sends the operator's token with each call.
#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The operator's way to the directory.
#[derive(Clone)]
pub struct Operator {
    admin: AdminClient<InterceptedService<Channel, Bearer>>,
    backup: BackupClient<InterceptedService<Channel, Bearer>>,
}

/// Appends the frames of an account, by its id.
pub type Append = Box<dyn Fn(u64, &mut BytesMut) -> Result<()> + Send + Sync>;

/// The accounts that are to be there.
pub struct Accounts {
    /// How many; their ids are 1 and up.
    pub count: u64,
    /// Frames (`rookery_proto::rows`) of the domains.
    pub domains: Bytes,
    /// Makes the rows of each.
    pub append: Append,
    /// Calls under way at a time.
    pub streams: usize,
    /// Told how many are live.
    pub progress: fn(u64),
}

impl Operator {
    /// Connects to the admin API at a URL, whose certificate is signed by the CA (PEM).
    pub async fn connect(url: &str, token: &str, ca: &[u8]) -> Result<Self> {
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse()?;
        bearer.set_sensitive(true);
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let endpoint = Endpoint::from_shared(url.to_owned())?.tls_config(tls)?;
        let channel = endpoint
            .connect()
            .await
            .with_context(|| format!("cannot reach the directory at {url}: is it running?"))?;
        Ok(Self {
            admin: AdminClient::with_interceptor(channel.clone(), Bearer(bearer.clone())),
            backup: BackupClient::with_interceptor(channel, Bearer(bearer)),
        })
    }

    /// Suspends an account, or lets it be used again; when this returns it is durable.
    pub async fn set_suspended(&mut self, address: &str, suspended: bool) -> Result<()> {
        let request = SetSuspendedRequest {
            address: address.to_owned(),
            suspended,
        };
        self.admin.set_suspended(request).await?;
        Ok(())
    }

    /// Puts accounts into a directory that has none; when this returns all are live.
    pub async fn load(&mut self, accounts: Accounts) -> Result<()> {
        let begin = BeginRestoreRequest {
            backup_id: BACKUP_ID.to_owned(),
            last_account: accounts.count,
        };
        self.backup.begin_restore(begin).await?;
        take_in(&mut self.backup, accounts.domains.clone()).await?;
        let accounts = Arc::new(accounts);
        let (next, live) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
        let mut streams = JoinSet::new();
        for _ in 0..accounts.streams {
            let (mut client, accounts) = (self.backup.clone(), Arc::clone(&accounts));
            let (next, live) = (Arc::clone(&next), Arc::clone(&live));
            streams.spawn(async move {
                loop {
                    let first = next.fetch_add(ACCOUNTS_EACH, Ordering::Relaxed);
                    if first > accounts.count {
                        return anyhow::Ok(());
                    }
                    let last = accounts.count.min(first + ACCOUNTS_EACH - 1);
                    let ids: Vec<u64> = (first..=last).collect();
                    load_some(&mut client, &accounts, &ids).await?;
                    let before = live.fetch_add(ids.len() as u64, Ordering::Relaxed);
                    (accounts.progress)(before + ids.len() as u64);
                }
            });
        }
        while let Some(ended) = streams.join_next().await {
            ended??;
        }
        let end = EndRestoreRequest {
            backup_id: BACKUP_ID.to_owned(),
        };
        let left = self.backup.end_restore(end).await?.into_inner().without_mail;
        anyhow::ensure!(left == 0, "{left} accounts were not live when all were loaded");
        Ok(())
    }
}

type Backups = BackupClient<InterceptedService<Channel, Bearer>>;

async fn load_some(client: &mut Backups, accounts: &Accounts, ids: &[u64]) -> Result<()> {
    let mut frames = BytesMut::new();
    for id in ids {
        (accounts.append)(*id, &mut frames)?;
    }
    take_in(client, frames.freeze()).await?;
    for ids in ids.chunks(FINISHED_EACH) {
        let began = Instant::now();
        loop {
            let finish = FinishAccountsRequest {
                backup_id: BACKUP_ID.to_owned(),
                accounts: ids.to_vec(),
            };
            match client.finish_accounts(finish).await {
                Ok(_) => break,
                Err(status) => pause_or(status, began, "make accounts live").await?,
            }
        }
    }
    Ok(())
}

async fn take_in(client: &mut Backups, frames: Bytes) -> Result<()> {
    let began = Instant::now();
    let pieces: Vec<RowsPiece> = (0..frames.len())
        .step_by(PIECE_BYTES)
        .map(|from| RowsPiece {
            frames: frames.slice(from..frames.len().min(from + PIECE_BYTES)),
        })
        .collect();
    loop {
        match client.restore_directory(tokio_stream::iter(pieces.clone())).await {
            Ok(_) => return Ok(()),
            Err(status) => pause_or(status, began, "take accounts in").await?,
        }
    }
}

async fn pause_or(status: Status, began: Instant, what: &str) -> Result<()> {
    if status.code() != Code::Unavailable || began.elapsed() > PATIENCE {
        anyhow::bail!("the directory does not {what}: {}", status.message());
    }
    tokio::time::sleep(RETRY_PAUSE).await;
    Ok(())
}
