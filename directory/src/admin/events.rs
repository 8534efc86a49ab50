//! `events`: what has happened lately.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use rookery_proto::Status;
use rookery_proto::admin::v1::{Event, ListEventsRequest, ListEventsResponse};

use crate::core::Core;
use crate::events::EventRow;
use crate::schema::key;
use crate::schema::read::{ReadError, Rows};

/// Events of one answer.
const EVENTS_AT_ONCE: usize = 1_000;

pub(super) async fn list(core: &Core, request: ListEventsRequest) -> Result<ListEventsResponse, Status> {
    let events = core.state.read(move |rows| read(rows, &request)).await??;
    Ok(ListEventsResponse { events })
}

fn read(rows: Rows<'_>, request: &ListEventsRequest) -> Result<Vec<Event>, ReadError> {
    let limit = match request.limit as usize {
        0 => EVENTS_AT_ONCE,
        limit => limit.min(EVENTS_AT_ONCE),
    };
    let mut events = VecDeque::new();
    rows.scan(
        &key::events_after(request.after.unwrap_or(0)),
        |key, row: EventRow| {
            if row.at_millis < request.since_millis {
                return ControlFlow::Continue(());
            }
            if events.len() == limit {
                if request.after.is_some() {
                    return ControlFlow::Break(());
                }
                events.pop_front();
            }
            events.push_back(Event {
                number: key::read_event(key).unwrap_or(0),
                at_millis: row.at_millis,
                kind: row.kind().name().to_owned(),
                subject: row.subject,
                text: row.text,
            });
            ControlFlow::Continue(())
        },
    )?;
    Ok(events.into())
}

#[cfg(test)]
mod tests {
    use rookery_replication::{Batch, MemoryStore};

    use super::*;
    use crate::events::{self, Kind};
    use crate::schema::row::Sequences;

    #[test]
    fn the_newest_are_listed_or_those_that_follow() {
        let mut store = MemoryStore::new();
        let mut sequences = Sequences::default();
        for now in 1..=9 {
            let mut batch = Batch::new();
            let event = events::of_node(Kind::NodeBack, "mailstore-1", "is back");
            events::append(&mut batch, &mut sequences, vec![event], now * 10);
            store.apply(&batch);
        }
        let numbers = |after: Option<u64>, since_millis: u64, limit: u32| {
            let request = ListEventsRequest {
                after,
                since_millis,
                limit,
            };
            let events = read(Rows(&store), &request).unwrap();
            assert!(events.iter().all(|event| event.kind == "node-back"));
            events.iter().map(|event| event.number).collect::<Vec<u64>>()
        };
        assert_eq!(numbers(None, 0, 3), [7, 8, 9]);
        assert_eq!(numbers(Some(2), 0, 3), [3, 4, 5]);
        assert_eq!(numbers(Some(0), 75, 0), [8, 9]);
        assert_eq!(numbers(Some(9), 0, 0), [0u64; 0]);
    }
}
