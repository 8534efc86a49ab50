//! SEARCH: its keys, bounded in number and depth, with texts decoded from the charset.

use encoding_rs::{Encoding, UTF_8};

use super::cursor::Cursor;
use super::error::{ErrorKind, Parsed, SyntaxError};
use super::{date, number, store, strings};
use crate::imap::types::{SearchCommand, SearchKey, SearchReturn};

/// The most keys in one SEARCH, at all depths together.
pub const SEARCH_KEYS_MAX: usize = 5000;
/// The deepest nesting of parentheses.
pub const SEARCH_PARENTHESES_MAX: usize = 50;
/// The deepest nesting of keys: parentheses, NOT and OR together. Clients chain ORs for lists of senders.
pub const SEARCH_DEPTH_MAX: usize = 250;
/// The most options in RETURN, repetitions counted.
const RETURN_OPTIONS_MAX: usize = 16;

/// ```abnf
/// search = "SEARCH" [SP "RETURN" SP "(" [return-option *(SP return-option)] ")"]
///          [SP "CHARSET" SP astring] 1*(SP search-key)
/// ```
/// RFC 3501 §9, RFC 4731 §3.
pub(super) fn search(cursor: &mut Cursor<'_>) -> Parsed<SearchCommand> {
    let mut result = None;
    if cursor.accept_text(" RETURN ") {
        result = Some(return_options(cursor)?);
    }
    let mut charset = UTF_8;
    if cursor.accept_text(" CHARSET ") {
        let label = strings::astring(cursor, "missing charset")?;
        charset = known_charset(&label)?;
    }
    let mut parser = KeyParser {
        cursor,
        charset,
        keys: 0,
        parentheses: 0,
    };
    let mut keys = Vec::new();
    loop {
        parser.cursor.space("missing search key")?;
        // A space before the end of the line.
        if !keys.is_empty() && parser.cursor.is_at_end() {
            break;
        }
        keys.push(parser.key(0)?);
        if parser.cursor.is_at_end() {
            break;
        }
    }
    Ok(SearchCommand {
        result,
        key: all_of(keys),
    })
}

/// `return-option = "MIN" / "MAX" / "ALL" / "COUNT"`
fn return_options(cursor: &mut Cursor<'_>) -> Parsed<SearchReturn> {
    let mut result = SearchReturn::default();
    cursor.list("options", RETURN_OPTIONS_MAX, |cursor| {
        match cursor.atom("missing option")?.to_ascii_uppercase().as_str() {
            "MIN" => result.min = true,
            "MAX" => result.max = true,
            "ALL" => result.all = true,
            "COUNT" => result.count = true,
            _ => return Err(SyntaxError::new("unknown return option")),
        }
        Ok(())
    })?;
    // RFC 4731 §3.1: no option is ALL.
    result.all |= result == SearchReturn::default();
    Ok(result)
}

fn known_charset(label: &[u8]) -> Parsed<&'static Encoding> {
    Encoding::for_label_no_replacement(label)
        .ok_or(SyntaxError::of_kind(ErrorKind::BadCharset, "unknown charset"))
}

fn all_of(mut keys: Vec<SearchKey>) -> SearchKey {
    match keys.pop() {
        Some(only) if keys.is_empty() => only,
        last => {
            keys.extend(last);
            SearchKey::And(keys)
        }
    }
}

struct KeyParser<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    charset: &'static Encoding,
    keys: usize,
    parentheses: usize,
}

impl KeyParser<'_, '_> {
    /// `search-key = … / sequence-set / "(" search-key *(SP search-key) ")"`
    fn key(&mut self, depth: usize) -> Parsed<SearchKey> {
        self.keys += 1;
        if self.keys > SEARCH_KEYS_MAX {
            return Err(SyntaxError::too_many("search keys", SEARCH_KEYS_MAX));
        }
        if depth == SEARCH_DEPTH_MAX {
            return Err(SyntaxError::too_many("nested search keys", SEARCH_DEPTH_MAX));
        }
        match self.cursor.peek() {
            Some(b'(') => self.group(depth),
            Some(b'*' | b'0'..=b'9') => number::sequence_set(self.cursor).map(SearchKey::Sequence),
            _ => {
                let name = self.cursor.atom("missing search key")?.to_ascii_uppercase();
                self.nested(&name, depth).unwrap_or_else(|| self.named(&name))
            }
        }
    }

