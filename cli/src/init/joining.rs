//! `rookery init --join-file`: the files of a node that joins a cluster with what `rookery node add` has printed.
//!
//! The private key is made here and stays here. It is there before the directory is asked, so that whoever is asked again after a lost
//! answer sees the same key. The configuration is written last: where it is, the rest is.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rookery_process::certificates::request;
use rookery_process::data_folder::write_whole;
use rookery_proto::Role;
use rookery_proto::admin::v1::join_client::JoinClient;
use rookery_proto::admin::v1::{RedeemRequest, RedeemResponse};
use rookery_proto::remote::NodeTls;
use rookery_proto::remote::names::role_name;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use super::configuration::{NodeText, Shape};
use super::{Arguments, Made, RoleName};
use crate::join_token::{self, JoinToken};
use crate::usage::WrongUse;

/// How long to wait for a connection, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(20);

/// How long a member of the directory is looked for that answers.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Pause before the members are asked again.
const ROUND_PAUSE: Duration = Duration::from_millis(500);

/// Makes the files of a node that joins.
pub(super) async fn join(arguments: &Arguments, file: &Path) -> anyhow::Result<Made> {
    let folder = arguments
        .node_dir
        .as_deref()
        .ok_or_else(|| WrongUse::new("give the new node's folder with --node-dir DIR"))?;
    let token = JoinToken::parse(&read(file)?)?;
    let role = RoleName::from_name(&token.role)
        .ok_or_else(|| anyhow!("the join token is for a role that this program does not know"))?;
    super::check_members(&arguments.members, role)?;
    if role == RoleName::Directory && arguments.members.is_empty() {
        return Err(WrongUse::new(
            "a directory joins others: give --member ID=HOST:PORT for each member, this one among them",
        )
        .into());
    }
    let config = folder.join("rookery.toml");
    refuse_used(folder, arguments.data(), &config, &token)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let node_key = request::read_or_make_key(&folder.join("node.key"))?;
    // One that is there may be of an authority that mail clients know.
    let makes_server = role == RoleName::Proxy && !folder.join("tls.pem").exists();
    let server_request = match makes_server {
        true => request::make(&request::read_or_make_key(&folder.join("tls.key"))?)?,
        false => Vec::new(),
    };
    let asked = RedeemRequest {
        cluster_id: token.cluster.clone(),
        secret: token.secret.clone(),
        node_request: request::make(&node_key)?.into(),
        server_request: server_request.into(),
    };
    let issued = redeem(&token, asked).await?;
    check(&token, role.of_node(), &issued, &node_key)?;
    for (name, text) in [("node.pem", &issued.node_certificate), ("ca.pem", &token.ca)] {
        write_whole(&folder.join(name), text)?;
    }
    if !issued.server_certificate.is_empty() {
        write_whole(&folder.join("tls.pem"), &issued.server_certificate)?;
    }
    let hosts = match arguments.hosts.is_empty() {
        true => &issued.hosts,
        false => &arguments.hosts,
    };
    let directory = match (role, arguments.directory.is_empty()) {
        (RoleName::Directory, _) => &[][..],
        (_, true) => &issued.directory,
        (_, false) => &arguments.directory,
    };
    let text = NodeText {
        id: &issued.id,
        cluster: &token.cluster,
        role,
        hosts,
        directory,
        members: &arguments.members,
        data: arguments.data(),
        shape: Shape {
            shards: issued.shards,
            replicas: issued.replicas,
            expected_mailstores: issued.expected_mailstores,
        },
    };
    write_whole(&config, &text.write())?;
    Ok(Made {
        id: issued.id,
        config,
        command: role.command(),
    })
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(join_token::BYTES_MAX)
            .read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|file| file.take(join_token::BYTES_MAX).read_to_string(&mut text))
    };
    read.with_context(|| match file == Path::new("-") {
        true => "cannot read the join token from standard input".to_owned(),
        false => format!("cannot read the join token in {}", file.display()),
    })?;
    Ok(text)
}

/// Refuses a folder that is a node's already, or has something of another cluster.
fn refuse_used(folder: &Path, data: &Path, config: &Path, token: &JoinToken) -> anyhow::Result<()> {
    super::refuse_configured(config)?;
    let data = folder.join(data);
    if data.join("identity.toml").exists() {
        bail!(
            "{} holds the data of a node: choose another --node-dir or --data",
            data.display()
        );
    }
    let ca = folder.join("ca.pem");
    if fs::read_to_string(&ca).is_ok_and(|held| held.trim() != token.ca.trim()) {
        bail!(
            "{} is of another cluster than the join token: choose another --node-dir",
            ca.display()
        );
    }
    Ok(())
}

