//! Who gets mail for an address, and who logs in by a name. Pure: reads a view, decides, writes nothing.
//!
//! An address is looked up as it is, then without its detail (RFC 5233), then as the domain's postmaster, then as the
//! domain's catch-all; an account beats an alias of the same name. A detail that was not part of an alias's name goes on to
//! the alias's targets. The postmaster of a domain that names none (RFC 5321 §4.5.1 wants one) is whoever gets the
//! catch-all, else the domain's first account; `postmaster` without a domain is that of the domain which was added first.

use std::collections::{BTreeMap, HashSet};

use crate::address::{Address, DomainName};
use crate::schema::AccountId;
use crate::schema::read::{ReadError, Rows};
use crate::schema::row::{Account, Life};

/// Aliases that may lie between a recipient and an account.
pub const ALIAS_DEPTH_MAX: usize = 10;

/// Accounts that one recipient may lead to.
pub const DESTINATIONS_MAX: usize = 1_000;

/// Addresses that are looked at for one recipient.
const ADDRESSES_MAX: usize = 10_000;

/// The local part that every domain has (RFC 5321 §4.5.1).
const POSTMASTER: &str = "postmaster";

/// Why a recipient leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not an address, or of a domain that is not served here.
    #[error("{0} is not an address of a domain that is served here")]
    NotLocal(String),
    /// The domain is served, the address is nobody's.
    #[error("nobody has the address {0}")]
    Unknown(String),
    /// All accounts behind it are suspended.
    #[error("{0} is suspended")]
    Suspended(String),
    /// An account behind it is not on its shard yet.
    #[error("an account behind {0} is still being created; try again")]
    Creating(String),
    /// An alias leads back to itself, or through too many others.
    #[error("the alias {0} leads back to itself, or through or to too many addresses")]
    Loop(String),
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// An account behind a recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its row.
    pub account: Account,
    /// The address that led to it after aliases, with its detail.
    pub address: String,
}

/// What an address is, one step.
enum Step {
    Account(AccountId),
    Alias { name: String, targets: Vec<Address> },
    Nobody,
}

/// Who gets mail for a recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The accounts, ascending by id: at least one, none of them suspended.
    pub accounts: BTreeMap<AccountId, Found>,
    /// Whether they get it because something else is not there: another account or alias of that name would change who
    /// they are.
    pub rests_on_absence: bool,
}

/// The accounts behind a recipient, ascending by id: at least one, none of them suspended.
pub fn resolve(rows: Rows<'_>, recipient: &str) -> Result<BTreeMap<AccountId, Found>, ResolveError> {
    look_up(rows, recipient).map(|resolved| resolved.accounts)
}

/// Who gets mail for a recipient, and what that rests on.
pub fn look_up(rows: Rows<'_>, recipient: &str) -> Result<Resolved, ResolveError> {
    let not_local = || ResolveError::NotLocal(recipient.to_owned());
    let address = if recipient.eq_ignore_ascii_case(POSTMASTER) {
        Address::new(POSTMASTER, rows.first_domain()?.ok_or_else(not_local)?)
    } else {
        Address::parse(recipient).map_err(|_| not_local())?
    };
    if rows.domain(address.domain())?.is_none() {
        return Err(not_local());
    }
    let mut walk = Walk {
        rows,
        recipient,
        path: Vec::new(),
        seen: HashSet::new(),
        found: BTreeMap::new(),
        looped: false,
        rests_on_absence: false,
    };
    walk.visit(address)?;
    // A way that leads back takes nothing from the others: a catch-all is on its own path as soon as one of its targets
    // in the same domain is deleted.
    if walk.found.is_empty() && walk.looped {
        return Err(walk.loops());
    }
    let mut found = walk.found;
    if found.is_empty() {
        return Err(ResolveError::Unknown(recipient.to_owned()));
    }
    found.retain(|_, found| !found.account.suspended);
    if found.is_empty() {
        return Err(ResolveError::Suspended(recipient.to_owned()));
    }
    if found.values().any(|found| found.account.life() == Life::Creating) {
        return Err(ResolveError::Creating(recipient.to_owned()));
    }
    Ok(Resolved {
        accounts: found,
        rests_on_absence: walk.rests_on_absence,
    })
}

