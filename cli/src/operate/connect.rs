//! The way to the directory's admin API: TLS to a known CA, and a bearer token out of a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use rookery_proto::admin::v1::{admin_client, backup_client};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::usage::WrongUse;

/// How long to wait for the connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(60);

/// Where the admin API is and how to be let in.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The admin API, as https and the host and port that the directory says
    #[arg(long, global = true, env = "ROOKERY_ADMIN", value_name = "URL")]
    admin: Option<String>,
    /// File that holds the admin token
    #[arg(long, global = true, env = "ROOKERY_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// CA certificate (PEM) of the cluster
    #[arg(long, global = true, env = "ROOKERY_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take all three from a playground's cluster.json
    #[arg(long, global = true, env = "ROOKERY_CLUSTER", value_name = "FILE")]
    cluster: Option<PathBuf>,
}

/// The admin API's client.
pub(crate) type AdminClient = admin_client::AdminClient<InterceptedService<Channel, Bearer>>;

/// The client of backups.
pub(crate) type BackupClient = backup_client::BackupClient<InterceptedService<Channel, Bearer>>;

/// Every client, over one connection.
pub(crate) struct Clients {
    /// The operator's calls.
    pub(crate) admin: AdminClient,
    /// Backups.
    pub(crate) backup: BackupClient,
}

/// Adds the token to each call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Connection {
    /// Connects as the arguments, the environment or the cluster file say.
    pub(crate) async fn connect(&self) -> anyhow::Result<AdminClient> {
        Ok(self.connect_all().await?.admin)
    }

    /// The same for all clients.
    pub(crate) async fn connect_all(&self) -> anyhow::Result<Clients> {
        let from_file = self.cluster.as_deref().map(read_cluster).transpose()?;
        let (file_admin, file_token, file_ca) = from_file.unwrap_or_default();
        let missing = |what: &str| {
            WrongUse::new(format!(
                "no {what} is known: give --{what}, or --cluster with a cluster.json"
            ))
        };
        let admin = self
            .admin
            .clone()
            .or(file_admin)
            .ok_or_else(|| missing("admin"))?;
        let token = self
            .token_file
            .clone()
            .or(file_token)
            .ok_or_else(|| missing("token-file"))?;
        let ca = self.ca.clone().or(file_ca).ok_or_else(|| missing("ca"))?;
        let (channel, bearer) = channel(&admin, &token, &ca).await?;
        Ok(Clients {
            admin: admin_client::AdminClient::with_interceptor(channel.clone(), bearer.clone()),
            backup: backup_client::BackupClient::with_interceptor(channel, bearer),
        })
    }
}

/// Connects to an admin API.
pub(crate) async fn connect_with(admin: &str, token_file: &Path, ca: &Path) -> anyhow::Result<AdminClient> {
    let (channel, bearer) = channel(admin, token_file, ca).await?;
    Ok(admin_client::AdminClient::with_interceptor(channel, bearer))
}

async fn channel(admin: &str, token_file: &Path, ca: &Path) -> anyhow::Result<(Channel, Bearer)> {
    let token = std::fs::read_to_string(token_file)
        .with_context(|| format!("cannot read the admin token {}", token_file.display()))?;
    let pem = std::fs::read(ca).with_context(|| format!("cannot read the CA {}", ca.display()))?;
    let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
        .parse()
        .map_err(|_| anyhow!("{} does not hold a token", token_file.display()))?;
    bearer.set_sensitive(true);
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
    let channel = Endpoint::from_shared(admin.to_owned())
        .with_context(|| format!("{admin} is not a URL"))?
        .tls_config(tls)?
        .connect_timeout(CONNECT_MAX)
        .timeout(CALL_MAX)
        .connect()
        .await
        .with_context(|| format!("cannot reach the directory at {admin}: is it running?"))?;
    Ok((channel, Bearer(bearer)))
}

type ClusterFile = (Option<String>, Option<PathBuf>, Option<PathBuf>);

fn read_cluster(path: &Path) -> anyhow::Result<ClusterFile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the cluster file {}", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not a cluster file", path.display()))?;
    let get = |key: &str| value.get(key).and_then(|held| held.as_str()).map(str::to_owned);
    Ok((
        get("admin"),
        get("admin_token_file").map(PathBuf::from),
        get("ca_file").map(PathBuf::from),
    ))
}
