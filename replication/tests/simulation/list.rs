//! What a group of a simulated run stores: a list to which elements are appended, each in every column.

use bytes::Bytes;
use rookery_replication::view::{View, ViewError};
use rookery_replication::{Batch, Column, GroupId};

/// An element: the number of the append that made it, and that of the element before, as its plan saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) append: u64,
    pub(crate) before: u64,
}

impl Element {
    fn encode(self) -> Bytes {
        [self.append.to_be_bytes(), self.before.to_be_bytes()]
            .concat()
            .into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (append, before) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            append: u64::from_be_bytes(*append),
            before: u64::from_be_bytes(before.try_into().ok()?),
        })
    }
}

fn key(group: GroupId, index: u64) -> Vec<u8> {
    [&group.0.to_be_bytes()[..], b"element", &index.to_be_bytes()].concat()
}

fn length_key(group: GroupId) -> Vec<u8> {
    [&group.0.to_be_bytes()[..], b"length"].concat()
}

/// How many elements there are.
pub(crate) fn length(view: &dyn View, group: GroupId) -> Result<u64, ViewError> {
    let value = view.get(Column::Rows, &length_key(group))?;
    let value = value.and_then(|value| value.as_ref().try_into().ok());
    Ok(value.map_or(0, u64::from_be_bytes))
}

/// How many were counted; the same, unless one was applied twice.
pub(crate) fn counted(view: &dyn View, group: GroupId) -> Result<u64, ViewError> {
    let value = view.get(Column::Counters, &length_key(group))?;
    let value = value.and_then(|value| value.as_ref().try_into().ok());
    Ok(value.map_or(0, u64::from_le_bytes))
}

/// The element at a place.
pub(crate) fn element(view: &dyn View, group: GroupId, index: u64) -> Result<Option<Element>, ViewError> {
    let value = view.get(Column::Rows, &key(group, index))?;
    Ok(value.and_then(|value| Element::decode(&value)))
}

/// Plans that an append becomes the element at the end.
pub(crate) fn plan(group: GroupId, index: u64, element: Element) -> Batch {
    let mut batch = Batch::new();
    let value = element.encode();
    batch.put(Column::Rows, key(group, index), value.clone());
    batch.put(Column::Bodies, key(group, index), value);
    let length = (index + 1).to_be_bytes().to_vec();
    batch.put(Column::Rows, length_key(group), length);
    batch.add(length_key(group), 1);
    batch
}