    fn group(&mut self, depth: usize) -> Parsed<SearchKey> {
        self.cursor.expect(b'(', "missing parenthesis")?;
        self.parentheses += 1;
        if self.parentheses > SEARCH_PARENTHESES_MAX {
            return Err(SyntaxError::too_many(
                "nested parentheses",
                SEARCH_PARENTHESES_MAX,
            ));
        }
        let mut keys = vec![self.key(depth + 1)?];
        while !self.cursor.accept(b')') {
            self.cursor.space("missing space or closing parenthesis")?;
            keys.push(self.key(depth + 1)?);
        }
        self.parentheses -= 1;
        Ok(all_of(keys))
    }

    /// `"NOT" SP search-key / "OR" SP search-key SP search-key`
    fn nested(&mut self, name: &str, depth: usize) -> Option<Parsed<SearchKey>> {
        match name {
            "NOT" => Some(self.operand(depth).map(|key| SearchKey::Not(Box::new(key)))),
            "OR" => Some(self.operand(depth).and_then(|first| {
                let second = self.operand(depth)?;
                Ok(SearchKey::Or(Box::new(first), Box::new(second)))
            })),
            _ => None,
        }
    }

    fn operand(&mut self, depth: usize) -> Parsed<SearchKey> {
        self.cursor.space("missing search key")?;
        self.key(depth + 1)
    }

    #[rustfmt::skip]
    fn named(&mut self, name: &str) -> Parsed<SearchKey> {
        Ok(match name {
            "ALL" => SearchKey::All,
            "ANSWERED" => SearchKey::Answered,
            "BCC" => SearchKey::Bcc(self.text()?),
            "BEFORE" => SearchKey::Before(self.date()?),
            "BODY" => SearchKey::Body(self.text()?),
            "CC" => SearchKey::Cc(self.text()?),
            "DELETED" => SearchKey::Deleted,
            "DRAFT" => SearchKey::Draft,
            "FLAGGED" => SearchKey::Flagged,
            "FROM" => SearchKey::From(self.text()?),
            "HEADER" => SearchKey::Header(self.text()?, self.text()?),
            "KEYWORD" => SearchKey::Keyword(self.keyword()?),
            "LARGER" => SearchKey::Larger(self.number()?),
            "NEW" => SearchKey::New,
            "OLD" => SearchKey::Old,
            "ON" => SearchKey::On(self.date()?),
            "RECENT" => SearchKey::Recent,
            "SEEN" => SearchKey::Seen,
            "SENTBEFORE" => SearchKey::SentBefore(self.date()?),
            "SENTON" => SearchKey::SentOn(self.date()?),
            "SENTSINCE" => SearchKey::SentSince(self.date()?),
            "SINCE" => SearchKey::Since(self.date()?),
            "SMALLER" => SearchKey::Smaller(self.number()?),
            "SUBJECT" => SearchKey::Subject(self.text()?),
            "TEXT" => SearchKey::Text(self.text()?),
            "TO" => SearchKey::To(self.text()?),
            "UID" => {
                self.cursor.space("missing set of UIDs")?;
                SearchKey::Uid(number::sequence_set(self.cursor)?)
            }
            "UNANSWERED" => SearchKey::Unanswered,
            "UNDELETED" => SearchKey::Undeleted,
            "UNDRAFT" => SearchKey::Undraft,
            "UNFLAGGED" => SearchKey::Unflagged,
            "UNKEYWORD" => SearchKey::Unkeyword(self.keyword()?),
            "UNSEEN" => SearchKey::Unseen,
            _ => return Err(SyntaxError::new("unknown search key")),
        })
    }

    /// `SP astring`, in the command's charset.
    fn text(&mut self) -> Parsed<String> {
        self.cursor.space("missing search text")?;
        let bytes = strings::astring(self.cursor, "missing search text")?;
        match self
            .charset
            .decode_without_bom_handling_and_without_replacement(&bytes)
        {
            Some(text) => Ok(text.into_owned()),
            None => Err(SyntaxError::new("search text is not in its charset")),
        }
    }

    fn date(&mut self) -> Parsed<crate::imap::types::Date> {
        self.cursor.space("missing date")?;
        date::date(self.cursor)
    }

    fn number(&mut self) -> Parsed<u32> {
        self.cursor.space("missing number")?;
        number::number(self.cursor)
    }

    fn keyword(&mut self) -> Parsed<String> {
        self.cursor.space("missing keyword")?;
        store::keyword(self.cursor).map(str::to_owned)
    }
}
