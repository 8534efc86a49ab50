//! Is a part of a backup what it should be? Every row is decoded, every reference followed.

pub(super) mod directory;
pub(super) mod shard;

use rookery_proto::rows::{Row, hex};

use super::files::{Damage, RowReader};

/// Damage that is told of one part; more is counted.
const TOLD_MAX: usize = 20;

/// What was found in a part.
#[derive(Debug, Default)]
pub(super) struct Damages {
    pub(super) told: Vec<Damage>,
    pub(super) untold: usize,
}

impl Damages {
    pub(super) fn add(&mut self, damage: Damage) {
        if self.told.len() < TOLD_MAX {
            self.told.push(damage);
        } else {
            self.untold += 1;
        }
    }

    pub(super) fn row(&mut self, reader: &RowReader, row: &Row, what: impl std::fmt::Display) {
        self.add(reader.damage(format!("the row {}: {what}", hex(&row.key))));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.told.len() + self.untold
    }

    pub(super) fn append(&mut self, other: Self) {
        self.told.extend(other.told);
        self.untold += other.untold;
    }
}

/// Visits all rows of a column. Damage that the files show ends the column.
fn each_row(
    reader: &mut RowReader,
    damages: &mut Damages,
    mut visit: impl FnMut(&RowReader, &mut Damages, Row),
) {
    let mut last: Option<bytes::Bytes> = None;
    loop {
        match reader.next_row() {
            Ok(None) => return,
            Ok(Some(row)) => {
                if last.as_ref().is_some_and(|last| *last >= row.key) {
                    damages.row(reader, &row, "it comes out of order");
                }
                last = Some(row.key.clone());
                visit(reader, damages, row);
            }
            Err(damage) => return damages.add(damage),
        }
    }
}
