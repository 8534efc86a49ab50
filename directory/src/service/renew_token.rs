//! A new token for an old one, as long as the account still allows it.

use rookery_proto::directory::v1::{Authenticated, RenewToken};
use rookery_proto::{Peer, Reason, Status};

use super::authenticate::grant;
use crate::clock::now_millis;
use crate::core::Core;
use crate::schema::AccountId;

pub(super) async fn run(core: &Core, peer: &Peer, request: &RenewToken) -> Result<Authenticated, Status> {
    let claims = core
        .tokens
        .check(&request.token, &peer.certificate, now_millis())?;
    let id = AccountId(claims.account);
    let account = core.state.read(move |rows| rows.account(id)).await??;
    let ended = || {
        Status::new(
            Reason::Suspended,
            "the account was deleted, suspended or has another password now",
        )
    };
    let account = account.ok_or_else(ended)?;
    if account.credential_generation != claims.credential_generation {
        return Err(ended());
    }
    grant(core, peer, id, &account, claims.rights())
}
