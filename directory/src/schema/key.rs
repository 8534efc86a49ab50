//! The keys. Every key is the directory's group number, a table's tag, and the table's own part; numbers are big-endian,
//! so that keys sort as numbers do. Names never hold a NUL, which ends them within a key.

use rookery_replication::GroupId;

use super::{AccountId, KeyId, ShardId};
use crate::address::{Address, DomainName};

/// Tags of the tables in the `rows` column. Never given to another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    Meta = 1,
    Domain = 2,
    DomainOrder = 3,
    Address = 4,
    Alias = 5,
    AliasTarget = 6,
    Account = 7,
    Due = 8,
    Node = 9,
    Shard = 10,
    SigningKey = 11,
    Members = 12,
    Job = 13,
    Transfer = 14,
    LeadChange = 15,
    AccountMove = 16,
    MoveHold = 17,
    Split = 18,
    SplitMove = 19,
    Event = 20,
    Restore = 32,
    Awaited = 33,
    Join = 40,
    Identity = 41,
}

/// Tags of the tables in the `counters` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Counter {
    Totals = 1,
    DomainAccounts = 2,
    DomainAliases = 3,
    ShardAccounts = 4,
}

fn start(tag: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.extend_from_slice(&GroupId::DIRECTORY.0.to_be_bytes());
    key.push(tag);
    key
}

/// The key right after all keys that begin with this one.
fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    // A table's tag is below 255, so there is always a byte to raise.
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}

/// A range of keys: from the first (inclusive) to the second (exclusive).
#[derive(Debug, Clone)]
pub struct Range {
    /// Inclusive.
    pub from: Vec<u8>,
    /// Exclusive.
    pub to: Vec<u8>,
}

fn prefixed(prefix: Vec<u8>) -> Range {
    Range {
        to: after(prefix.clone()),
        from: prefix,
    }
}

