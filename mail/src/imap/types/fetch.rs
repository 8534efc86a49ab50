//! What FETCH asks for. RFC 3501 §6.4.5; BINARY from RFC 3516.

/// One data item of a FETCH; macros are expanded by the parser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchItem {
    /// `ENVELOPE`
    Envelope,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822`: as `BODY[]`, sets `\Seen`.
    Rfc822,
    /// `RFC822.HEADER`: as `BODY.PEEK[HEADER]`.
    Rfc822Header,
    /// `RFC822.SIZE`
    Rfc822Size,
    /// `RFC822.TEXT`: as `BODY[TEXT]`, sets `\Seen`.
    Rfc822Text,
    /// `BODY`: the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `UID`
    Uid,
    /// `BODY[section]<partial>` or `BODY.PEEK[section]<partial>`.
    BodySection {
        /// Whether `\Seen` stays as it is.
        peek: bool,
        /// Which octets.
        section: Section,
        /// Which range of these octets.
        partial: Option<Partial>,
    },
    /// `BINARY[part]<partial>` or `BINARY.PEEK[part]<partial>`: the decoded content.
    Binary {
        /// Whether `\Seen` stays as it is.
        peek: bool,
        /// The part; empty for the whole message.
        part: PartPath,
        /// Which range of the decoded octets.
        partial: Option<Partial>,
    },
    /// `BINARY.SIZE[part]`: the size of the decoded content.
    BinarySize(PartPath),
}

impl FetchItem {
    /// Whether fetching it sets `\Seen`.
    pub fn sets_seen(&self) -> bool {
        match self {
            Self::Rfc822 | Self::Rfc822Text => true,
            Self::BodySection { peek, .. } | Self::Binary { peek, .. } => !peek,
            _ => false,
        }
    }
}

/// The way to a nested part: `1.2.3`, each number counted from 1; empty for the message itself.
pub type PartPath = Vec<u32>;

/// `section`: a part and what of it. RFC 3501 §6.4.5.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Section {
    /// Which part; empty for the message itself.
    pub part: PartPath,
    /// What of it; `None` for all of it.
    pub text: Option<SectionText>,
}

/// `section-text`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SectionText {
    /// `HEADER`: of the message or of a message/rfc822 part.
    Header,
    /// `HEADER.FIELDS (…)`: these fields, as the client wrote them.
    HeaderFields(Vec<String>),
    /// `HEADER.FIELDS.NOT (…)`: all but these.
    HeaderFieldsNot(Vec<String>),
    /// `TEXT`: what follows the header of the message or of a message/rfc822 part.
    Text,
    /// `MIME`: the header of a part; never without a part.
    Mime,
}

/// `<offset.length>`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partial {
    /// The first octet, counted from 0.
    pub offset: u32,
    /// How many octets at most; never 0.
    pub length: u32,
}

impl Partial {
    /// The octets meant of content that is `size` octets long, as a range that lies within it.
    pub fn range(self, size: u64) -> std::ops::Range<u64> {
        let start = u64::from(self.offset).min(size);
        start..(start + u64::from(self.length)).min(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_stays_within() {
        let partial = Partial {
            offset: 10,
            length: u32::MAX,
        };
        assert_eq!(partial.range(100), 10..100);
        assert_eq!(partial.range(5), 5..5);
        assert_eq!(Partial { offset: 0, length: 4 }.range(100), 0..4);
    }
}