/// Whether an alias of this name with these targets would lead back to itself or too far. Targets that are not there yet
/// lead nowhere.
pub fn check_alias(
    rows: Rows<'_>,
    domain: &DomainName,
    local: &str,
    targets: &[Address],
) -> Result<(), ResolveError> {
    let name = format!("{local}@{domain}");
    let mut walk = Walk {
        rows,
        recipient: &name,
        path: vec![name.clone()],
        seen: HashSet::new(),
        found: BTreeMap::new(),
        looped: false,
        rests_on_absence: false,
    };
    for target in targets {
        walk.visit(target.clone())?;
    }
    if walk.looped { Err(walk.loops()) } else { Ok(()) }
}

/// The account whose own address this is: who may log in by it.
pub fn login(rows: Rows<'_>, name: &str) -> Result<Option<(AccountId, Account)>, ReadError> {
    let Ok(address) = Address::parse(name) else {
        return Ok(None);
    };
    let Some(id) = rows.owner(&address)? else {
        return Ok(None);
    };
    Ok(rows.account(id)?.map(|account| (id, account)))
}

struct Walk<'a> {
    rows: Rows<'a>,
    recipient: &'a str,
    /// Names of the aliases that led here.
    path: Vec<String>,
    seen: HashSet<String>,
    found: BTreeMap<AccountId, Found>,
    /// An alias led back to itself.
    looped: bool,
    /// Nobody has just the name that was looked for.
    rests_on_absence: bool,
}

impl Walk<'_> {
    fn loops(&self) -> ResolveError {
        ResolveError::Loop(self.recipient.to_owned())
    }

    fn visit(&mut self, address: Address) -> Result<(), ResolveError> {
        let named = exact(self.rows, &address, None)?;
        let next = if matches!(named, Step::Nobody) {
            self.rests_on_absence = true;
            fallback(self.rows, &address)?
        } else {
            named
        };
        match next {
            Step::Nobody => Ok(()),
            Step::Account(id) => {
                if self.found.contains_key(&id) {
                    return Ok(());
                }
                // An address whose account has gone is nobody's.
                let Some(account) = self.rows.account(id)? else {
                    self.rests_on_absence = true;
                    return Ok(());
                };
                if self.found.len() == DESTINATIONS_MAX {
                    return Err(self.loops());
                }
                let address = address.spelled();
                self.found.insert(id, Found { account, address });
                Ok(())
            }
            Step::Alias { name, targets } => {
                if self.path.contains(&name) {
                    self.looped = true;
                    return Ok(());
                }
                if self.path.len() == ALIAS_DEPTH_MAX {
                    return Err(self.loops());
                }
                // Two ways to one alias are fine, but are gone only once.
                if !self.seen.insert(name.clone()) {
                    return Ok(());
                }
                if self.seen.len() + targets.len() > ADDRESSES_MAX {
                    return Err(self.loops());
                }
                self.path.push(name);
                for target in targets {
                    self.visit(target)?;
                }
                self.path.pop();
                Ok(())
            }
        }
    }
}

/// Who an address is that nobody has just so.
fn fallback(rows: Rows<'_>, address: &Address) -> Result<Step, ReadError> {
    let base = address.base();
    if let Some(base) = &base {
        let named = exact(rows, base, address.detail())?;
        if !matches!(named, Step::Nobody) {
            return Ok(named);
        }
    }
    let domain = address.domain();
    if let Some(alias) = rows.alias(domain, "")? {
        return Ok(Step::Alias {
            name: format!("@{domain}"),
            targets: read_targets(&alias.targets, None),
        });
    }
    if base.as_ref().unwrap_or(address).local() == POSTMASTER
        && let Some(first) = rows.first_address(domain)?
        && let Some(id) = rows.owner(&first)?
    {
        return Ok(Step::Account(id));
    }
    Ok(Step::Nobody)
}

/// The account or alias of exactly this name.
fn exact(rows: Rows<'_>, address: &Address, detail: Option<&str>) -> Result<Step, ReadError> {
    if let Some(id) = rows.owner(address)? {
        return Ok(Step::Account(id));
    }
    if let Some(alias) = rows.alias(address.domain(), address.local())? {
        return Ok(Step::Alias {
            name: address.to_string(),
            targets: read_targets(&alias.targets, detail),
        });
    }
    Ok(Step::Nobody)
}

fn read_targets(targets: &[String], detail: Option<&str>) -> Vec<Address> {
    targets
        .iter()
        .filter_map(|text| Address::parse(text).ok())
        .map(|to| to.with_detail(detail))
        .collect()
}

#[cfg(test)]
mod tests;
