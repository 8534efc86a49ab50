//! Which role may make which call.

use rookery_proto::mailstore::v1::request::Call;
use rookery_proto::{Peer, Reason, Role, Status};

/// Refuses calls that the peer's role may not make.
pub(super) fn check_role(peer: &Peer, call: &Call) -> Result<(), Status> {
    let allowed = match call {
        Call::PutAccount(_)
        | Call::PurgeAccount(_)
        | Call::ExportShard(_)
        | Call::ImportRows(_)
        | Call::ImportAccount(_)
        | Call::LeaveAccount(_)
        | Call::FreezeAccount(_)
        | Call::ExportAccount(_)
        | Call::ReceiveAccount(_)
        | Call::TakeRows(_)
        | Call::SettleAccount(_)
        | Call::DepartAccount(_)
        | Call::CompareReplicas(_) => peer.role == Role::Directory,
        Call::Watch(_) => matches!(peer.role, Role::Directory | Role::Proxy),
        _ => peer.role == Role::Proxy,
    };
    if allowed {
        return Ok(());
    }
    let message = format!(
        "{} is a {} and may not make this call",
        peer.node,
        peer.role.as_str()
    );
    Err(Status::new(Reason::PermissionDenied, message))
}
