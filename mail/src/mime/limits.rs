//! The named limits of a message's analysis. A message beyond one is not refused: it is served opaque.

/// How many levels of multipart and message/rfc822 a message may nest.
pub const NESTING_DEPTH_MAX: usize = 50;
/// How many parts a message may have, nested ones included.
pub const PARTS_MAX: usize = 5_000;
/// How many header fields all headers of a message may have together.
pub const HEADER_FIELDS_MAX: usize = 100_000;
/// How many bytes of one header field are looked at.
pub const FIELD_BYTES_MAX: usize = 128 * 1024;
/// How many bytes of folded text a stored analysis keeps of one field that SEARCH has a key for, all occurrences together:
/// a hundred addresses. A longer one is read from the header when it is searched.
pub const SEARCH_FIELD_BYTES_MAX: usize = 4 * 1024;
/// How many bytes one string of ENVELOPE or BODYSTRUCTURE is built from.
pub const STRING_BYTES_MAX: usize = 16 * 1024;
/// How many bytes one address list of an ENVELOPE may take; later addresses are left out.
pub const ADDRESS_LIST_BYTES_MAX: usize = 128 * 1024;
/// How many bytes BODYSTRUCTURE may take.
pub const BODYSTRUCTURE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bounds on one message's analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of multipart and message/rfc822.
    pub nesting_depth_max: usize,
    /// Parts, nested ones included.
    pub parts_max: usize,
    /// Header fields of all headers together.
    pub header_fields_max: usize,
    /// Bytes of the longest address list in an ENVELOPE.
    pub address_list_bytes_max: usize,
    /// Bytes of BODYSTRUCTURE.
    pub bodystructure_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            nesting_depth_max: NESTING_DEPTH_MAX,
            parts_max: PARTS_MAX,
            header_fields_max: HEADER_FIELDS_MAX,
            address_list_bytes_max: ADDRESS_LIST_BYTES_MAX,
            bodystructure_bytes_max: BODYSTRUCTURE_BYTES_MAX,
        }
    }
}

/// Which limit a message went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// Parts nest too deeply.
    #[error("parts nest too deeply")]
    NestingDepth,
    /// Too many parts.
    #[error("too many parts")]
    Parts,
    /// Too many header fields.
    #[error("too many header fields")]
    HeaderFields,
    /// BODYSTRUCTURE would be too long.
    #[error("BODYSTRUCTURE would be too long")]
    BodyStructure,
}
