//! Callers that do not keep to the frame protocol, spoken to frame by frame.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use prost::Message;
use rookery_proto::Role;
use rookery_proto::call::CHUNK_BYTES_MAX;
use rookery_proto::directory::v1::directory_client::DirectoryClient;
use rookery_proto::frame::v1::frame::Kind;
use rookery_proto::frame::v1::{Batch, Chunk, Credit, Frame, Open, Reason, Reply};
use rookery_proto::remote::ServerOptions;
use rookery_proto::remote::names::NodeName;
use support::certificates::{Authority, Issued};
use support::scripted::request;
use support::{CLUSTER, PATIENCE, Running, caller, patient, start};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Streaming};

/// A stream on which frames are sent by hand.
struct Raw {
    sender: mpsc::Sender<Batch>,
    inbound: Streaming<Batch>,
}

async fn channel(authority: &Authority, server: &Running, identity: Option<Issued>) -> Channel {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("directory.c1.rookery.internal");
    if let Some(issued) = identity {
        tls = tls.identity(Identity::from_pem(issued.certificate, issued.key));
    }
    let endpoint = Channel::from_shared(format!("https://{}", server.address))
        .unwrap()
        .tls_config(tls)
        .unwrap();
    endpoint.connect_lazy()
}

async fn raw(channel: Channel) -> Result<Raw, tonic::Status> {
    let (sender, batches) = mpsc::channel(16);
    let inbound = DirectoryClient::new(channel)
        .calls(ReceiverStream::new(batches))
        .await?
        .into_inner();
    Ok(Raw { sender, inbound })
}

async fn proxy(authority: &Authority, server: &Running) -> Raw {
    let issued = authority.issue(
        &NodeName::new("proxy-1", Role::Proxy, CLUSTER)
            .unwrap()
            .dns_names(),
    );
    raw(channel(authority, server, Some(issued)).await).await.unwrap()
}

impl Raw {
    async fn send(&self, frames: impl IntoIterator<Item = (u64, Kind)>) {
        let frames = frames
            .into_iter()
            .map(|(call, kind)| Frame {
                call,
                kind: Some(kind),
            })
            .collect();
        self.sender.send(Batch { frames }).await.unwrap();
    }

    async fn frame(&mut self) -> Result<Option<Frame>, tonic::Status> {
        let batch = tokio::time::timeout(PATIENCE, self.inbound.message())
            .await
            .expect("no answer")?;
        Ok(batch.map(|mut batch| batch.frames.remove(0)))
    }

    /// The reason of the error with which the next call ends.
    async fn end(&mut self) -> (u64, Reason) {
        let frame = self.frame().await.unwrap().expect("the stream has ended");
        match frame.kind {
            Some(Kind::End(end)) => (frame.call, end.error.expect("no error").reason()),
            other => panic!("not an end: {other:?}"),
        }
    }
}

fn open(command: &str, timeout_millis: u32, has_body: bool) -> Kind {
    let request = Bytes::from(request(command).encode_to_vec());
    Kind::Open(Open {
        request,
        timeout_millis,
        has_body,
        ..Open::default()
    })
}

