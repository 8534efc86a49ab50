//! Checks a password and gives a token for the account.

use std::time::Instant;

use rookery_proto::directory::v1::{Authenticate, Authenticated, Rights};
use rookery_proto::{Peer, Reason, Status};

use crate::clock::now_millis;
use crate::core::Core;
use crate::credentials::{Stored, Verdict};
use crate::resolve::login;
use crate::schema::AccountId;
use crate::schema::row::{Account, Life};

pub(super) async fn run(
    core: &Core,
    peer: &Peer,
    request: Authenticate,
    deadline: Instant,
) -> Result<Authenticated, Status> {
    let Authenticate {
        login: name,
        password,
        client,
    } = request;
    let held = core.state.read(move |rows| login(rows, &name)).await??;
    let stored = held.as_ref().map(|(id, account)| Stored {
        account: *id,
        generation: account.credential_generation,
        secret: account.secret.clone(),
    });
    let verdict = core
        .credentials
        .verify(stored.as_ref(), &password, deadline)
        .await?;
    let (Some((id, account)), Verdict::Right) = (held, verdict) else {
        // Names and passwords are often mixed up, so neither is logged.
        tracing::info!(client, "a login failed");
        return Err(Status::new(
            Reason::BadCredentials,
            "the name or the password is wrong",
        ));
    };
    // It may have changed while the password was verified.
    let now = core.state.read(move |rows| rows.account(id)).await??;
    let Some(now) = now.filter(|now| now.secret == account.secret) else {
        return Err(Status::unavailable("the account is being changed; try again"));
    };
    grant(core, peer, id, &now, Rights::Owner)
}

/// A token for an account, if its state allows one.
pub(super) fn grant(
    core: &Core,
    peer: &Peer,
    id: AccountId,
    account: &Account,
    rights: Rights,
) -> Result<Authenticated, Status> {
    if account.suspended || account.life() == Life::Deleted {
        return Err(Status::new(Reason::Suspended, "the account is suspended"));
    }
    if account.life() != Life::Live {
        return Err(Status::unavailable(
            "the account is still being created; try again",
        ));
    }
    let signed = core
        .tokens
        .sign(id, account, rights, &peer.certificate, now_millis())?;
    Ok(Authenticated {
        account: id.0,
        shard: account.shard,
        generation: account.generation,
        token: signed.token.into(),
        token_expires_at_millis: signed.expires_at_millis,
        address: account.address.clone(),
    })
}
