//! Answers, written into a byte vector.
//!
//! These functions push bytes and never fail; they allocate nothing for a message beyond the vector's own growth.
//! Whatever they write is well formed whatever they are given: texts are cleaned, strings that cannot be quoted
//! become literals.

mod code;
mod data;
mod fetch;
mod number;
mod status;
mod string;

pub use code::ResponseCode;
pub use data::{
    EsearchAnswer, ListAttribute, capability, enabled, esearch, exists, expunge, flags, id, list, lsub,
    namespace, recent, search, status_items,
};
pub use fetch::{FetchLine, section};
pub use number::{number, uid_set};
pub use status::{Condition, continuation, continuation_base64, tagged, untagged};
pub use string::{
    QUOTED_BYTES_MAX, astring, date_time, flag_list, literal, literal_header, mailbox, nstring, string,
};
