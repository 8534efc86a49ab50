//! Reads all that is in the store now and then, slowly, so that damage is found while other copies are good.
//!
//! How far it is lies in a row of its own, so that a node that is started often gets to the end, too. Never repairs anything:
//! what reads meet is told by the store.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::batch::Column;
use crate::catalogue::SCRUBBED;
use crate::group::Member;
use crate::store::{OwnRows, Store, StoreError};

/// Bytes that are read in one go.
const STEP_BYTES: u64 = 1024 * 1024;

/// Bytes after which the place is noted.
const NOTE_BYTES: u64 = 256 * STEP_BYTES;

/// The longest pause between two looks whether it is time.
const LOOK_MAX: Duration = Duration::from_secs(600);

/// The row of its own.
const ROW: &[u8] = b"scrub";

/// How the store is scrubbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubOptions {
    /// From the beginning of one scrub to that of the next; zero: never.
    pub interval: Duration,
    /// The most that is read in a second.
    pub bytes_per_second_max: u64,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(7 * 24 * 3600),
            bytes_per_second_max: 8 * 1024 * 1024,
        }
    }
}

/// How far a scrub is; format 1.
#[derive(Clone, PartialEq, Message)]
struct Place {
    /// When it began, in Unix seconds.
    #[prost(uint64, tag = "1")]
    began: u64,
    /// What is read: [`PARTS`] by number; beyond the last one: it has ended.
    #[prost(uint32, tag = "2")]
    part: u32,
    /// The next key.
    #[prost(bytes = "vec", tag = "3")]
    next: Vec<u8>,
}

/// The node's own rows, then the columns.
const PARTS: [Option<Column>; 4] = [
    None,
    Some(Column::Rows),
    Some(Column::Counters),
    Some(Column::Bodies),
];

/// Scrubs the member's store until the member has gone.
pub(crate) async fn run(member: Weak<Member>, options: ScrubOptions) {
    if options.interval.is_zero() || options.bytes_per_second_max == 0 {
        return;
    }
    loop {
        let Some(held) = member.upgrade() else { return };
        let store = Arc::clone(held.store());
        drop(held);
        let place = blocking(&store, load).await;
        if let Some(began) = place.as_ref().and_then(Place::ended) {
            note_before(&member, began);
        }
        let place = match place {
            Some(place) => due(place, options.interval),
            None => Err(LOOK_MAX),
        };
        match place {
            Ok(place) => scrub(&member, store, place, options.bytes_per_second_max).await,
            Err(pause) => {
                drop(store);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

impl Place {
    /// When the scrub began that has ended.
    fn ended(&self) -> Option<u64> {
        (self.part as usize >= PARTS.len()).then_some(self.began)
    }
}

/// A scrub had ended when the process was started: it is not known when, but not before it began.
fn note_before(member: &Weak<Member>, began: u64) {
    if let Some(member) = member.upgrade().filter(|member| member.scrubbed_at().is_none()) {
        member.note_scrubbed(began);
    }
}

/// Where to go on, or how long there is nothing to do.
fn due(place: Place, interval: Duration) -> Result<Place, Duration> {
    if (place.part as usize) < PARTS.len() && place.began > 0 {
        return Ok(place);
    }
    let now = now();
    let next = place.began.saturating_add(interval.as_secs());
    // A clock that went back delays nothing for long.
    if place.began <= now && next > now {
        return Err(Duration::from_secs(next - now).min(LOOK_MAX));
    }
    Ok(Place {
        began: now,
        ..Place::default()
    })
}

async fn scrub(member: &Weak<Member>, store: Arc<Store>, mut place: Place, bytes_per_second: u64) {
    tracing::info!(part = place.part, "reading all of the store, to find damage");
    let mut since_note = 0;
    while let Some(part) = PARTS.get(place.part as usize).copied() {
        let from = std::mem::take(&mut place.next);
        let step = blocking(
            &store,
            move |store| Ok(store.scrub_step(part, &from, STEP_BYTES)?),
        )
        .await;
        // What is damaged has been told; the rest of the part is left to the next time.
        let (bytes, next) = step.unwrap_or((0, None));
        SCRUBBED.increment(bytes);
        match next {
            Some(next) => place.next = next,
            None => place.part += 1,
        }
        since_note += bytes;
        let has_ended = place.part as usize == PARTS.len();
        if since_note >= NOTE_BYTES || has_ended {
            since_note = 0;
            let row = place.encode_to_vec();
            blocking(&store, move |store| store.put_own(ROW, row)).await;
        }
        tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64)).await;
        if member.strong_count() == 0 {
            return;
        }
    }
    if let Some(member) = member.upgrade() {
        member.note_scrubbed(now());
    }
    tracing::info!("all of the store has been read");
}

fn load(store: &Store) -> Result<Place, StoreError> {
    let row = store.own_row(ROW)?;
    // One that cannot be understood is as good as none.
    Ok(row
        .and_then(|row| Place::decode(row.as_slice()).ok())
        .unwrap_or_default())
}

async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Option<T> {
    let store = Arc::clone(store);
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            // Damage has been told by the store.
            tracing::debug!(%error, "a step of the scrub failed");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "a step of the scrub did not end");
            None
        }
    }
}

/// Now, unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

    #[test]
    fn it_begins_once_in_an_interval_and_goes_on_where_it_was() {
        assert_eq!(due(Place::default(), WEEK).map(|place| place.part), Ok(0));
        let ended = |ago: u64| Place {
            began: now() - ago,
            part: PARTS.len() as u32,
            next: Vec::new(),
        };
        assert!(due(ended(60), WEEK).is_err());
        assert_eq!(due(ended(WEEK.as_secs()), WEEK).map(|place| place.part), Ok(0));
        let within = Place {
            part: 2,
            next: b"k".to_vec(),
            ..ended(60)
        };
        assert_eq!(due(within.clone(), WEEK), Ok(within));
    }
}
