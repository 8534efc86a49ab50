//! Typed reads of rows out of any view.

use std::ops::ControlFlow;

use rookery_replication::{Column, View, ViewError};

use super::key::{self, Range};
use super::row::{self, Row, RowError};
use super::split::{SplitMove, SplitRow};
use super::{AccountId, KeyId, ShardId};
use crate::address::{Address, DomainName};
use crate::rebalance::stored::{JobRow, LeadRow, TransferRow};

/// A row could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// What the store holds is not a row.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// Reads rows of one moment.
#[derive(Clone, Copy)]
pub struct Rows<'a>(pub &'a dyn View);

impl<'a> Rows<'a> {
    fn row<R: Row>(self, key: &[u8]) -> Result<Option<R>, ReadError> {
        match self.0.get(Column::Rows, key)? {
            Some(bytes) => Ok(Some(R::from_stored(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Visits the rows of a range until the visitor breaks.
    pub fn scan<R: Row>(
        self,
        range: &Range,
        mut visit: impl FnMut(&[u8], R) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut damaged = None;
        self.0.scan(
            Column::Rows,
            &range.from,
            &range.to,
            &mut |key, value| match R::from_stored(value) {
                Ok(row) => visit(key, row).is_continue(),
                Err(error) => {
                    damaged = Some(error);
                    false
                }
            },
        )?;
        match damaged {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Visits the keys of a range until the visitor breaks.
    pub fn keys(
        self,
        range: &Range,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        Ok(self.0.scan(Column::Rows, &range.from, &range.to, &mut |key, _| {
            visit(key).is_continue()
        })?)
    }

    /// Whether a range has any key.
    pub fn any(self, range: &Range) -> Result<bool, ReadError> {
        let mut found = false;
        self.keys(range, |_| {
            found = true;
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The numbers that ascend; zeros in a new store.
    pub fn sequences(self) -> Result<row::Sequences, ReadError> {
        Ok(self.row(&key::sequences())?.unwrap_or_default())
    }

    /// A domain, if it is served.
    pub fn domain(self, name: &DomainName) -> Result<Option<row::Domain>, ReadError> {
        self.row(&key::domain(name))
    }

    /// The domain that was added first.
    pub fn first_domain(self) -> Result<Option<DomainName>, ReadError> {
        let mut first = None;
        self.scan(&key::domain_orders(), |_, row: row::DomainOrder| {
            first = Some(DomainName::trusted(&row.name));
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// The account that has exactly this address.
    pub fn owner(self, address: &Address) -> Result<Option<AccountId>, ReadError> {
        let owner: Option<row::AddressOwner> = self.row(&key::address(address))?;
        Ok(owner.map(|owner| AccountId(owner.account)))
    }

    /// The first address of an account in a domain, by local part.
    pub fn first_address(self, domain: &DomainName) -> Result<Option<Address>, ReadError> {
        let mut first = None;
        self.keys(&key::addresses_of(domain), |key| {
            first = key::read_named(key).map(|(domain, local)| Address::new(&local, domain));
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// The alias with exactly this name; an empty local part is the domain's catch-all.
    pub fn alias(self, domain: &DomainName, local: &str) -> Result<Option<row::Alias>, ReadError> {
        self.row(&key::alias(domain, local))
    }

    /// An account.
    pub fn account(self, id: AccountId) -> Result<Option<row::Account>, ReadError> {
        self.row(&key::account(id))
    }

    /// The members of the directory's group, once it has noted them.
    pub fn members(self) -> Result<Option<row::Members>, ReadError> {
        self.row(&key::members())
    }

    /// The last rebalance.
    pub fn job(self) -> Result<Option<JobRow>, ReadError> {
        self.row(&key::job())
    }

    /// A transfer of a rebalance.
    pub fn transfer(self, job: u64, place: u32) -> Result<Option<TransferRow>, ReadError> {
        self.row(&key::transfer(job, place))
    }

    /// A change of a lead of a rebalance.
    pub fn lead_change(self, job: u64, place: u32) -> Result<Option<LeadRow>, ReadError> {
        self.row(&key::lead_change(job, place))
    }

    /// The transfers of a rebalance, in the plan's order.
    pub fn transfers(self, job: u64) -> Result<Vec<TransferRow>, ReadError> {
        self.all(&key::transfers(job))
    }

    /// The changes of leads of a rebalance, in the plan's order.
    pub fn lead_changes(self, job: u64) -> Result<Vec<LeadRow>, ReadError> {
        self.all(&key::lead_changes(job))
    }

    fn all<R: Row>(self, range: &Range) -> Result<Vec<R>, ReadError> {
        let mut all = Vec::new();
        self.scan(range, |_, row| {
            all.push(row);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// The last move of an account.
    pub fn account_move(self, id: AccountId) -> Result<Option<row::AccountMove>, ReadError> {
        self.row(&key::account_move(id))
    }

    /// The last moves of all accounts, those that have ended too.
    pub fn account_moves(self) -> Result<Vec<(AccountId, row::AccountMove)>, ReadError> {
        let mut moves = Vec::new();
        self.scan(&key::account_moves(), |key, row| {
            moves.extend(key::read_account(key).map(|id| (id, row)));
            ControlFlow::Continue(())
        })?;
        Ok(moves)
    }

    /// The last split of a shard.
    pub fn split(self) -> Result<Option<SplitRow>, ReadError> {
        self.row(&key::split())
    }

    /// All accounts that a split looks after still.
    pub fn split_moves(self) -> Result<Vec<(AccountId, SplitMove)>, ReadError> {
        let mut moves = Vec::new();
        self.scan(&key::split_moves(), |key, row| {
            moves.extend(key::read_account(key).map(|id| (id, row)));
            ControlFlow::Continue(())
        })?;
        Ok(moves)
    }

    /// A hold that keeps accounts from beginning to move.
    pub fn move_hold(self, id: &str) -> Result<Option<row::MoveHold>, ReadError> {
        self.row(&key::move_hold(id))
    }

    /// All holds that keep accounts from beginning to move, with their keys.
    pub fn move_holds(self) -> Result<Vec<(Vec<u8>, row::MoveHold)>, ReadError> {
        let mut holds = Vec::new();
        self.scan(&key::move_holds(), |key, row| {
            holds.push((key.to_vec(), row));
            ControlFlow::Continue(())
        })?;
        Ok(holds)
    }

    /// The restore that is under way.
    pub fn restore(self) -> Result<Option<row::Restore>, ReadError> {
        self.row(&key::restore())
    }

    /// A restored account that is not on its shard yet.
    pub fn awaited(self, id: AccountId) -> Result<Option<row::Awaited>, ReadError> {
        self.row(&key::awaited(id))
    }

    /// A node.
    pub fn node(self, id: &str) -> Result<Option<row::Node>, ReadError> {
        self.row(&key::node(id))
    }

    /// All nodes.
    pub fn nodes(self) -> Result<Vec<(String, row::Node)>, ReadError> {
        let mut nodes = Vec::new();
        self.scan(&key::nodes(), |key, row| {
            nodes.extend(key::read_node(key).map(|id| (id, row)));
            ControlFlow::Continue(())
        })?;
        Ok(nodes)
    }

    /// A join secret, by its public part.
    pub fn join(self, id: &[u8]) -> Result<Option<row::Join>, ReadError> {
        self.row(&key::join(id))
    }

    /// All join secrets, with their keys.
    pub fn joins(self) -> Result<Vec<(Vec<u8>, row::Join)>, ReadError> {
        let mut joins = Vec::new();
        self.scan(&key::joins(), |key, row| {
            joins.push((key.to_vec(), row));
            ControlFlow::Continue(())
        })?;
        Ok(joins)
    }

    /// What is known of a node's id when there is no node.
    pub fn identity(self, id: &str) -> Result<Option<row::Identity>, ReadError> {
        self.row(&key::identity(id))
    }

    /// All ids of which something is known without a node.
    pub fn identities(self) -> Result<Vec<(String, row::Identity)>, ReadError> {
        let mut identities = Vec::new();
        self.scan(&key::identities(), |key, row| {
            identities.extend(key::read_node(key).map(|id| (id, row)));
            ControlFlow::Continue(())
        })?;
        Ok(identities)
    }

    /// A shard.
    pub fn shard(self, id: ShardId) -> Result<Option<row::Shard>, ReadError> {
        self.row(&key::shard(id))
    }

    /// All shards.
    pub fn shards(self) -> Result<Vec<(ShardId, row::Shard)>, ReadError> {
        let mut shards = Vec::new();
        self.scan(&key::shards(), |key, row| {
            shards.extend(key::read_number(key).map(|id| (ShardId(id), row)));
            ControlFlow::Continue(())
        })?;
        Ok(shards)
    }

    /// All signing keys, oldest first.
    pub fn signing_keys(self) -> Result<Vec<(KeyId, row::SigningKey)>, ReadError> {
        let mut keys = Vec::new();
        self.scan(&key::signing_keys(), |key, row| {
            keys.extend(key::read_number(key).map(|id| (KeyId(id), row)));
            ControlFlow::Continue(())
        })?;
        Ok(keys)
    }

    /// A counter, 0 if it was never added to.
    pub fn counter(self, key: &[u8]) -> Result<u64, ReadError> {
        let Some(bytes) = self.0.get(Column::Counters, key)? else {
            return Ok(0);
        };
        let bytes: [u8; 8] = bytes
            .as_ref()
            .try_into()
            .map_err(|_| RowError::Damaged("counter"))?;
        Ok(u64::try_from(i64::from_le_bytes(bytes)).unwrap_or(0))
    }
}
