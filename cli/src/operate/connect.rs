//! The way to the directory's admin API: TLS to a known CA, and a bearer token out of a file. Of several members the one
//! that leads is looked for first.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use rookery_proto::admin::v1::{
    GetStatusRequest, admin_client, backup_client, nodes_client, rebalance_client,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::members::Members;
use super::output::refused;
use crate::usage::WrongUse;

/// How long to wait for the connection, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(60);

/// The largest plan or job that is read: a large cluster's has many thousand transfers.
const PLAN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a leader is looked for among several members.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(15);

/// How long a member may take to say whether it leads.
const PROBE_MAX: Duration = Duration::from_secs(3);

/// Pause before the members are asked again.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Where the admin API is and how to be let in.
#[derive(Debug, Default, Args)]
pub(crate) struct Connection {
    /// The admin API, as https and the host and port that the directory says; of each member, separated by commas, when it has
    /// several
    #[arg(long, global = true, env = "ROOKERY_ADMIN", value_name = "URL")]
    admin: Option<String>,
    /// File that holds the admin token
    #[arg(long, global = true, env = "ROOKERY_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// CA certificate (PEM) of the cluster
    #[arg(long, global = true, env = "ROOKERY_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take all of these from a playground's cluster.json
    #[arg(long, global = true, env = "ROOKERY_CLUSTER", value_name = "FILE")]
    cluster: Option<PathBuf>,
}

/// The admin API's client.
pub(crate) type AdminClient = admin_client::AdminClient<InterceptedService<Members, Bearer>>;

/// The client of backups.
pub(crate) type BackupClient = backup_client::BackupClient<InterceptedService<Members, Bearer>>;

/// The client of plans and transfers.
pub(crate) type RebalanceClient = rebalance_client::RebalanceClient<InterceptedService<Members, Bearer>>;

/// The client of join secrets.
pub(crate) type NodesClient = nodes_client::NodesClient<InterceptedService<Members, Bearer>>;

/// Every client, over the same connections.
pub(crate) struct Clients {
    /// The operator's calls.
    pub(crate) admin: AdminClient,
    /// Backups.
    pub(crate) backup: BackupClient,
    /// Plans and transfers.
    pub(crate) rebalance: RebalanceClient,
    /// Join secrets.
    pub(crate) nodes: NodesClient,
    /// Where all of them ask.
    pub(crate) addresses: Vec<String>,
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
        let given = self.admin.as_deref().map(|admin| {
            let urls = admin.split(',').map(|url| url.trim().to_owned());
            urls.collect::<Vec<_>>()
        });
        let admin = given.or(file_admin).ok_or_else(|| missing("admin"))?;
        let token = self
            .token_file
            .clone()
            .or(file_token)
            .ok_or_else(|| missing("token-file"))?;
        let ca = self.ca.clone().or(file_ca).ok_or_else(|| missing("ca"))?;
        connect_with(&admin, &token, &ca).await
    }
}

/// Connects as a cluster file says.
pub(crate) async fn connect_cluster(path: &Path) -> anyhow::Result<Clients> {
    let (admin, token, ca) = read_cluster(path)?;
    let (Some(admin), Some(token), Some(ca)) = (admin, token, ca) else {
        return Err(anyhow!(
            "{} does not say where the admin API is and how to be let in",
            path.display()
        ));
    };
    connect_with(&admin, &token, &ca).await
}

/// Connects to the admin API at these addresses: to that of the member that leads, if there are several.
pub(crate) async fn connect_with(admin: &[String], token_file: &Path, ca: &Path) -> anyhow::Result<Clients> {
    let token = std::fs::read_to_string(token_file)
        .with_context(|| format!("cannot read the admin token {}", token_file.display()))?;
    let pem = std::fs::read(ca).with_context(|| format!("cannot read the CA {}", ca.display()))?;
    let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
        .parse()
        .map_err(|_| anyhow!("{} does not hold a token", token_file.display()))?;
    bearer.set_sensitive(true);
    let bearer = Bearer(bearer);
    let endpoint = |admin: &String| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&pem));
        let endpoint = Endpoint::from_shared(admin.clone())
            .with_context(|| format!("{admin} is not a URL"))?
            .tls_config(tls)?
            .connect_timeout(CONNECT_MAX)
            .timeout(CALL_MAX);
        anyhow::Ok(endpoint)
    };
    let addresses = admin.to_vec();
    let clients = |members: Members| Clients {
        addresses,
        nodes: nodes_client::NodesClient::with_interceptor(members.clone(), bearer.clone()),
        admin: admin_client::AdminClient::with_interceptor(members.clone(), bearer.clone()),
        backup: backup_client::BackupClient::with_interceptor(members.clone(), bearer.clone()),
        rebalance: rebalance_client::RebalanceClient::with_interceptor(members, bearer.clone())
            .max_decoding_message_size(PLAN_BYTES_MAX),
    };
    if let [admin] = admin {
        let endpoint = endpoint(admin)?;
        // One that stands still takes connections, and says nothing on them.
        let channel = tokio::time::timeout(CONNECT_MAX, endpoint.connect())
            .await
            .map_err(anyhow::Error::from)
            .and_then(|connected| Ok(connected?))
            .with_context(|| format!("cannot reach the directory at {admin}: is it running?"))?;
        return Ok(clients(Members::new(vec![channel])));
    }
    let endpoints: Vec<Endpoint> = admin.iter().map(endpoint).collect::<anyhow::Result<_>>()?;
    let members = Members::new(endpoints.iter().map(Endpoint::connect_lazy).collect());
    let mut clients = clients(members.clone());
    find_leader(&mut clients.admin, &members, endpoints.len()).await?;
    Ok(clients)
}

/// Asks one member after the other until one answers as the leader does.
async fn find_leader(client: &mut AdminClient, members: &Members, count: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    for tried in 1.. {
        let asked = members.current();
        let answer = tokio::time::timeout(PROBE_MAX, client.get_status(GetStatusRequest {})).await;
        let why = match answer {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(status)) if status.code() == Code::Unavailable => status.message().to_owned(),
            Ok(Err(status)) => return Err(refused(status)),
            Err(_) => {
                members.move_on(asked);
                "it says nothing".to_owned()
            }
        };
        if tried % count == 0 {
            if began.elapsed() >= LEADER_WAIT_MAX {
                return Err(anyhow!(
                    "none of the directory's {count} members leads it: {why}: are most of them running?"
                ));
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }
    Ok(())
}

/// Addresses, token, CA.
type ClusterFile = (Option<Vec<String>>, Option<PathBuf>, Option<PathBuf>);

fn read_cluster(path: &Path) -> anyhow::Result<ClusterFile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the cluster file {}", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not a cluster file", path.display()))?;
    let get = |key: &str| value.get(key).and_then(|held| held.as_str()).map(str::to_owned);
    let several: Vec<String> = value
        .get("admins")
        .and_then(|held| held.as_array())
        .into_iter()
        .flatten()
        .filter_map(|held| held.as_str().map(str::to_owned))
        .collect();
    // With one member, `admin` is the only place that says where it is.
    let admin = match several.len() {
        0 | 1 => get("admin").map(|admin| vec![admin]),
        _ => Some(several),
    };
    Ok((
        admin,
        get("admin_token_file").map(PathBuf::from),
        get("ca_file").map(PathBuf::from),
    ))
}
