//! Who gets mail for an address, each with a token that lets the proxy deliver.

use std::sync::Arc;

use rookery_proto::directory::v1::{Destination, ResolveRecipient, ResolvedRecipient, Rights};
use rookery_proto::{Peer, Reason, Status};

use crate::clock::now_millis;
use crate::lookup::{Lookup, Sureness};
use crate::resolve::{ResolveError, look_up};
use crate::schema::read::Rows;

/// How long an answer may be kept. Its tokens outlive that by the time that a message may take to arrive.
const CACHE_MILLIS: u32 = 120_000;

/// Longest address that is looked up. RFC 5321 §4.5.3.1.3 has 256 octets for a path.
const ADDRESS_BYTES_MAX: usize = 1_024;

pub(super) async fn run(
    lookup: &Lookup,
    peer: &Peer,
    request: ResolveRecipient,
) -> Result<ResolvedRecipient, Status> {
    if request.address.len() > ADDRESS_BYTES_MAX {
        return Err(Status::invalid("the address is too long"));
    }
    let address: Arc<str> = request.address.into();
    let look_up_in = |address: Arc<str>| move |rows: Rows<'_>| look_up(rows, &address);
    let mut found = lookup
        .read(Sureness::Bounded, look_up_in(Arc::clone(&address)))
        .await?;
    let is_sure = matches!(&found, Ok(resolved) if !resolved.rests_on_absence);
    if !is_sure && !lookup.is_final(Sureness::Bounded) {
        found = lookup.read(Sureness::Confirmed, look_up_in(address)).await?;
    }
    let accounts = found?.accounts;
    let now = now_millis();
    let mut destinations = Vec::with_capacity(accounts.len());
    for (id, found) in accounts {
        let signed = lookup
            .tokens()
            .sign(id, &found.account, Rights::Deliver, peer, now)?;
        destinations.push(Destination {
            account: id.0,
            shard: found.account.shard,
            generation: found.account.generation,
            token: signed.token,
            address: found.address,
        });
    }
    Ok(ResolvedRecipient {
        destinations,
        cache_millis: CACHE_MILLIS,
    })
}

impl From<ResolveError> for Status {
    fn from(error: ResolveError) -> Self {
        let reason = match error {
            ResolveError::NotLocal(_) => Reason::NotLocal,
            ResolveError::Unknown(_) => Reason::NotFound,
            ResolveError::Suspended(_) => Reason::Suspended,
            ResolveError::Creating(_) => Reason::Unavailable,
            ResolveError::Loop(_) => Reason::AliasLoop,
            ResolveError::Read(_) => Reason::Internal,
        };
        Status::new(reason, error.to_string())
    }
}
