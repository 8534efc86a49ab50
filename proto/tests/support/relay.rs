//! A TCP relay before a server, that can refuse, cut and freeze connections.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Forward,
    /// Nothing passes; connections stay.
    Frozen,
    /// Connections are closed, new ones at once.
    Cut,
}

pub struct Relay {
    pub address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    refused: watch::Receiver<u32>,
}

impl Relay {
    pub async fn start(target: SocketAddr, mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(watch::Sender::new(mode));
        let (refusals, refused) = watch::channel(0);
        let modes = Arc::clone(&mode);
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Cut {
                    drop(client);
                    refusals.send_modify(|count| *count += 1);
                    continue;
                }
                tokio::spawn(relay(client, target, modes.subscribe()));
            }
        });
        Self {
            address,
            mode,
            refused,
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until so many connections were refused.
    pub async fn refused(&mut self, count: u32) {
        self.refused.wait_for(|refused| *refused >= count).await.unwrap();
    }
}

async fn relay(client: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let forward = async {
        tokio::join!(
            pump(client_read, server_write, mode.clone()),
            pump(server_read, client_write, mode.clone())
        )
    };
    let mut cut = mode.clone();
    tokio::select! {
        _ = forward => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
    mode.mark_unchanged();
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if mode.wait_for(|mode| *mode == Mode::Forward).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}