fn named(table: Table, domain: &DomainName, local: &str) -> Vec<u8> {
    let mut key = start(table as u8);
    key.extend_from_slice(domain.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(local.as_bytes());
    key
}

/// All rows of a table.
pub(super) fn table(table: Table) -> Range {
    prefixed(start(table as u8))
}

/// The one row of numbers that ascend: next ids, the version.
pub fn sequences() -> Vec<u8> {
    let mut key = start(Table::Meta as u8);
    key.push(1);
    key
}

/// A domain.
pub fn domain(name: &DomainName) -> Vec<u8> {
    let mut key = start(Table::Domain as u8);
    key.extend_from_slice(name.as_str().as_bytes());
    key
}

/// All domains, ascending by name.
pub fn domains() -> Range {
    prefixed(start(Table::Domain as u8))
}

/// A domain's place in the order in which domains were added.
pub fn domain_order(ordinal: u64) -> Vec<u8> {
    let mut key = start(Table::DomainOrder as u8);
    key.extend_from_slice(&ordinal.to_be_bytes());
    key
}

/// All domains, oldest first.
pub fn domain_orders() -> Range {
    prefixed(start(Table::DomainOrder as u8))
}

/// The account that has an address.
pub fn address(address: &Address) -> Vec<u8> {
    named(Table::Address, address.domain(), address.local())
}

/// All addresses of accounts, by domain, then local part.
pub fn addresses() -> Range {
    prefixed(start(Table::Address as u8))
}

/// The addresses of accounts of one domain, by local part.
pub fn addresses_of(domain: &DomainName) -> Range {
    prefixed(named(Table::Address, domain, ""))
}

/// An alias; an empty local part is the domain's catch-all.
pub fn alias(domain: &DomainName, local: &str) -> Vec<u8> {
    named(Table::Alias, domain, local)
}

/// The aliases of one domain, or of all.
pub fn aliases_of(domain: Option<&DomainName>) -> Range {
    match domain {
        Some(domain) => prefixed(named(Table::Alias, domain, "")),
        None => prefixed(start(Table::Alias as u8)),
    }
}

/// That an alias leads to a target.
pub fn alias_target(target: &Address, alias_domain: &DomainName, alias_local: &str) -> Vec<u8> {
    let mut key = named(Table::AliasTarget, target.domain(), target.local());
    key.push(0);
    key.extend_from_slice(alias_domain.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(alias_local.as_bytes());
    key
}

/// The aliases that lead to a target.
pub fn aliases_to(target: &Address) -> Range {
    let mut prefix = named(Table::AliasTarget, target.domain(), target.local());
    prefix.push(0);
    prefixed(prefix)
}

/// An account.
pub fn account(id: AccountId) -> Vec<u8> {
    let mut key = start(Table::Account as u8);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// The accounts above one, up to another, ascending.
pub fn accounts_between(after: AccountId, last: AccountId) -> Range {
    let mut from = account(after);
    from.push(0);
    let mut to = account(last);
    to.push(0);
    Range { from, to }
}

/// That an account is to be looked at from a time on.
pub fn due(at_millis: u64, id: AccountId) -> Vec<u8> {
    let mut key = start(Table::Due as u8);
    key.extend_from_slice(&at_millis.to_be_bytes());
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// What is due up to a time, oldest first.
pub fn dues_until(now_millis: u64) -> Range {
    let mut to = start(Table::Due as u8);
    to.extend_from_slice(&now_millis.saturating_add(1).to_be_bytes());
    Range {
        from: start(Table::Due as u8),
        to,
    }
}

/// A node.
pub fn node(id: &str) -> Vec<u8> {
    let mut key = start(Table::Node as u8);
    key.extend_from_slice(id.as_bytes());
    key
}

/// All nodes, ascending by id.
pub fn nodes() -> Range {
    prefixed(start(Table::Node as u8))
}

/// A shard.
pub fn shard(id: ShardId) -> Vec<u8> {
    let mut key = start(Table::Shard as u8);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// All shards, ascending.
pub fn shards() -> Range {
    prefixed(start(Table::Shard as u8))
}

/// A signing key.
pub fn signing_key(id: KeyId) -> Vec<u8> {
    let mut key = start(Table::SigningKey as u8);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// All signing keys, oldest first.
pub fn signing_keys() -> Range {
    prefixed(start(Table::SigningKey as u8))
}

/// The one row of the directory's own members.
pub fn members() -> Vec<u8> {
    let mut key = start(Table::Members as u8);
    key.push(1);
    key
}

/// The last rebalance.
pub fn job() -> Vec<u8> {
    let mut key = start(Table::Job as u8);
    key.push(1);
    key
}

/// A transfer of a rebalance, by its place in the plan.
pub fn transfer(job: u64, place: u32) -> Vec<u8> {
    of_job(Table::Transfer, job, place)
}

/// A change of a lead of a rebalance, by its place in the plan.
pub fn lead_change(job: u64, place: u32) -> Vec<u8> {
    of_job(Table::LeadChange, job, place)
}

fn of_job(table: Table, job: u64, place: u32) -> Vec<u8> {
    let mut key = start(table as u8);
    key.extend_from_slice(&job.to_be_bytes());
    key.extend_from_slice(&place.to_be_bytes());
    key
}

/// The transfers of a rebalance, in the plan's order.
pub fn transfers(job: u64) -> Range {
    rows_of_job(Table::Transfer, job)
}

/// The changes of leads of a rebalance, in the plan's order.
pub fn lead_changes(job: u64) -> Range {
    rows_of_job(Table::LeadChange, job)
}

fn rows_of_job(table: Table, job: u64) -> Range {
    let mut prefix = start(table as u8);
    prefix.extend_from_slice(&job.to_be_bytes());
    prefixed(prefix)
}

/// The rows of all rebalances before this one.
pub fn rows_before_job(job: u64) -> [Range; 2] {
    [Table::Transfer, Table::LeadChange].map(|table| Range {
        from: start(table as u8),
        to: rows_of_job(table, job).from,
    })
}

/// An event, by its number.
pub fn event(number: u64) -> Vec<u8> {
    let mut key = start(Table::Event as u8);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The events with a higher number than this one, oldest first.
pub fn events_after(number: u64) -> Range {
    Range {
        from: event(number.saturating_add(1)),
        to: prefixed(start(Table::Event as u8)).to,
    }
}

/// The last move of an account.
pub fn account_move(id: AccountId) -> Vec<u8> {
    let mut key = start(Table::AccountMove as u8);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// The last moves of all accounts.
pub fn account_moves() -> Range {
    prefixed(start(Table::AccountMove as u8))
}

/// That no account begins to move.
pub fn move_hold(id: &str) -> Vec<u8> {
    let mut key = start(Table::MoveHold as u8);
    key.extend_from_slice(id.as_bytes());
    key
}

/// All that keep accounts from beginning to move.
pub fn move_holds() -> Range {
    prefixed(start(Table::MoveHold as u8))
}

/// The last split of a shard.
pub fn split() -> Vec<u8> {
    let mut key = start(Table::Split as u8);
    key.push(1);
    key
}

/// That an account is to go to a shard which is made by a split, and has not gone yet.
pub fn split_move(id: AccountId) -> Vec<u8> {
    let mut key = start(Table::SplitMove as u8);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// All accounts that a split looks after still.
pub fn split_moves() -> Range {
    prefixed(start(Table::SplitMove as u8))
}

/// The restore that is under way.
pub fn restore() -> Vec<u8> {
    let mut key = start(Table::Restore as u8);
    key.push(1);
    key
}

/// That a restored account is not on its shard yet.
pub fn awaited(id: AccountId) -> Vec<u8> {
    let mut key = start(Table::Awaited as u8);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// All restored accounts that are not on their shards yet.
pub fn awaited_accounts() -> Range {
    prefixed(start(Table::Awaited as u8))
}

/// A join secret, by its public part.
pub fn join(id: &[u8]) -> Vec<u8> {
    let mut key = start(Table::Join as u8);
    key.extend_from_slice(id);
    key
}

/// All join secrets.
pub fn joins() -> Range {
    prefixed(start(Table::Join as u8))
}

/// What is known of a node's id when there is no node.
pub fn identity(id: &str) -> Vec<u8> {
    let mut key = start(Table::Identity as u8);
    key.extend_from_slice(id.as_bytes());
    key
}

/// All such ids, ascending.
pub fn identities() -> Range {
    prefixed(start(Table::Identity as u8))
}

/// Counts all accounts.
pub fn count_accounts() -> Vec<u8> {
    let mut key = start(Counter::Totals as u8);
    key.push(1);
    key
}

/// Counts all domains.
pub fn count_domains() -> Vec<u8> {
    let mut key = start(Counter::Totals as u8);
    key.push(2);
    key
}

/// Counts a domain's accounts.
pub fn count_domain_accounts(name: &DomainName) -> Vec<u8> {
    let mut key = start(Counter::DomainAccounts as u8);
    key.extend_from_slice(name.as_str().as_bytes());
    key
}

/// Counts a domain's aliases.
pub fn count_domain_aliases(name: &DomainName) -> Vec<u8> {
    let mut key = start(Counter::DomainAliases as u8);
    key.extend_from_slice(name.as_str().as_bytes());
    key
}

/// Counts the accounts that a shard has or is to have, deleted ones until they are purged.
pub fn count_shard_accounts(id: ShardId) -> Vec<u8> {
    let mut key = start(Counter::ShardAccounts as u8);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// What follows the table's tag in a key.
fn own_part(key: &[u8]) -> &[u8] {
    key.get(5..).unwrap_or_default()
}

/// The domain of a [`domain`] key.
pub fn read_domain(key: &[u8]) -> Option<DomainName> {
    std::str::from_utf8(own_part(key)).ok().map(DomainName::trusted)
}

/// Domain and local part of an [`address`] or [`alias`] key.
pub fn read_named(key: &[u8]) -> Option<(DomainName, String)> {
    let (domain, local) = std::str::from_utf8(own_part(key)).ok()?.split_once('\0')?;
    Some((DomainName::trusted(domain), local.to_owned()))
}

/// Domain and local part of the alias in an [`alias_target`] key.
pub fn read_alias_of_target(key: &[u8]) -> Option<(DomainName, String)> {
    let mut parts = std::str::from_utf8(own_part(key)).ok()?.split('\0').skip(2);
    Some((DomainName::trusted(parts.next()?), parts.next()?.to_owned()))
}

/// Time and account of a [`due`] key.
pub fn read_due(key: &[u8]) -> Option<(u64, AccountId)> {
    let (at, id) = own_part(key).split_at_checked(8)?;
    Some((
        u64::from_be_bytes(at.try_into().ok()?),
        AccountId(u64::from_be_bytes(id.try_into().ok()?)),
    ))
}

/// The account of an [`account`], [`account_move`], [`split_move`] or [`awaited`] key.
pub fn read_account(key: &[u8]) -> Option<AccountId> {
    Some(AccountId(u64::from_be_bytes(own_part(key).try_into().ok()?)))
}

/// The number of a [`shard`] or [`signing_key`] key.
pub fn read_number(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(own_part(key).try_into().ok()?))
}

/// The number of an [`event`] key.
pub fn read_event(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(own_part(key).try_into().ok()?))
}

/// The id of a [`node`] or [`identity`] key.
pub fn read_node(key: &[u8]) -> Option<String> {
    String::from_utf8(own_part(key).to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_and_read_back() {
        let domain = DomainName::parse("example.test").unwrap();
        let address_key = address(&Address::parse("a.b+c@example.test").unwrap());
        assert_eq!(
            read_named(&address_key),
            Some((domain.clone(), "a.b+c".to_owned()))
        );
        let range = addresses_of(&domain);
        assert!(range.from <= address_key && address_key < range.to);
        let longer = address(&Address::parse("a@example.test.org").unwrap());
        assert!(
            !(range.from <= longer && longer < range.to),
            "another domain with the same beginning"
        );
        let between = accounts_between(AccountId(3), AccountId(5));
        let is_between =
            |id: u64| between.from <= account(AccountId(id)) && account(AccountId(id)) < between.to;
        assert_eq!((1..9).filter(|id| is_between(*id)).collect::<Vec<u64>>(), [4, 5]);
        assert!(due(9, AccountId(u64::MAX)) < due(10, AccountId(1)));
        assert_eq!(read_due(&due(10, AccountId(7))), Some((10, AccountId(7))));
        let target = alias_target(&Address::parse("x@example.test").unwrap(), &domain, "");
        assert_eq!(read_alias_of_target(&target), Some((domain, String::new())));
        assert!(
            dues_until(10).from < due(10, AccountId(u64::MAX))
                && due(10, AccountId(u64::MAX)) < dues_until(10).to
        );
        assert_eq!(read_due(b"junk"), None);
    }
}
