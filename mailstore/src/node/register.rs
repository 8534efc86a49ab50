//! Tells the directory again and again that this node is there, what it holds, leads and what that costs, and takes in what it
//! is told.

use std::sync::Arc;
use std::time::Duration;

use rookery_process::health::Health;
use rookery_proto::directory::v1::{RegisterNode, RegisteredNode, Request, reply, request};
use rookery_proto::{Call, CallContext, Caller, DirectoryProtocol, Reason, Status};
use tokio::sync::watch;

use super::CONDITION_REGISTERED;
use crate::service::Shards;

/// How often a node tells the directory that it is there.
pub(super) const REGISTER_INTERVAL: Duration = Duration::from_secs(2);

/// How long the directory has to answer a registration.
pub(super) const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// Registers at once when what the node holds or leads has changed, and otherwise after each interval; what replicas cost is told with
/// the latter alone. Does not end. Says that the node is taken in once it is, or once it is not known whether it would be.
pub(super) async fn register(
    directory: Arc<dyn Caller<DirectoryProtocol>>,
    mut register: RegisterNode,
    shards: Arc<Shards>,
    health: Health,
    taken_in: watch::Sender<bool>,
) {
    let mut ticks = tokio::time::interval(REGISTER_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        register.loads = tokio::select! {
            _ = ticks.tick() => shards.loads(),
            () = shards.changed() => Vec::new(),
        };
        register.accounts = match register.loads.is_empty() {
            true => Vec::new(),
            false => shards.heaviest_accounts(),
        };
        (register.held, register.lost, register.led) = shards.report();
        let disk = shards.disk();
        (register.disk_total, register.disk_free) = (disk.total, disk.free);
        let sync_time = shards.member().sync_time();
        register.log_sync_micros = u64::try_from(sync_time.as_micros()).unwrap_or(u64::MAX);
        match tell(directory.as_ref(), register.clone()).await {
            Ok(registered) => {
                shards.member().set_fetch_rate(registered.fetch_rate_max);
                health.met(CONDITION_REGISTERED);
                taken_in.send_replace(true);
                told = None;
            }
            Err(status) if status.reason == Reason::FailedPrecondition => {
                // It is for a person to make good. Until then who asks whether this node is ready hears why not.
                health.unmet(CONDITION_REGISTERED, status.message.as_str());
                if told.as_ref() != Some(&status) {
                    tracing::error!("the directory does not take this node in: {}", status.message);
                    told = Some(status);
                }
            }
            Err(status) => {
                taken_in.send_replace(true);
                if told.as_ref().map(|told| told.reason) != Some(status.reason) {
                    tracing::warn!(%status, "cannot register with the directory; trying again");
                    told = Some(status);
                }
            }
        }
    }
}

/// Registers once.
pub(super) async fn tell(
    directory: &dyn Caller<DirectoryProtocol>,
    register: RegisterNode,
) -> Result<RegisteredNode, Status> {
    let call = Call {
        context: CallContext::with_timeout(REGISTER_TIMEOUT),
        request: Request {
            call: Some(request::Call::RegisterNode(register)),
            ..Request::default()
        },
        body: None,
    };
    match directory.call(call).single().await?.call {
        Some(reply::Call::RegisteredNode(registered)) => Ok(registered),
        _ => Err(Status::internal(
            "the directory answered a registration with something else",
        )),
    }
}
