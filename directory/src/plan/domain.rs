//! Adding and removing domains.

use rookery_replication::{Batch, Column};

use super::{PlanError, Planned};
use crate::address::DomainName;
use crate::schema::key;
use crate::schema::read::Rows;
use crate::schema::row::{self, Row};

/// Serves mail for a domain from now on.
pub fn add(rows: Rows<'_>, name: &str, now_millis: u64) -> Result<Planned<()>, PlanError> {
    let name = DomainName::parse(name)?;
    if rows.domain(&name)?.is_some() {
        return Err(PlanError::AlreadyExists(format!(
            "the domain {name} is there already"
        )));
    }
    let mut sequences = rows.sequences()?;
    sequences.domains += 1;
    let ordinal = sequences.domains;
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    batch.put(
        Column::Rows,
        key::domain(&name),
        row::Domain {
            ordinal,
            created_at_millis: now_millis,
        }
        .to_stored(),
    );
    batch.put(
        Column::Rows,
        key::domain_order(ordinal),
        row::DomainOrder {
            name: name.to_string(),
        }
        .to_stored(),
    );
    batch.add(key::count_domains(), 1);
    Ok(Planned::new(batch, ()).recipients_changed())
}

/// Serves mail for a domain no longer. Refused while it has addresses or aliases.
pub fn remove(rows: Rows<'_>, name: &str) -> Result<Planned<()>, PlanError> {
    let name = DomainName::parse(name)?;
    let Some(domain) = rows.domain(&name)? else {
        return Err(PlanError::NotFound(format!("there is no domain {name}")));
    };
    for (range, what, how) in [
        (key::addresses_of(&name), "accounts", "delete them"),
        (key::aliases_of(Some(&name)), "aliases", "remove them"),
    ] {
        if rows.any(&range)? {
            return Err(PlanError::Precondition(format!(
                "the domain {name} still has {what}: {how} first"
            )));
        }
    }
    let mut batch = Batch::new();
    batch.delete(Column::Rows, key::domain(&name));
    batch.delete(Column::Rows, key::domain_order(domain.ordinal));
    batch.add(key::count_domains(), -1);
    Ok(Planned::new(batch, ()).recipients_changed())
}
