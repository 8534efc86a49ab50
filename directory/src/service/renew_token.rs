//! A new token for an old one, as long as the account still allows it.

use rookery_proto::directory::v1::{Authenticated, RenewToken};
use rookery_proto::{Peer, Reason, Status};

use super::authenticate::grant;
use crate::clock::now_millis;
use crate::lookup::{Lookup, Sureness};
use crate::schema::AccountId;

pub(super) async fn run(lookup: &Lookup, peer: &Peer, request: &RenewToken) -> Result<Authenticated, Status> {
    match renew(lookup, peer, request, Sureness::Bounded).await {
        Err(status) if !lookup.is_final(Sureness::Bounded) && !status.is_retryable() => {
            renew(lookup, peer, request, Sureness::Confirmed).await
        }
        renewed => renewed,
    }
}

async fn renew(
    lookup: &Lookup,
    peer: &Peer,
    request: &RenewToken,
    sureness: Sureness,
) -> Result<Authenticated, Status> {
    if lookup.follows() {
        // A member that follows knows the keys of what it has read.
        lookup.read(sureness, |_| ()).await?;
    }
    let claims = lookup.tokens().check(&request.token, peer, now_millis())?;
    let id = AccountId(claims.account);
    let read = lookup.read_versioned(sureness, move |rows| rows.account(id));
    let (account, version) = read.await?;
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
    grant(lookup, peer, (id, &account), claims.rights(), version)
}
