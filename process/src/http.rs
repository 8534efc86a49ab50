//! The HTTP endpoint of every role: `/livez`, `/readyz`, `/metrics`, and what the role itself adds.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::Health;
use crate::telemetry;

/// Connections at a time; further ones wait.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send its request's head.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// How long a connection may live.
const CONNECTION_MAX: Duration = Duration::from_secs(300);

/// How long requests under way have once the endpoint is stopped.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Pause after a failure to accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the metrics are kept up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// A response that is still to come.
pub type Answering = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// Answers requests for paths that are not every role's.
pub type Handler = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// A bound HTTP endpoint.
pub struct HttpServer {
    listener: TcpListener,
    local: SocketAddr,
    handler: Option<Handler>,
}

impl HttpServer {
    /// Binds the endpoint.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            std::io::Error::new(
                error.kind(),
                format!("cannot listen for HTTP on {address}: {error}"),
            )
        })?;
        let local = listener.local_addr()?;
        Ok(Self {
            listener,
            local,
            handler: None,
        })
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The same with answers for further paths.
    pub fn with_handler(mut self, handler: Handler) -> Self {
        self.handler = Some(handler);
        self
    }

    /// Serves until cancelled; requests under way are answered then. Also keeps the process's metrics up.
    pub async fn run(self, health: Health, cancel: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let tasks = TaskTracker::new();
        let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
        loop {
            let next = async {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = cancel.cancelled() => break,
                _ = upkeep.tick() => {
                    telemetry::upkeep();
                    continue;
                }
                next = next => next,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept HTTP connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (health, handler, cancel) = (health.clone(), self.handler.clone(), cancel.clone());
            tasks.spawn(async move {
                let _ =
                    tokio::time::timeout(CONNECTION_MAX, connection(stream, health, handler, cancel)).await;
                drop(place);
            });
        }
        tasks.close();
        if tokio::time::timeout(CLOSE_MAX, tasks.wait()).await.is_err() {
            tracing::warn!("HTTP requests were still under way at the end of their grace time");
        }
    }
}

async fn connection(stream: TcpStream, health: Health, handler: Option<Handler>, cancel: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let began = Instant::now();
        let path = every_roles(request.uri().path());
        let answering: Answering = match (&handler, path) {
            (Some(handler), None) => handler(request),
            (_, Some("metrics")) if is_get(&request) => Box::pin(metrics()),
            _ => Box::pin(std::future::ready(answer(&request, &health))),
        };
        async move {
            let response = answering.await;
            measure(path.unwrap_or("other"), response.status(), began.elapsed());
            Ok::<_, Infallible>(response)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = cancel.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended");
    }
}

/// A path that every role answers, without its slash.
fn every_roles(path: &str) -> Option<&'static str> {
    match path {
        "/livez" => Some("livez"),
        "/readyz" => Some("readyz"),
        "/metrics" => Some("metrics"),
        _ => None,
    }
}

fn measure(path: &str, status: StatusCode, took: Duration) {
    let class = match status.as_u16() {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    telemetry::HTTP_REQUESTS.with(&[path, class]).increment(1);
    telemetry::HTTP_SECONDS.with(&[path]).record(took.as_secs_f64());
}

fn is_get(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET || request.method() == Method::HEAD
}

/// The page of metrics: made where blocking is allowed, for it asks whoever has something to tell.
async fn metrics() -> Response<Full<Bytes>> {
    match tokio::task::spawn_blocking(telemetry::render).await {
        Ok(Some(page)) => text(StatusCode::OK, page),
        Ok(None) => text(
            StatusCode::NOT_FOUND,
            "metrics are off: take node.metrics = false out of the configuration and start the node again\n"
                .to_owned(),
        ),
        Err(error) => {
            tracing::error!(%error, "the page of metrics could not be made");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the page could not be made: see the log\n".to_owned(),
            )
        }
    }
}

fn answer(request: &Request<Incoming>, health: &Health) -> Response<Full<Bytes>> {
    if !is_get(request) {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered here\n".to_owned(),
        );
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => {
            let missing = health.missing();
            if missing.is_empty() {
                text(StatusCode::OK, "ready\n".to_owned())
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
            }
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "there is /livez, /readyz and /metrics\n".to_owned(),
        ),
    }
}

/// Said of further paths while what answers them has not started.
pub fn starting() -> Response<Full<Bytes>> {
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "the node is starting: try again\n".to_owned(),
    )
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    /// Status line and body of the answer to a request.
    async fn ask(address: SocketAddr, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = format!("{request} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn tells_life_readiness_and_metrics() {
        // Whichever test comes first installs it for all.
        telemetry::install(&[telemetry::tests::CATALOGUE]);
        let health = Health::new();
        let cancel = CancellationToken::new();
        let server = HttpServer::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = server.local();
        let running = tokio::spawn(server.run(health.clone(), cancel.clone()));
        health.unmet("store", "opening");
        health.unmet("directory", "not reached yet");
        let ok = "HTTP/1.1 200 OK".to_owned();
        assert_eq!(ask(address, "GET /livez").await, (ok.clone(), "alive\n".into()));
        let (status, body) = ask(address, "GET /readyz").await;
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        assert_eq!(body, "directory: not reached yet\nstore: opening\n");
        health.met("store");
        health.met("directory");
        assert_eq!(ask(address, "GET /readyz").await.0, ok);
        assert!(ask(address, "GET /metrics").await.1.contains("rookery_process_"));
        assert_eq!(
            ask(address, "POST /livez").await.0,
            "HTTP/1.1 405 Method Not Allowed"
        );
        assert_eq!(ask(address, "GET /other").await.0, "HTTP/1.1 404 Not Found");
        // A connection that is idle does not hold the end up.
        let _idle = TcpStream::connect(address).await.unwrap();
        cancel.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_when_stopped() {
        let cancel = CancellationToken::new();
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler: Handler = {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            Arc::new(move |request| {
                let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
                Box::pin(async move {
                    begun.notify_one();
                    go_on.notified().await;
                    text(StatusCode::OK, request.uri().path().to_owned())
                })
            })
        };
        let server = HttpServer::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let server = server.with_handler(handler);
        let address = server.local();
        let running = tokio::spawn(server.run(Health::new(), cancel.clone()));
        let asking = tokio::spawn(async move { ask(address, "POST /api/v1/status").await });
        begun.notified().await;
        assert_eq!(ask(address, "GET /livez").await.1, "alive\n");
        cancel.cancel();
        go_on.notify_one();
        assert_eq!(asking.await.unwrap().1, "/api/v1/status");
        running.await.unwrap();
    }
}
