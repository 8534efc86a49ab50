//! MIME as a mailstore needs it: one look at a message at delivery gives everything FETCH and SEARCH
//! later ask for, so that nobody parses it again.
//!
//! [`analyze`] gives ENVELOPE, BODY and BODYSTRUCTURE in the bytes that IMAP sends, and the byte range
//! of every part. [`section`] finds a `BODY[…]` section in those ranges, [`text`] answers SEARCH,
//! [`SearchFields`] what of it the header need not be read for,
//! [`transfer`] decodes a part's content, [`codec`] is the stored form.
//!
//! The structure is found by this module's own scanner (`scan.rs`): one pass over the lines with a bounded
//! stack, because part ranges must be exact (a boundary counts only as a whole line, and one may begin
//! like another) and the cost must stay linear whatever the message holds. `mail-parser` serves for what
//! lies inside fields and parts: dates, charsets and transfer encodings.
//!
//! Never here: I/O, clocks, unbounded recursion, or a message that cannot be stored. What is not
//! understood is served as plain text ([`Analysis::opaque`]).

mod address_list;
mod analysis;
mod bodystructure;
pub mod charset;
pub mod codec;
mod content;
pub mod encoded_word;
mod envelope;
pub mod header;
mod lexical;
pub mod limits;
mod parameter;
mod part;
mod quote;
mod scan;
mod search_field;
pub mod section;
pub mod text;
pub mod transfer;
mod two_piece;

pub use analysis::{Analysis, Outcome, analyze, analyze_guarded};
pub use codec::{CodecError, Stored};
pub use limits::{LimitReached, Limits};
pub use part::{Encoding, PartKind, PartSpan, Span};
pub use search_field::{FieldText, SearchField, SearchFields, has_field};
pub use section::{Section, SectionBytes, SectionItem, header_fields};
pub use text::{Needle, SearchText};
pub use transfer::{TransferError, decode_part};
pub use two_piece::TwoPiece;
