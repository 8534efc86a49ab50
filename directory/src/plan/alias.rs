//! Aliases: names that lead to addresses, one to many.

use rookery_replication::{Batch, Column};

use super::{PlanError, Planned};
use crate::address::{Address, DomainName};
use crate::resolve;
use crate::schema::key;
use crate::schema::read::Rows;
use crate::schema::row::{self, Row};

/// Targets of one alias.
pub const TARGETS_MAX: usize = 1_000;

/// An alias's name: `local@domain`, or `@domain` for the catch-all.
struct Name {
    domain: DomainName,
    local: String,
}

impl Name {
    fn parse(text: &str) -> Result<Self, PlanError> {
        if let Some(domain) = text.strip_prefix('@') {
            return Ok(Self {
                domain: DomainName::parse(domain)?,
                local: String::new(),
            });
        }
        let address = Address::parse_plain(text)?;
        Ok(Self {
            domain: address.domain().clone(),
            local: address.local().to_owned(),
        })
    }

    fn address(&self) -> Address {
        Address::new(&self.local, self.domain.clone())
    }
}

/// Where the alias of this name lies, whether there is one or not.
pub fn key_of(name: &str) -> Result<Vec<u8>, PlanError> {
    let name = Name::parse(name)?;
    Ok(key::alias(&name.domain, &name.local))
}

/// Adds targets to an alias, which is made if it is not there. Targets must be addresses of domains served here which
/// lead somewhere now; an alias names addresses, so that it leads nowhere while none of its targets has an account.
pub fn add(rows: Rows<'_>, name: &str, targets: &[String]) -> Result<Planned<()>, PlanError> {
    let name = Name::parse(name)?;
    if rows.domain(&name.domain)?.is_none() {
        return Err(PlanError::NotFound(format!(
            "there is no domain {}: add it first",
            name.domain
        )));
    }
    if targets.is_empty() {
        return Err(PlanError::Invalid("an alias needs a target".to_owned()));
    }
    if !name.local.is_empty() && rows.owner(&name.address())?.is_some() {
        return Err(PlanError::AlreadyExists(format!(
            "the address {} belongs to an account",
            name.address()
        )));
    }
    let held = rows.alias(&name.domain, &name.local)?;
    let is_new = held.is_none();
    let mut all = held.unwrap_or_default().targets;
    let mut batch = Batch::new();
    for text in targets {
        let target =
            Address::parse(text).map_err(|error| PlanError::Invalid(format!("{text:?}: {error}")))?;
        if rows.domain(target.domain())?.is_none() {
            return Err(PlanError::Precondition(format!(
                "{target} is not an address of a domain that is served here; mail is not forwarded elsewhere"
            )));
        }
        if matches!(
            resolve::resolve(rows, &target.to_string()),
            Err(resolve::ResolveError::Unknown(_))
        ) && !leads_to_alias(rows, &target)?
        {
            return Err(PlanError::NotFound(format!(
                "nobody has the address {target}: create it first"
            )));
        }
        let target_name = target.to_string();
        if !all.contains(&target_name) {
            all.push(target_name);
            batch.put(
                Column::Rows,
                key::alias_target(&target, &name.domain, &name.local),
                Vec::new(),
            );
        }
    }
    if all.len() > TARGETS_MAX {
        return Err(PlanError::Invalid(format!(
            "an alias has at most {TARGETS_MAX} targets"
        )));
    }
    let all_addresses = all
        .iter()
        .map(|text| Address::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    resolve::check_alias(rows, &name.domain, &name.local, &all_addresses)?;
    all.sort_unstable();
    batch.put(
        Column::Rows,
        key::alias(&name.domain, &name.local),
        row::Alias { targets: all }.to_stored(),
    );
    if is_new {
        batch.add(key::count_domain_aliases(&name.domain), 1);
    }
    Ok(Planned::new(batch, ()).recipients_changed())
}

/// Removes targets from an alias, or the alias with all of them when none is given or none is left.
pub fn remove(rows: Rows<'_>, name: &str, targets: &[String]) -> Result<Planned<()>, PlanError> {
    let shown = name;
    let name = Name::parse(name)?;
    let Some(mut alias) = rows.alias(&name.domain, &name.local)? else {
        return Err(PlanError::NotFound(format!("there is no alias {shown}")));
    };
    let mut gone = Vec::new();
    if targets.is_empty() {
        gone.append(&mut alias.targets);
    }
    for text in targets {
        let target =
            Address::parse(text).map_err(|error| PlanError::Invalid(format!("{text:?}: {error}")))?;
        let wanted = target.to_string();
        let Some(position) = alias.targets.iter().position(|held| *held == wanted) else {
            return Err(PlanError::NotFound(format!(
                "the alias {shown} has no target {target}"
            )));
        };
        gone.push(alias.targets.remove(position));
    }
    let mut batch = Batch::new();
    for text in &gone {
        let target = Address::parse(text)?;
        batch.delete(
            Column::Rows,
            key::alias_target(&target, &name.domain, &name.local),
        );
    }
    let alias_key = key::alias(&name.domain, &name.local);
    if alias.targets.is_empty() {
        batch.delete(Column::Rows, alias_key);
        batch.add(key::count_domain_aliases(&name.domain), -1);
    } else {
        batch.put(Column::Rows, alias_key, alias.to_stored());
    }
    Ok(Planned::new(batch, ()).recipients_changed())
}

/// Whether an alias takes mail for the address, though it leads nowhere at the moment.
fn leads_to_alias(rows: Rows<'_>, target: &Address) -> Result<bool, PlanError> {
    let domain = target.domain();
    if rows.alias(domain, target.local())?.is_some() || rows.alias(domain, "")?.is_some() {
        return Ok(true);
    }
    match target.base() {
        Some(base) => Ok(rows.alias(domain, base.local())?.is_some()),
        None => Ok(false),
    }
}
