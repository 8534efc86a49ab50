//! Growing a playground that runs: `playground grow` asks over a socket in the folder, and the process that owns the nodes
//! starts further ones.
//!
//! Who asks owns no process: the new nodes belong to the playground like its first ones, stop with it, and stay when the asker
//! is killed.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rookery_proto::admin::v1::ListNodesRequest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tonic::Code;

use super::layout::{self, Layout};
use super::node::Node;
use super::{READY_MAX, manifest};
use crate::operate::output::{self, refused};
use crate::operate::{AdminClient, connect_cluster};
use crate::usage::WrongUse;

/// Mailstores that are added at a time.
const MAILSTORES_MAX: u32 = 32;

/// Name of the socket in the playground's folder.
const SOCKET: &str = "grow.socket";

/// How long who asks may take to say what.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(5);

/// The longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 4096;

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// How long the directory may take to know nodes that are ready.
const REGISTERED_WAIT_MAX: Duration = Duration::from_secs(60);

/// Pause before the directory is asked again.
const REGISTERED_PAUSE: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    mailstores: u32,
}

/// What came of it: rows of `cluster.json`, or why there are none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Nodes(Vec<Value>),
    Error(String),
}

/// Where a running playground is asked to grow.
pub(super) struct Requests {
    listener: UnixListener,
}

impl Requests {
    /// Listens in the playground's folder, which is this process's own.
    pub(super) fn listen(root: &Path) -> anyhow::Result<Self> {
        let path = root.join(SOCKET);
        // Of a playground that was killed.
        let _ = fs::remove_file(&path);
        let cannot = || format!("cannot listen at {}", path.display());
        let folder = File::open(root).with_context(cannot)?;
        let listener = StdListener::bind(short(&folder)).with_context(cannot)?;
        // Whoever may ask makes this process start others.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).with_context(cannot)?;
        listener.set_nonblocking(true).with_context(cannot)?;
        let listener = UnixListener::from_std(listener).with_context(cannot)?;
        Ok(Self { listener })
    }

    /// Takes away what says where to ask.
    pub(super) fn forget(root: &Path) {
        // It may not have been made yet.
        let _ = fs::remove_file(root.join(SOCKET));
    }

    /// Does what is asked, one request after the other, until it is dropped. New nodes are among `nodes` from their start on.
    pub(super) async fn serve(
        &self,
        layout: &Layout,
        directory: &[String],
        nodes: &mut Vec<Node>,
    ) -> anyhow::Result<()> {
        loop {
            let (mut stream, _) = self
                .listener
                .accept()
                .await
                .context("cannot be asked to grow any more")?;
            let answer = match asked(&mut stream).await {
                Ok(request) => match add(layout, directory, nodes, request.mailstores).await {
                    Ok(rows) => Answer::Nodes(rows),
                    Err(error) => Answer::Error(format!("{error:#}")),
                },
                Err(error) => Answer::Error(format!("{error:#}")),
            };
            let text = serde_json::to_vec(&answer)?;
            // Who asked may have gone; what was done stays.
            let _ = stream.write_all(&text).await;
        }
    }
}

