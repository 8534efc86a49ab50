//! Checks a password and gives a token for the account.

use std::time::Instant;

use rookery_proto::directory::v1::{Authenticate, Authenticated, Rights};
use rookery_proto::{Peer, Reason, Status};

use crate::clock::now_millis;
use crate::credentials::{Stored, Verdict};
use crate::lookup::{Lookup, Sureness};
use crate::resolve::login;
use crate::schema::AccountId;
use crate::schema::row::{Account, Life};

pub(super) async fn run(
    lookup: &Lookup,
    peer: &Peer,
    request: Authenticate,
    deadline: Instant,
) -> Result<Authenticated, Status> {
    let mut attempt = Attempt {
        lookup,
        request,
        deadline,
        verified: None,
    };
    let granted = attempt.make(peer, Sureness::Bounded).await;
    let granted = match granted {
        Err(status) if !lookup.is_final(Sureness::Bounded) && !status.is_retryable() => {
            attempt.make(peer, Sureness::Confirmed).await
        }
        granted => granted,
    };
    if let Err(status) = &granted
        && status.reason == Reason::BadCredentials
    {
        // Names and passwords are often mixed up, so neither is logged.
        tracing::info!(client = attempt.request.client, "a login failed");
    }
    granted
}

/// A login, which a member that follows may have to look at twice.
struct Attempt<'a> {
    lookup: &'a Lookup,
    request: Authenticate,
    deadline: Instant,
    /// What the password was compared with, and what came of it: it costs too much to be done again.
    verified: Option<(Option<Stored>, Verdict)>,
}

impl Attempt<'_> {
    async fn make(&mut self, peer: &Peer, sureness: Sureness) -> Result<Authenticated, Status> {
        let name = self.request.login.clone();
        let held = self
            .lookup
            .read(sureness, move |rows| login(rows, &name))
            .await??;
        let verdict = self.verify(held.as_ref()).await?;
        let (Some((id, account)), Verdict::Right) = (held, verdict) else {
            return Err(Status::new(
                Reason::BadCredentials,
                "the name or the password is wrong",
            ));
        };
        // It may have changed while the password was verified.
        let read = self.lookup.read_versioned(sureness, move |rows| rows.account(id));
        let (now, version) = read.await?;
        let Some(now) = now.filter(|now| now.secret == account.secret) else {
            return Err(Status::unavailable("the account is being changed; try again"));
        };
        grant(self.lookup, peer, (id, &now), Rights::Owner, version)
    }

    async fn verify(&mut self, held: Option<&(AccountId, Account)>) -> Result<Verdict, Status> {
        let stored = held.map(|(id, account)| Stored {
            account: *id,
            generation: account.credential_generation,
            secret: account.secret.clone(),
        });
        if let Some((before, verdict)) = &self.verified
            && *before == stored
        {
            return Ok(*verdict);
        }
        let credentials = self.lookup.credentials();
        let password = &self.request.password;
        let verdict = credentials
            .verify(stored.as_ref(), password, self.deadline)
            .await?;
        self.verified = Some((stored, verdict));
        Ok(verdict)
    }
}

/// A token for an account as it is in a version of the state, if the account's own state allows one.
pub(super) fn grant(
    lookup: &Lookup,
    peer: &Peer,
    (id, account): (AccountId, &Account),
    rights: Rights,
    version: u64,
) -> Result<Authenticated, Status> {
    if account.suspended || account.life() == Life::Deleted {
        return Err(Status::new(Reason::Suspended, "the account is suspended"));
    }
    if account.life() != Life::Live {
        return Err(Status::unavailable(
            "the account is still being created; try again",
        ));
    }
    let signed = lookup.tokens().sign(id, account, rights, peer, now_millis())?;
    Ok(Authenticated {
        account: id.0,
        shard: account.shard,
        generation: account.generation,
        token: signed.token,
        token_expires_at_millis: signed.expires_at_millis,
        address: account.address.clone(),
        version,
    })
}
