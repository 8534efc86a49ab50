//! What a small call costs: CPU time of the whole process (caller and callee) for each call, over either transport.
//!
//! `cargo run -p rookery-proto --example call_cost`
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

#[path = "../tests/support/certificates.rs"]
#[allow(dead_code, unreachable_pub)]
mod certificates;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rookery_proto::local::Local;
use rookery_proto::mailstore::v1::{Done, Reply, Request, reply};
use rookery_proto::remote::{ConnectOptions, Endpoint, Server, ServerOptions, connect};
use rookery_proto::{
    Call, CallContext, Caller, Incoming, MailstoreProtocol, ReplySink, Role, Service, Status,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(3);

struct Fixed;

impl Service<MailstoreProtocol> for Fixed {
    fn serve(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            let done = Done {
                modseq: call.request.seen_modseq,
            };
            replies
                .send(Reply {
                    call: Some(reply::Call::Done(done)),
                })
                .await
        })
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let authority = certificates::Authority::new();
    let proxy = authority.node("proxy-1", Role::Proxy, "c1");
    let local: Arc<dyn Caller<MailstoreProtocol>> = Arc::new(Local::new(Arc::new(Fixed), proxy.peer()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = authority.node("mailstore-1", Role::Mailstore, "c1");
    let stop = CancellationToken::new();
    let server = Server::new(tls, ServerOptions::default(), stop.clone())
        .add::<MailstoreProtocol>(Arc::new(Fixed), &[Role::Proxy]);
    let serving = tokio::spawn(server.serve(listener));
    let endpoint = Endpoint {
        address,
        role: Role::Mailstore,
        tls: proxy,
    };
    let remote: Arc<dyn Caller<MailstoreProtocol>> =
        Arc::new(connect::<MailstoreProtocol>(endpoint, ConnectOptions::default()).unwrap());
    for (name, caller) in [("local", local), ("remote", remote)] {
        for callers in [1, 16, 64] {
            measure(name, &caller, callers).await;
        }
    }
    stop.cancel();
    serving.await.unwrap().unwrap();
}

async fn measure(name: &str, caller: &Arc<dyn Caller<MailstoreProtocol>>, callers: usize) {
    // The first call makes the connection.
    one(&**caller).await;
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let caller = Arc::clone(caller);
            tokio::spawn(async move {
                let mut calls = 0u32;
                while began.elapsed() < MEASURED {
                    one(&*caller).await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let calls = f64::from(calls);
    println!(
        "{name:6} {callers:3} callers: {:6.2} µs CPU a call, {:8.0} calls/s, {:6.1} µs a call at its caller",
        cpu / calls * 1e6,
        calls / wall,
        wall / calls * 1e6 * callers as f64,
    );
}

async fn one(caller: &dyn Caller<MailstoreProtocol>) {
    let context = CallContext::with_timeout(Duration::from_secs(10)).token(vec![7; 120].into());
    let request = Request {
        seen_modseq: 7,
        ..Request::default()
    };
    caller
        .call(Call {
            context,
            request,
            body: None,
        })
        .single()
        .await
        .unwrap();
}

/// CPU time of the process so far, from its clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / 100.0
}
