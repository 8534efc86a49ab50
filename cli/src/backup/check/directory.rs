//! The directory's part: every address has its account, every account its address.

use std::collections::BTreeMap;
use std::path::Path;

use rookery_directory::schema::AccountId;
use rookery_directory::schema::portable::{self, Portable};
use rookery_directory::schema::row::Life;
use rookery_proto::rows::RowColumn;

use super::{Damages, each_row};
use crate::backup::files::{Damage, RowReader};
use crate::backup::manifest::{Manifest, Part};
use crate::backup::progress::Progress;

/// An account as its references need it.
struct Known {
    id: AccountId,
    is_deleted: bool,
    address: String,
}

/// Checks the directory's part.
pub(in crate::backup) fn check(
    folder: &Path,
    part: &Part,
    manifest: &Manifest,
    progress: &mut Progress,
) -> Damages {
    let mut damages = Damages::default();
    let mut owners: BTreeMap<u64, u32> = BTreeMap::new();
    let mut accounts: Vec<Known> = Vec::new();
    let mut last_account = 0;
    let mut reader = RowReader::new(folder, &part.files, RowColumn::Rows);
    each_row(&mut reader, &mut damages, |reader, damages, row| {
        progress.add(row.frame_bytes());
        match portable::read(&row.key, &row.value) {
            Ok(Portable::Sequences(sequences)) => last_account = sequences.accounts,
            Ok(Portable::Address(_, id)) => *owners.entry(id.0).or_default() += 1,
            Ok(Portable::Account(id, account)) => accounts.push(Known {
                id,
                is_deleted: account.life() == Life::Deleted,
                address: account.address,
            }),
            Ok(_) => {}
            Err(error) => damages.row(reader, &row, error),
        }
    });
    // What is missing may be in what is damaged.
    if !damages.is_empty() {
        return damages;
    }
    let mut tell = |what: String| {
        damages.add(Damage {
            file: "directory".to_owned(),
            what,
        });
    };
    for account in &accounts {
        let addresses = owners.remove(&account.id.0).unwrap_or(0);
        if addresses == 0 && !account.is_deleted {
            tell(format!(
                "account {} has no address row for {}",
                account.id, account.address
            ));
        }
        if account.id.0 > last_account {
            tell(format!(
                "account {} is above the last id {last_account}",
                account.id
            ));
        }
    }
    for id in owners.keys() {
        tell(format!("an address belongs to account {id}, which is not there"));
    }
    if last_account != manifest.last_account {
        tell(format!(
            "the last id is {last_account}, and {} in the manifest",
            manifest.last_account
        ));
    }
    damages
}
