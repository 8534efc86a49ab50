//! A restore: begun, rows taken in, accounts finished, ended.
//!
//! A restored account is *awaited* until its shard has all of it: it has its id, address and secret, a shard of this
//! cluster, and is as good as being created, so that mail for it is told to come later. Every step can be made again.

use std::collections::HashSet;
use std::ops::ControlFlow;

use rookery_replication::{Batch, Column};

use super::account::{DUE_AT_ONCE, shard_loads};
use super::{PlanError, Planned};
use crate::placement::account::choose;
use crate::schema::portable::Portable;
use crate::schema::read::Rows;
use crate::schema::row::{self, Life, Row};
use crate::schema::{AccountId, ShardId, key};

/// Rows that one change takes in.
pub const ROWS_MAX: usize = 500;

/// Accounts that one change ends with.
const END_ACCOUNTS_MAX: usize = 500;

/// Begins a restore, or goes on with it.
pub fn begin(rows: Rows<'_>, backup_id: &str, last_account: u64) -> Result<Planned<()>, PlanError> {
    if backup_id.is_empty() {
        return Err(PlanError::Invalid("a backup has an id".to_owned()));
    }
    let mut sequences = rows.sequences()?;
    let mut batch = Batch::new();
    match rows.restore()? {
        Some(under_way) if under_way.backup_id == backup_id => {}
        Some(under_way) => {
            return Err(PlanError::Precondition(format!(
                "a restore of backup {} is under way: run it to its end, or restore into a new cluster",
                under_way.backup_id
            )));
        }
        None if sequences.accounts > 0 => {
            return Err(PlanError::Precondition(format!(
                "the cluster is not empty: {} accounts were made in it; restore into a new cluster",
                sequences.accounts
            )));
        }
        None if rows.shards()?.is_empty() => {
            return Err(PlanError::Precondition(
                "no shard has a place yet: start the expected number of mailstores first".to_owned(),
            ));
        }
        None => {
            let under_way = row::Restore {
                backup_id: backup_id.to_owned(),
            };
            batch.put(Column::Rows, key::restore(), under_way.to_stored());
        }
    }
    // Ids of the backup are never given to others.
    if sequences.accounts < last_account {
        sequences.accounts = last_account;
        batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    }
    Ok(Planned::new(batch, ()))
}

/// Refuses what belongs to a restore that is not under way.
pub fn check(rows: Rows<'_>, backup_id: &str) -> Result<(), PlanError> {
    match rows.restore()? {
        Some(under_way) if under_way.backup_id == backup_id => Ok(()),
        _ => Err(PlanError::Precondition(format!(
            "no restore of backup {backup_id} is under way: begin it first"
        ))),
    }
}

/// Takes in rows of a backup's directory. What is there already stays, if it is the same.
pub fn take(rows: Rows<'_>, taken: &[Portable]) -> Result<Planned<()>, PlanError> {
    if rows.restore()?.is_none() {
        return Err(PlanError::Precondition("no restore is under way".to_owned()));
    }
    let mut batch = Batch::new();
    let mut domains = Vec::new();
    let mut accounts = Vec::new();
    for row in taken {
        match row {
            Portable::Domain(name, domain) => domains.push((name, domain)),
            Portable::Address(address, owner) => {
                match rows.owner(address)? {
                    Some(known) if known == *owner => continue,
                    None if rows.alias(address.domain(), address.local())?.is_none() => {}
                    _ => return Err(taken_meanwhile(&address.to_string())),
                }
                let stored = row::AddressOwner { account: owner.0 }.to_stored();
                batch.put(Column::Rows, key::address(address), stored);
                batch.add(key::count_domain_accounts(address.domain()), 1);
            }
            Portable::Alias(domain, local, alias) => {
                match rows.alias(domain, local)? {
                    Some(known) if known == *alias => continue,
                    Some(_) => return Err(taken_meanwhile(&format!("{local}@{domain}"))),
                    None => {}
                }
                batch.put(Column::Rows, key::alias(domain, local), alias.to_stored());
                batch.add(key::count_domain_aliases(domain), 1);
                for target in &alias.targets {
                    let target = crate::address::Address::parse(target)?;
                    let row = key::alias_target(&target, domain, local);
                    batch.put(Column::Rows, row, Vec::new());
                }
            }
            // An id of the backup that is there was restored before: others are above its last.
            Portable::Account(id, account) => {
                if rows.account(*id)?.is_none() {
                    accounts.push((*id, account));
                }
            }
            // What these say is made anew.
            Portable::Sequences(_) | Portable::DomainOrder | Portable::AliasTarget | Portable::Due => {}
        }
    }
    take_domains(rows, &domains, &mut batch)?;
    take_accounts(rows, &accounts, &mut batch)?;
    Ok(Planned::new(batch, ()).recipients_changed())
}

fn taken_meanwhile(name: &str) -> PlanError {
    PlanError::AlreadyExists(format!(
        "{name} was given to something else in this cluster: remove that, then run the restore again"
    ))
}

