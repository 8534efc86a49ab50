//! The life of accounts: created, made live, changed, suspended, deleted, purged.
//!
//! Whenever an account's shard has to be told something, a *due* row is written in the same batch: that the account is to
//! be looked at from a time on. Who looks compares the account with its shard and removes the row when both agree, so
//! nothing is forgotten whatever crashes when.

use std::collections::HashSet;

use rookery_proto::directory::v1::NodeRole;
use rookery_replication::{Batch, Column};

use super::{PlanError, Planned};
use crate::address::{Address, DomainName};
use crate::placement::account::{ShardLoad, choose};
use crate::resolve;
use crate::schema::read::{ReadError, Rows};
use crate::schema::row::{self, Life, Row};
use crate::schema::{AccountId, ShardId, key};

/// Accounts that one request may create.
pub const NEW_ACCOUNTS_MAX: usize = 1_000;

/// An account to be made.
#[derive(Debug, Clone)]
pub struct New {
    /// Its primary address.
    pub address: String,
    /// The password's hash in PHC form.
    pub secret: String,
    /// 0: no limit.
    pub quota_bytes: u64,
}

/// An account and its id.
pub type Identified = (AccountId, row::Account);

/// Creates accounts, all or none. They are to be put on their shards, then made live by [`made_live`].
pub fn add(rows: Rows<'_>, new: &[New], now_millis: u64) -> Result<Planned<Vec<Identified>>, PlanError> {
    if new.len() > NEW_ACCOUNTS_MAX {
        return Err(PlanError::Invalid(format!(
            "at most {NEW_ACCOUNTS_MAX} accounts at a time"
        )));
    }
    let loads = shard_loads(rows)?;
    if loads.is_empty() {
        return Err(PlanError::Precondition(
            "no shard has a place yet: start the expected number of mailstores first".to_owned(),
        ));
    }
    let shards = choose(new.len(), &loads);
    let mut sequences = rows.sequences()?;
    let mut batch = Batch::new();
    let mut taken = HashSet::new();
    let mut domains: HashSet<DomainName> = HashSet::new();
    let mut recipients_changed = false;
    let mut accounts = Vec::with_capacity(new.len());
    for (new, shard) in new.iter().zip(shards) {
        let address = Address::parse_plain(&new.address)
            .map_err(|error| PlanError::Invalid(format!("{:?}: {error}", new.address)))?;
        if !domains.contains(address.domain()) {
            if rows.domain(address.domain())?.is_none() {
                return Err(PlanError::NotFound(format!(
                    "there is no domain {}: add it first",
                    address.domain()
                )));
            }
            domains.insert(address.domain().clone());
        }
        if !taken.insert(address.to_string()) || is_taken(rows, &address)? {
            return Err(PlanError::AlreadyExists(format!(
                "the address {address} is taken"
            )));
        }
        // Mail for it may have gone elsewhere until now: to a catch-all, to its base, to an account as postmaster.
        recipients_changed |= takes_mail_from_others(rows, &address)?;
        sequences.accounts += 1;
        let id = AccountId(sequences.accounts);
        let account = row::Account {
            address: address.to_string(),
            life: Life::Creating.into(),
            suspended: false,
            shard: shard.0,
            generation: 1,
            quota_bytes: new.quota_bytes,
            credential_generation: 1,
            secret: new.secret.clone(),
            created_at_millis: now_millis,
            purge_at_millis: 0,
        };
        put(&mut batch, id, &account);
        put_due(&mut batch, DUE_AT_ONCE, id);
        batch.put(
            Column::Rows,
            key::address(&address),
            row::AddressOwner { account: id.0 }.to_stored(),
        );
        batch.add(key::count_accounts(), 1);
        batch.add(key::count_domain_accounts(address.domain()), 1);
        batch.add(key::count_shard_accounts(shard), 1);
        accounts.push((id, account));
    }
    batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    let mut planned = Planned::new(batch, accounts);
    planned.event.recipients_changed = recipients_changed;
    Ok(planned)
}

/// When that is due which is to be done at once: no clock that was wrong can put it off.
pub const DUE_AT_ONCE: u64 = 0;

/// What a shard was told of an account, because of a due row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The due row's time.
    pub due_millis: u64,
    /// The account.
    pub id: AccountId,
    /// The quota that the shard has now.
    pub quota_bytes: u64,
}

/// The shards have these accounts: they are live, and no longer due unless they have changed again.
pub fn made_live(rows: Rows<'_>, told: &[Told]) -> Result<Planned<()>, PlanError> {
    let mut batch = Batch::new();
    for told in told {
        let Some(mut account) = rows.account(told.id)? else {
            batch.delete(Column::Rows, key::due(told.due_millis, told.id));
            continue;
        };
        if account.life() == Life::Deleted {
            // The row may be the one that says when its mail goes.
            if account.purge_at_millis != told.due_millis {
                batch.delete(Column::Rows, key::due(told.due_millis, told.id));
            }
            continue;
        }
        if account.quota_bytes == told.quota_bytes {
            batch.delete(Column::Rows, key::due(told.due_millis, told.id));
        }
        if account.life() == Life::Creating {
            account.life = Life::Live.into();
            put(&mut batch, told.id, &account);
        }
    }
    Ok(Planned::new(batch, ()))
}

/// Another password.
pub fn set_password(rows: Rows<'_>, address: &str, secret: &str) -> Result<Planned<AccountId>, PlanError> {
    let (id, mut account) = find(rows, address)?;
    account.secret = secret.to_owned();
    account.credential_generation += 1;
    let mut batch = Batch::new();
    put(&mut batch, id, &account);
    Ok(Planned::new(batch, id).account_changed(id, true))
}

