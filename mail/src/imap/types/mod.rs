//! The values of the IMAP grammar: what a parsed command is made of, and what an answer is written from.
//!
//! Nothing here reads bytes off a line (that is `parse`) or writes them (that is `encode`).

mod append;
mod command;
mod date;
mod fetch;
mod flag;
mod list;
mod mailbox;
mod number;
mod search;
mod secret;
mod set;
mod status;
pub mod utf7;

pub use append::{AppendMessage, MessageData};
pub use command::{Command, CommandBody, Numbering};
pub use date::{Date, DateTime};
pub use fetch::{FetchItem, PartPath, Partial, Section, SectionText};
pub use flag::{Flag, KEYWORD_BYTES_MAX, StoreAction};
pub use list::{ListCommand, ListReturn, ListSelection, SpecialUse};
pub use mailbox::{HIERARCHY_DELIMITER, INBOX, MAILBOX_NAME_BYTES_MAX, MailboxName, MailboxNameError};
pub use number::{SeqNo, Tag, Uid};
pub use search::{SearchCommand, SearchKey, SearchReturn};
pub use secret::Secret;
pub use set::{SequenceBound, SequenceRange, SequenceSet, coalesce};
pub use status::StatusItem;