/// Domains keep their places in the order when those are free.
fn take_domains(
    rows: Rows<'_>,
    domains: &[(&crate::address::DomainName, &row::Domain)],
    batch: &mut Batch,
) -> Result<(), PlanError> {
    // All domains are read below: too much for each of many changes that bring none.
    if domains.is_empty() {
        return Ok(());
    }
    let mut used = HashSet::new();
    rows.scan(&key::domains(), |_, domain: row::Domain| {
        used.insert(domain.ordinal);
        ControlFlow::Continue(())
    })?;
    let mut sequences = rows.sequences()?;
    let before = sequences.domains;
    for (name, domain) in domains {
        if rows.domain(name)?.is_some() {
            continue;
        }
        let mut domain = row::Domain::clone(domain);
        if !used.insert(domain.ordinal) {
            domain.ordinal = used.iter().max().copied().unwrap_or(0).max(sequences.domains) + 1;
            used.insert(domain.ordinal);
        }
        sequences.domains = sequences.domains.max(domain.ordinal);
        let order = row::DomainOrder {
            name: name.to_string(),
        };
        batch.put(Column::Rows, key::domain_order(domain.ordinal), order.to_stored());
        batch.put(Column::Rows, key::domain(name), domain.to_stored());
        batch.add(key::count_domains(), 1);
    }
    if sequences.domains != before {
        batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    }
    Ok(())
}

fn take_accounts(
    rows: Rows<'_>,
    accounts: &[(AccountId, &row::Account)],
    batch: &mut Batch,
) -> Result<(), PlanError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let shards = choose(accounts.len(), &shard_loads(rows)?);
    for ((id, account), shard) in accounts.iter().zip(shards) {
        let awaited = row::Awaited {
            life: account.life,
            shard: account.shard,
        };
        let restored = row::Account {
            life: Life::Creating.into(),
            shard: shard.0,
            ..row::Account::clone(account)
        };
        batch.put(Column::Rows, key::account(*id), restored.to_stored());
        batch.put(Column::Rows, key::awaited(*id), awaited.to_stored());
        batch.add(key::count_shard_accounts(shard), 1);
        if account.life() != Life::Deleted {
            batch.add(key::count_accounts(), 1);
        }
    }
    Ok(())
}

/// Where an account of a backup's shard is in its restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The directory does not know it there.
    Unknown,
    /// Its rows are awaited on this shard of the cluster.
    Awaited(ShardId),
    /// It is live, or was deleted since, on this shard of the cluster.
    Done(ShardId),
}

/// Where accounts of a shard of the backup go; of any shard when none is named.
pub fn place(rows: Rows<'_>, shard: Option<ShardId>, ids: &[AccountId]) -> Result<Vec<Place>, PlanError> {
    ids.iter()
        .map(|id| {
            let Some(account) = rows.account(*id)? else {
                return Ok(Place::Unknown);
            };
            let here = ShardId(account.shard);
            Ok(match rows.awaited(*id)? {
                Some(awaited) if shard.is_none_or(|shard| awaited.shard == shard.0) => Place::Awaited(here),
                Some(_) => Place::Unknown,
                None => Place::Done(here),
            })
        })
        .collect()
}

/// The shards have all of these accounts: they become what they were.
pub fn finished(rows: Rows<'_>, ids: &[AccountId]) -> Result<Planned<()>, PlanError> {
    let mut batch = Batch::new();
    for id in ids {
        let (Some(awaited), Some(account)) = (rows.awaited(*id)?, rows.account(*id)?) else {
            continue;
        };
        batch.delete(Column::Rows, key::awaited(*id));
        become_what_it_was(&mut batch, *id, account, &awaited, Life::Live);
    }
    Ok(Planned::new(batch, ()).recipients_changed())
}

/// What one step of an end did.
#[derive(Debug)]
pub struct Ended {
    /// Accounts without mail that their shards have to be told of.
    pub dues: Vec<(u64, AccountId)>,
    /// Whether this was the last step.
    pub is_last: bool,
}

/// Ends a restore, some accounts at a time: those of which the backup has no mail are made like new ones.
pub fn end(rows: Rows<'_>, backup_id: &str) -> Result<Planned<Ended>, PlanError> {
    let mut ended = Ended {
        dues: Vec::new(),
        is_last: true,
    };
    let mut batch = Batch::new();
    // A caller that asks again after the end is answered alike.
    if rows.restore()?.is_none() {
        return Ok(Planned::new(batch, ended));
    }
    check(rows, backup_id)?;
    let mut left = Vec::new();
    rows.scan(&key::awaited_accounts(), |key, awaited: row::Awaited| {
        left.extend(key::read_account(key).map(|id| (id, awaited)));
        if left.len() < END_ACCOUNTS_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    for (id, awaited) in left {
        batch.delete(Column::Rows, key::awaited(id));
        let Some(account) = rows.account(id)? else {
            continue;
        };
        if account.life() == Life::Creating && awaited.life != i32::from(Life::Deleted) {
            batch.put(Column::Rows, key::due(DUE_AT_ONCE, id), Vec::new());
            ended.dues.push((DUE_AT_ONCE, id));
        }
        become_what_it_was(&mut batch, id, account, &awaited, Life::Creating);
        ended.is_last = false;
    }
    if ended.is_last {
        batch.delete(Column::Rows, key::restore());
    }
    Ok(Planned::new(batch, ended).recipients_changed())
}

/// An account that is no longer awaited. What an operator has made of it meanwhile stays.
fn become_what_it_was(
    batch: &mut Batch,
    id: AccountId,
    mut account: row::Account,
    awaited: &row::Awaited,
    alive: Life,
) {
    if account.life() != Life::Creating {
        return;
    }
    if awaited.life == i32::from(Life::Deleted) {
        account.life = Life::Deleted.into();
        let due = key::due(account.purge_at_millis, id);
        batch.put(Column::Rows, due, Vec::new());
    } else {
        account.life = alive.into();
    }
    batch.put(Column::Rows, key::account(id), account.to_stored());
}