/// Another quota. The shard is to be told.
pub fn set_quota(rows: Rows<'_>, address: &str, quota_bytes: u64) -> Result<Planned<AccountId>, PlanError> {
    let (id, mut account) = find(rows, address)?;
    account.quota_bytes = quota_bytes;
    let mut batch = Batch::new();
    put(&mut batch, id, &account);
    put_due(&mut batch, DUE_AT_ONCE, id);
    Ok(Planned::new(batch, id))
}

/// Suspends an account, or gives it back.
pub fn set_suspended(
    rows: Rows<'_>,
    address: &str,
    suspended: bool,
) -> Result<Planned<AccountId>, PlanError> {
    let (id, mut account) = find(rows, address)?;
    if account.suspended == suspended {
        return Ok(Planned::new(Batch::new(), id));
    }
    account.suspended = suspended;
    if suspended {
        account.credential_generation += 1;
    }
    let mut batch = Batch::new();
    put(&mut batch, id, &account);
    let planned = Planned::new(batch, id).account_changed(id, suspended);
    // Aliases were expanded without it until now.
    Ok(if suspended {
        planned
    } else {
        planned.recipients_changed()
    })
}

/// Deletes an account: its address is free at once, its mail is to go after the grace time.
pub fn delete(
    rows: Rows<'_>,
    address: &str,
    now_millis: u64,
    grace_millis: u64,
) -> Result<Planned<AccountId>, PlanError> {
    let (id, mut account) = find(rows, address)?;
    let address = Address::parse(&account.address)?;
    account.life = Life::Deleted.into();
    account.credential_generation += 1;
    account.secret = String::new();
    account.purge_at_millis = now_millis.saturating_add(grace_millis);
    let mut batch = Batch::new();
    batch.delete(Column::Rows, key::address(&address));
    put(&mut batch, id, &account);
    put_due(&mut batch, account.purge_at_millis, id);
    batch.add(key::count_accounts(), -1);
    batch.add(key::count_domain_accounts(address.domain()), -1);
    Ok(Planned::new(batch, id)
        .account_changed(id, true)
        .recipients_changed())
}

/// An account that a shard has purged, because of a due row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// The due row's time.
    pub due_millis: u64,
    /// The account.
    pub id: AccountId,
    /// The shard that it was purged in.
    pub shard: ShardId,
    /// The generation of its placement there.
    pub generation: u64,
}

/// The shards have purged these accounts: nothing is left of them but that their ids are used. Those that have gone to another shard
/// meanwhile stay due, and are purged there.
pub fn purged(rows: Rows<'_>, gone: &[Purged]) -> Result<Planned<()>, PlanError> {
    let mut batch = Batch::new();
    for purged in gone {
        let (due, id) = (key::due(purged.due_millis, purged.id), purged.id);
        let Some(account) = rows.account(id)? else {
            batch.delete(Column::Rows, due);
            continue;
        };
        if (account.shard, account.generation) != (purged.shard.0, purged.generation) {
            continue;
        }
        batch.delete(Column::Rows, due);
        if account.life() == Life::Deleted {
            batch.delete(Column::Rows, key::account(id));
            batch.add(key::count_shard_accounts(ShardId(account.shard)), -1);
        }
    }
    Ok(Planned::new(batch, ()))
}

/// The account that has an address as its own.
pub fn find(rows: Rows<'_>, address: &str) -> Result<Identified, PlanError> {
    let address = Address::parse(address)?;
    let unknown = || PlanError::NotFound(format!("there is no account {address}"));
    let id = rows.owner(&address)?.ok_or_else(unknown)?;
    let account = rows.account(id)?.ok_or_else(unknown)?;
    Ok((id, account))
}

fn put(batch: &mut Batch, id: AccountId, account: &row::Account) {
    batch.put(Column::Rows, key::account(id), account.to_stored());
}

fn put_due(batch: &mut Batch, at_millis: u64, id: AccountId) {
    batch.put(Column::Rows, key::due(at_millis, id), Vec::new());
}

fn is_taken(rows: Rows<'_>, address: &Address) -> Result<bool, ReadError> {
    Ok(rows.owner(address)?.is_some() || rows.alias(address.domain(), address.local())?.is_some())
}

fn takes_mail_from_others(rows: Rows<'_>, address: &Address) -> Result<bool, PlanError> {
    match resolve::resolve(rows, &address.to_string()) {
        Err(resolve::ResolveError::Unknown(_)) => {}
        Err(resolve::ResolveError::Read(error)) => return Err(error.into()),
        Ok(_) | Err(_) => return Ok(true),
    }
    let first = rows.first_address(address.domain())?;
    Ok(first.is_some_and(|first| address.local() < first.local()))
}

pub(super) fn shard_loads(rows: Rows<'_>) -> Result<Vec<ShardLoad>, ReadError> {
    let weights: std::collections::HashMap<String, u32> = rows
        .nodes()?
        .into_iter()
        .filter(|(_, node)| node.role == i32::from(NodeRole::Mailstore))
        .map(|(id, node)| (id, node.weight))
        .collect();
    let mut loads = Vec::new();
    for (id, shard) in rows.shards()? {
        // One that a split makes beside those that are served: nobody could have an account there yet.
        if shard.added && !shard.formed {
            continue;
        }
        let node = shard.replicas.into_iter().next().unwrap_or_default().node;
        let weight = weights.get(&node).copied().unwrap_or(100);
        loads.push(ShardLoad {
            id,
            node,
            weight,
            accounts: rows.counter(&key::count_shard_accounts(id))?,
        });
    }
    Ok(loads)
}
