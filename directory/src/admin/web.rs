//! The operator's page and its JSON API, for the HTTP endpoint of the directory: read-only.
//!
//! `/` and the files beside it are the same for everybody; all under `/api/v1/` asks for the admin token as a bearer token, and
//! never takes it from a URL. Only the member that leads answers; the others say who does. Owns paths, headers and errors;
//! what is answered is what the operator's calls answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use rookery_process::http::Handler;
use rookery_proto::admin::v1::{GetStatusRequest, ListEventsRequest};
use rookery_proto::{Reason, Status};
use serde_json::{Value, json};

use super::auth::Bearer;
use super::{cluster, events, json as forms};
use crate::clock::now_millis;
use crate::core::Core;
use crate::post::Post;
use crate::rebalancer;
use crate::schema::read::Rows;

/// Where the API is.
const API: &str = "/api/v1/";

/// Shards of one answer.
const SHARDS_AT_ONCE: u32 = 1_000;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Only what comes from here is run, shown or asked; nothing else may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const FILES: [File; 4] = [
    File {
        path: "/",
        kind: "text/html; charset=utf-8",
        text: include_str!("page/page.html"),
    },
    File {
        path: "/page.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("page/page.css"),
    },
    File {
        path: "/page.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("page/page.js"),
    },
    File {
        path: "/page.svg",
        kind: "image/svg+xml",
        text: include_str!("page/page.svg"),
    },
];

/// Why there is no answer.
struct Refusal {
    status: StatusCode,
    message: String,
    /// The HTTP endpoint of the member that leads, when this one does not and it is known.
    leader_http: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            leader_http: None,
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let code = match status.reason {
            Reason::NotFound => StatusCode::NOT_FOUND,
            Reason::InvalidArgument => StatusCode::BAD_REQUEST,
            Reason::Unavailable | Reason::NotLeader | Reason::DeadlineExceeded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(code, status.message)
    }
}

/// Answers all paths that are not every role's.
pub(crate) fn handler(post: Arc<Post>, bearer: Bearer) -> Handler {
    Arc::new(move |request| {
        let (post, bearer) = (Arc::clone(&post), bearer.clone());
        Box::pin(async move { answer(&post, &bearer, request).await })
    })
}

async fn answer(post: &Post, bearer: &Bearer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(file) = FILES.iter().find(|file| file.path == path) {
        return match is_read {
            true => response(StatusCode::OK, file.kind, file.text.to_owned()),
            false => refused(&not_a_read()),
        };
    }
    let Some(name) = path.strip_prefix(API) else {
        let message = "there is /, /api/v1/, /livez, /readyz and /metrics";
        return refused(&Refusal::new(StatusCode::NOT_FOUND, message));
    };
    let header = request.headers().get(header::AUTHORIZATION);
    if let Err(message) = bearer.check(header.and_then(|value| value.to_str().ok())) {
        return refused(&Refusal::new(StatusCode::UNAUTHORIZED, message));
    }
    if !is_read {
        return refused(&not_a_read());
    }
    let asked = ask(post, name, request.uri().query().unwrap_or_default());
    match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(Ok(value)) => response(StatusCode::OK, "application/json", value.to_string()),
        Ok(Err(refusal)) => refused(&refusal),
        Err(_) => {
            let message = "the directory took too long to answer: try again";
            refused(&Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message))
        }
    }
}

fn not_a_read() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "only GET is answered here: changes are made with `rookery`",
    )
}

async fn ask(post: &Post, name: &str, query: &str) -> Result<Value, Refusal> {
    let known: &[&str] = match name {
        "cluster" | "rebalance" => &[],
        "shards" => &["after", "limit"],
        "events" => &["after", "since_millis", "limit"],
        _ => {
            let message = "there is cluster, shards, rebalance and events under /api/v1/";
            return Err(Refusal::new(StatusCode::NOT_FOUND, message));
        }
    };
    let given = numbers(query, known)?;
    let Ok(core) = post.core() else {
        return Err(Refusal {
            leader_http: leader_http(post).await,
            ..Refusal::from(post.not_leading())
        });
    };
    let number = |name: &str| given.get(name).copied();
    let limit =
        |most: u32| number("limit").map_or(most, |limit| u32::try_from(limit).unwrap_or(most).min(most));
    match name {
        "cluster" => Ok(forms::status(&cluster::status(&core, GetStatusRequest {}).await?)),
        "shards" => shards(&core, number("after"), limit(SHARDS_AT_ONCE)).await,
        "rebalance" => rebalance(&core).await,
        _ => {
            let request = ListEventsRequest {
                after: number("after"),
                since_millis: number("since_millis").unwrap_or(0),
                limit: limit(u32::MAX),
            };
            let listed = events::list(&core, request).await?.events;
            Ok(json!({ "events": listed.iter().map(forms::event).collect::<Vec<_>>() }))
        }
    }
}

/// A page of the shards; `next` is what comes as `after` for the one that follows.
async fn shards(core: &Core, after: Option<u64>, limit: u32) -> Result<Value, Refusal> {
    let limit = limit.max(1) as usize;
    let after = after.map(|after| u32::try_from(after).unwrap_or(u32::MAX));
    let listed = cluster::shards(core, after, limit + 1).await?;
    let page = &listed[..listed.len().min(limit)];
    let next = (listed.len() > limit).then(|| page.last().map(|shard| shard.id));
    Ok(json!({ "shards": forms::shards(page), "next": next }))
}

/// The last rebalance; null when there has been none.
async fn rebalance(core: &Core) -> Result<Value, Refusal> {
    let job = rebalancer::last_job(core).await?;
    Ok(job.map_or(Value::Null, |job| {
        forms::job(&rebalancer::shown(job, &core.reports.all(), now_millis()))
    }))
}

/// The parameters of a query, all of them numbers.
fn numbers<'a>(query: &'a str, known: &[&str]) -> Result<HashMap<&'a str, u64>, Refusal> {
    let mut given = HashMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) {
            let message = match known {
                [] => "no parameter is known here".to_owned(),
                known => format!("the parameters here are {}", known.join(", ")),
            };
            return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
        }
        let value = value
            .parse()
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, format!("{name} must be a number")))?;
        given.insert(name, value);
    }
    Ok(given)
}

/// Where the member that leads answers HTTP, as its row says.
async fn leader_http(post: &Post) -> Option<String> {
    let leader = post.leader()?;
    let store = Arc::clone(post.member.store());
    let reading = post.member.store();
    let row = reading
        .blocking(move || Rows(&store.snapshot()).node(&leader))
        .await
        .ok()?
        .ok()??;
    Some(row.http)
}

fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut body = json!({ "error": refusal.message });
    if let Some(leader) = &refusal.leader_http {
        body["leader_http"] = leader.as_str().into();
    }
    let mut response = response(refusal.status, "application/json", body.to_string());
    let headers = response.headers_mut();
    match refusal.status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        _ => {}
    }
    response
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