/// Names a playground's socket whatever the length of its folder's path: a socket's address has room for about 100 bytes.
fn short(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

async fn asked(stream: &mut UnixStream) -> anyhow::Result<Request> {
    let mut text = Vec::new();
    let mut limited = stream.take(REQUEST_BYTES_MAX);
    tokio::time::timeout(REQUEST_WAIT_MAX, limited.read_to_end(&mut text))
        .await
        .context("nothing was asked")??;
    let request: Request = serde_json::from_slice(&text).context("cannot read what is asked")?;
    if !(1..=MAILSTORES_MAX).contains(&request.mailstores) {
        bail!("1 to {MAILSTORES_MAX} mailstores can be added at a time");
    }
    Ok(request)
}

/// Starts further mailstores and writes them into `cluster.json`: all of them, or none.
async fn add(
    layout: &Layout,
    directory: &[String],
    nodes: &mut Vec<Node>,
    count: u32,
) -> anyhow::Result<Vec<Value>> {
    let first = nodes.len();
    let started = async {
        let held = layout.mailstores_held()?;
        for number in held + 1..=held + count {
            nodes.push(Node::spawn(layout.mailstore(number, directory)?)?);
        }
        for node in nodes.iter_mut().skip(first) {
            tokio::time::timeout(READY_MAX, node.ready())
                .await
                .map_err(|_| {
                    let (seconds, log) = (READY_MAX.as_secs(), node.plan.folder.join("log"));
                    anyhow!(
                        "{} did not become ready in {seconds} s: see {}",
                        node.plan.id,
                        log.display()
                    )
                })??;
        }
        let rows: Vec<Value> = nodes.iter().skip(first).flat_map(manifest::rows).collect();
        manifest::append(&layout.manifest(), &rows)?;
        Ok(rows)
    }
    .await;
    if started.is_err() {
        for mut node in nodes.drain(first..) {
            node.stop().await;
        }
    }
    started
}

/// Asks the playground that runs in a folder for further mailstores, and prints them when the directory knows them.
pub(super) async fn grow(data: &Path, mailstores: u32, as_json: bool) -> anyhow::Result<()> {
    if !(1..=MAILSTORES_MAX).contains(&mailstores) {
        return Err(WrongUse::new(format!(
            "--mailstores is how many are added, 1 to {MAILSTORES_MAX}, not {mailstores}"
        ))
        .into());
    }
    // Whoever runs it holds its lock.
    if !data.is_dir() || layout::lock(data)?.is_some() {
        bail!(
            "no playground runs in {0}: start it with `rookery playground --data {0}`",
            data.display()
        );
    }
    if layout::is_single(data) {
        return Err(WrongUse::new(format!(
            "the playground in {} has all roles in one process, which does not grow: start one without --single",
            data.display()
        ))
        .into());
    }
    let rows = match ask(data, &Request { mailstores }).await? {
        Answer::Nodes(rows) => rows,
        Answer::Error(why) => return Err(anyhow!(why)).context("the playground has not grown"),
    };
    let mut client = connect_cluster(&layout::manifest_file(data)).await?.admin;
    let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    wait_registered(&mut client, &ids).await?;
    if as_json {
        return output::json(&json!({ "nodes": rows }));
    }
    output::lines(
        rows.iter()
            .map(line)
            .chain(["They hold nothing yet: `rookery rebalance` moves shards to them.".to_owned()]),
    )
}

async fn ask(data: &Path, request: &Request) -> anyhow::Result<Answer> {
    let cannot = || format!("cannot ask the playground in {}", data.display());
    let folder = File::open(data).with_context(cannot)?;
    let mut stream = match UnixStream::connect(short(&folder)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => bail!(
            "the playground in {} is only starting: try again when it has said that it is ready",
            data.display()
        ),
        Err(error) => return Err(error).with_context(cannot),
    };
    stream
        .write_all(&serde_json::to_vec(request)?)
        .await
        .with_context(cannot)?;
    stream.shutdown().await.with_context(cannot)?;
    let mut text = Vec::new();
    let mut limited = stream.take(ANSWER_BYTES_MAX);
    limited.read_to_end(&mut text).await.with_context(cannot)?;
    if text.is_empty() {
        bail!(
            "the playground in {} ended before it had grown: start it again",
            data.display()
        );
    }
    serde_json::from_slice(&text).context("cannot read what the playground answers")
}

/// Waits until the directory lists nodes as alive.
async fn wait_registered(client: &mut AdminClient, ids: &[&str]) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let missing = match client.list_nodes(ListNodesRequest {}).await {
            Ok(answer) => {
                let nodes = answer.into_inner().nodes;
                let is_alive = |id: &str| nodes.iter().any(|node| node.id == id && node.alive);
                let missing = ids.iter().filter(|id| !is_alive(id));
                missing.copied().collect::<Vec<_>>()
            }
            // Another member leads it in a moment.
            Err(status) if status.code() == Code::Unavailable => ids.to_vec(),
            Err(status) => return Err(refused(status)),
        };
        if missing.is_empty() {
            return Ok(());
        }
        if began.elapsed() >= REGISTERED_WAIT_MAX {
            bail!(
                "{} runs, but the directory did not know it within {} s: see its log",
                missing.join(", "),
                REGISTERED_WAIT_MAX.as_secs()
            );
        }
        tokio::time::sleep(REGISTERED_PAUSE).await;
    }
}

fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    format!(
        "{} has joined (process {}): calls {}, http {}",
        text("id"),
        row["pid"],
        text("address"),
        text("http")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_read_whole_and_within_its_limits() {
        let request = |text: &'static str| async move {
            let (mut asker, mut asked_one) = UnixStream::pair().unwrap();
            asker.write_all(text.as_bytes()).await.unwrap();
            asker.shutdown().await.unwrap();
            asked(&mut asked_one).await
        };
        assert_eq!(request("{\"mailstores\":2}").await.unwrap().mailstores, 2);
        for refused in ["", "{}", "{\"mailstores\":0}", "{\"mailstores\":33}"] {
            assert!(request(refused).await.is_err(), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_long_folder_can_be_listened_in_and_what_a_killed_playground_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a-long-name".repeat(15));
        fs::create_dir_all(&root).unwrap();
        drop(Requests::listen(&root).unwrap());
        assert!(root.join(SOCKET).exists(), "as after kill -9");
        let requests = Requests::listen(&root).unwrap();
        let mode = fs::metadata(root.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (accepted, connected) = tokio::join!(requests.listener.accept(), async {
            let opened = File::open(&root).unwrap();
            UnixStream::connect(short(&opened)).await
        });
        assert!(accepted.is_ok() && connected.is_ok());
    }

    #[test]
    fn a_new_node_is_told_in_a_line() {
        let row = json!({"id": "mailstore-4", "pid": 77, "address": "127.0.0.1:1", "http": "127.0.0.1:2"});
        assert_eq!(
            line(&row),
            "mailstore-4 has joined (process 77): calls 127.0.0.1:1, http 127.0.0.1:2"
        );
    }
}