#[tokio::test]
async fn breaches_end_the_stream_that_made_them_alone() {
    let authority = Authority::new();
    let server = Running::start(&authority, ServerOptions::default()).await;
    let good = caller(
        server.address,
        authority.node("proxy-2", Role::Proxy, CLUSTER),
        patient(),
    );
    let held = start(&good, "hold", None, PATIENCE);
    server.service.until(|seen| seen.begun == 1).await;
    let chunk = |bytes| {
        Kind::Chunk(Chunk {
            data: vec![0; bytes].into(),
            last: false,
        })
    };
    let breaches: Vec<(&str, Vec<(u64, Kind)>)> = vec![
        (
            "ascend",
            vec![
                (2, open("never", 60_000, false)),
                (2, open("never", 60_000, false)),
            ],
        ),
        ("ascend", vec![(0, open("never", 60_000, false))]),
        (
            "without a body",
            vec![(1, open("never", 60_000, false)), (1, chunk(1))],
        ),
        (
            "too large",
            vec![(1, open("never", 60_000, true)), (1, chunk(CHUNK_BYTES_MAX + 1))],
        ),
        (
            "more of a body",
            std::iter::once((1, open("never", 60_000, true)))
                .chain((0..4).map(|_| (1, chunk(CHUNK_BYTES_MAX))))
                .collect(),
        ),
        (
            "more credit",
            vec![
                (1, open("never", 60_000, false)),
                (1, Kind::Credit(Credit { bytes: 1 })),
            ],
        ),
        (
            "more credit",
            vec![
                (1, open("never", 60_000, false)),
                (1, Kind::Credit(Credit { bytes: u64::MAX })),
            ],
        ),
        ("callee's frame", vec![(1, Kind::Reply(Reply::default()))]),
    ];
    for (expected, frames) in breaches {
        let mut raw = proxy(&authority, &server).await;
        raw.send(frames).await;
        let status = raw.frame().await.expect_err("the stream goes on");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status.message().contains(expected),
            "{expected}: {}",
            status.message()
        );
    }
    server.service.release.add_permits(1);
    held.single().await.unwrap();
    start(&good, "echo on", None, PATIENCE).single().await.unwrap();
}

#[tokio::test]
async fn the_callee_keeps_limits_and_deadlines_by_itself() {
    let authority = Authority::new();
    let options = ServerOptions {
        calls_max: 1,
        ..ServerOptions::default()
    };
    let server = Running::start(&authority, options).await;
    let mut raw = proxy(&authority, &server).await;
    raw.send([(1, open("never", 50, false))]).await;
    assert_eq!(raw.end().await, (1, Reason::DeadlineExceeded));
    raw.send([
        (2, open("never", 60_000, false)),
        (3, open("never", 60_000, false)),
    ])
    .await;
    assert_eq!(raw.end().await, (3, Reason::LimitExceeded));
    // Frames of calls that are over, or of a newer version, are passed over.
    raw.send([
        (3, Kind::Cancel(Default::default())),
        (2, Kind::Cancel(Default::default())),
    ])
    .await;
    raw.sender
        .send(Batch {
            frames: vec![Frame { call: 9, kind: None }],
        })
        .await
        .unwrap();
    let junk = Open {
        request: Bytes::from_static(&[0xff; 9]),
        timeout_millis: 1000,
        ..Open::default()
    };
    raw.send([(4, Kind::Open(junk))]).await;
    assert_eq!(raw.end().await, (4, Reason::InvalidArgument));
    let large = Open {
        request: vec![0; 2 * 1024 * 1024].into(),
        timeout_millis: 1000,
        ..Open::default()
    };
    raw.send([(5, Kind::Open(large))]).await;
    assert_eq!(raw.end().await, (5, Reason::LimitExceeded));
}

#[tokio::test]
async fn a_batch_larger_than_its_limit_ends_the_stream() {
    let authority = Authority::new();
    let server = Running::start(&authority, ServerOptions::default()).await;
    let mut raw = proxy(&authority, &server).await;
    let large = Open {
        request: vec![0; 5 * 1024 * 1024].into(),
        timeout_millis: 1000,
        ..Open::default()
    };
    raw.send([(1, Kind::Open(large))]).await;
    assert!(raw.frame().await.is_err());
}

#[tokio::test]
async fn no_certificate_and_one_without_a_name_are_refused() {
    let authority = Authority::new();
    let server = Running::start(&authority, ServerOptions::default()).await;
    let Err(status) = raw(channel(&authority, &server, None).await).await else {
        panic!("a caller without a certificate was served");
    };
    assert_ne!(status.code(), Code::Ok);
    let issued = authority.issue(&["somebody.example.org".to_owned()]);
    let Err(status) = raw(channel(&authority, &server, Some(issued)).await).await else {
        panic!("a caller without a name was served");
    };
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("names no node"), "{}", status.message());
}
