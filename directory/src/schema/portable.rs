//! The rows that a backup has of the directory: which, and what they say.
//!
//! Neither nodes nor placement, which are the cluster's own, nor signing keys, which are secret and worth nothing
//! elsewhere, nor counters, which are counted anew. Pure.

use super::AccountId;
use super::key::{self, Range, Table};
use super::row::{self, Row, RowError};
use crate::address::{Address, DomainName};

/// A row of a backup.
#[derive(Debug, Clone)]
pub enum Portable {
    /// The numbers that ascend.
    Sequences(row::Sequences),
    /// A domain.
    Domain(DomainName, row::Domain),
    /// A domain's place in their order.
    DomainOrder,
    /// An address and whose it is.
    Address(Address, AccountId),
    /// An alias; an empty local part is the domain's catch-all.
    Alias(DomainName, String, row::Alias),
    /// That an alias leads to a target.
    AliasTarget,
    /// An account.
    Account(AccountId, row::Account),
    /// That an account is to be looked at.
    Due,
}

/// The tables, in the order of their keys.
const TABLES: [Table; 8] = [
    Table::Meta,
    Table::Domain,
    Table::DomainOrder,
    Table::Address,
    Table::Alias,
    Table::AliasTarget,
    Table::Account,
    Table::Due,
];

/// The ranges of keys that a backup has, ascending.
pub fn ranges() -> impl Iterator<Item = Range> {
    TABLES.into_iter().map(key::table)
}

/// What a row says.
pub fn read(key: &[u8], value: &[u8]) -> Result<Portable, RowError> {
    const KEY: RowError = RowError::Damaged("key");
    let table = TABLES
        .into_iter()
        .find(|table| key.starts_with(&key::table(*table).from))
        .ok_or(KEY)?;
    Ok(match table {
        Table::Meta => Portable::Sequences(row::Sequences::from_stored(value)?),
        Table::Domain => Portable::Domain(
            key::read_domain(key).ok_or(KEY)?,
            row::Domain::from_stored(value)?,
        ),
        Table::DomainOrder => {
            row::DomainOrder::from_stored(value)?;
            Portable::DomainOrder
        }
        Table::Address => {
            let (domain, local) = key::read_named(key).ok_or(KEY)?;
            let owner = row::AddressOwner::from_stored(value)?;
            Portable::Address(Address::new(&local, domain), AccountId(owner.account))
        }
        Table::Alias => {
            let (domain, local) = key::read_named(key).ok_or(KEY)?;
            Portable::Alias(domain, local, row::Alias::from_stored(value)?)
        }
        Table::AliasTarget => {
            key::read_alias_of_target(key).ok_or(KEY)?;
            Portable::AliasTarget
        }
        Table::Account => Portable::Account(
            key::read_account(key).ok_or(KEY)?,
            row::Account::from_stored(value)?,
        ),
        Table::Due => {
            key::read_due(key).ok_or(KEY)?;
            Portable::Due
        }
        _ => return Err(KEY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_their_keys() {
        let address = Address::parse("a@example.test").unwrap();
        let owner = row::AddressOwner { account: 4 };
        let read_back = read(&key::address(&address), &owner.to_stored());
        assert!(
            matches!(&read_back, Ok(Portable::Address(found, AccountId(4))) if found.to_string() == "a@example.test"),
            "{read_back:?}"
        );
        let account = row::Account {
            address: "a@example.test".to_owned(),
            ..row::Account::default()
        };
        let stored = account.to_stored();
        let read_back = read(&key::account(AccountId(4)), &stored);
        assert!(
            matches!(&read_back, Ok(Portable::Account(AccountId(4), found)) if *found == account),
            "{read_back:?}"
        );
        let cut = read(&key::account(AccountId(4)), &stored[..stored.len() - 1]);
        assert_eq!(cut.unwrap_err(), RowError::Damaged("account"));
        assert!(matches!(read(&key::due(1, AccountId(4)), b""), Ok(Portable::Due)));
        let ranges: Vec<Range> = ranges().collect();
        for key in [
            key::signing_key(super::super::KeyId(1)),
            key::node("a"),
            key::shard(super::super::ShardId(1)),
        ] {
            assert_eq!(read(&key, b"").unwrap_err(), RowError::Damaged("key"));
            assert!(!ranges.iter().any(|range| range.from <= key && key < range.to));
        }
    }
}