/// Asks the directory's members until the one that leads has answered.
async fn redeem(token: &JoinToken, request: RedeemRequest) -> anyhow::Result<RedeemResponse> {
    let began = Instant::now();
    loop {
        let mut why = anyhow!("the join token names no address of the directory");
        for address in &token.addresses {
            match ask(token, address, request.clone()).await? {
                Ok(issued) => return Ok(issued),
                Err(status) if may_pass(status.code()) => {
                    why = anyhow!("{}", status.message()).context(format!("{address} cannot answer"));
                }
                Err(status) => return Err(anyhow!("{}", status.message())),
            }
        }
        if began.elapsed() >= LOOK_MAX {
            return Err(why);
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

/// Whether another member, or a later try, may answer. One that was asked is asked the same with the same key: that is no second node.
fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled
    )
}

/// Asks one member. It is taken for one only with a certificate of the token's CA that names a directory of its cluster.
async fn ask(
    token: &JoinToken,
    address: &str,
    request: RedeemRequest,
) -> anyhow::Result<Result<RedeemResponse, Status>> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&token.ca))
        .domain_name(role_name(Role::Directory, &token.cluster));
    let endpoint = Endpoint::from_shared(address.to_owned())
        .with_context(|| format!("{address} is not a URL"))?
        .tls_config(tls)
        .context("the join token's CA cannot be used")?
        .connect_timeout(CONNECT_MAX)
        .timeout(CALL_MAX);
    let channel = match tokio::time::timeout(CONNECT_MAX, endpoint.connect()).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => {
            let chain = anyhow::Error::from(error);
            return Ok(Err(Status::unavailable(format!(
                "no directory of cluster {} is reached there: {chain:#}",
                token.cluster
            ))));
        }
        Err(_) => return Ok(Err(Status::unavailable("it says nothing"))),
    };
    let answer = JoinClient::new(channel).redeem(request).await;
    Ok(answer.map(tonic::Response::into_inner))
}

/// Whether what was issued is what this node is to have.
fn check(token: &JoinToken, role: Role, issued: &RedeemResponse, key: &str) -> anyhow::Result<()> {
    let tls = NodeTls::from_pem(
        token.ca.as_bytes(),
        issued.node_certificate.as_bytes(),
        key.as_bytes(),
    )
    .context("cannot use the certificate that the directory has issued")?;
    let peer = tls.peer();
    if tls.cluster() != token.cluster || peer.node != issued.id || peer.role != role {
        bail!(
            "the directory has issued a certificate of the {} {} of cluster {}, which is not what the join token says",
            peer.role.as_str(),
            peer.node,
            tls.cluster()
        );
    }
    Ok(())
}

/// What is left to do for a member of the directory, which no file that is made here says.
pub(super) fn note(folder: &Path, role: RoleName) -> Option<String> {
    let token: PathBuf = folder.join("admin-token");
    (role == RoleName::Directory && !token.exists()).then(|| {
        format!(
            "first copy the admin token of the other members to {}, and name the new one in their directory.members",
            token.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_or_of_another_cluster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let token = JoinToken {
            cluster: "c1".to_owned(),
            ca: "one".to_owned(),
            addresses: Vec::new(),
            id: "mailstore-4".to_owned(),
            role: "mailstore".to_owned(),
            secret: String::new(),
        };
        let refused = || {
            refuse_used(path, Path::new("data"), &path.join("rookery.toml"), &token)
                .map_err(|error| error.to_string())
        };
        refused().unwrap();
        // What a first try has left is used again.
        fs::write(path.join("ca.pem"), "one\n").unwrap();
        fs::write(path.join("node.key"), "key").unwrap();
        refused().unwrap();
        fs::write(path.join("ca.pem"), "another").unwrap();
        assert!(refused().unwrap_err().contains("another cluster"));
        fs::create_dir(path.join("data")).unwrap();
        fs::write(path.join("data/identity.toml"), "").unwrap();
        assert!(refused().unwrap_err().contains("data of a node"));
        fs::write(path.join("rookery.toml"), "").unwrap();
        assert!(refused().unwrap_err().contains("is there already"));
    }
}
