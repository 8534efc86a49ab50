//! A server for tests that follows a script: it reads lines that it expects, and says what is to be said.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::target::{Encryption, Endpoint};

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        addresses: vec![address],
        encryption: Encryption::None,
        tls_name: "server.test".to_owned(),
        connector: crate::tls::connector(None, false).unwrap(),
    }
}

async fn listen() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(listener.local_addr().unwrap());
    (listener, endpoint)
}

/// An address that nobody listens on.
pub(crate) async fn nobody() -> Endpoint {
    // The listener is closed when this returns.
    listen().await.1
}

/// Takes one connection, says something in pieces of so many bytes, and says no more.
pub(crate) async fn saying(text: Vec<u8>, piece: usize) -> Endpoint {
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for piece in text.chunks(piece.max(text.len() / 2_000)) {
            stream.write_all(piece).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        // What the client says is read, so that its connection does not break while it speaks.
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
    });
    endpoint
}

/// Takes one connection and follows a script: `S:` lines are said, `C:` lines are expected, `C*N` reads N bytes. The task
/// panics when the client says anything else.
pub(crate) async fn following(script: &'static str) -> (Endpoint, JoinHandle<()>) {
    let (listener, endpoint) = listen().await;
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        follow(stream, script).await;
    });
    (endpoint, task)
}

async fn follow(stream: TcpStream, script: &str) {
    let mut stream = BufReader::new(stream);
    for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
        if let Some(text) = step.strip_prefix("S: ") {
            stream
                .get_mut()
                .write_all(format!("{text}\r\n").as_bytes())
                .await
                .unwrap();
        } else if let Some(expected) = step.strip_prefix("C:") {
            let (expected, mut line) = (expected.trim(), String::new());
            stream.read_line(&mut line).await.unwrap();
            assert!(line.ends_with("\r\n"), "{line:?}");
            assert_eq!(line.trim(), expected);
        } else if let Some(count) = step.strip_prefix("C*") {
            let mut bytes = vec![0; count.parse().unwrap()];
            stream.read_exact(&mut bytes).await.unwrap();
        } else {
            panic!("{step:?} is no step of a script");
        }
    }
}
