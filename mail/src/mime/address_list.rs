//! Address lists of a header as ENVELOPE sends them. Lenient: whatever stands in the field, each piece
//! between commas gives one address, and the cost is linear.

use super::lexical::{comment_len, quoted_string};
use super::quote::{push_nstring, push_string};

/// One piece of an address field.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// An atom or quoted string; `glued` when no white space stands before it.
    Word {
        text: Vec<u8>,
        glued: bool,
    },
    Comment(Vec<u8>),
    Special(u8),
}

/// One address as ENVELOPE names its four fields.
// RFC 3501 §7.4.2
#[derive(Debug, Default)]
struct Address {
    name: Option<Vec<u8>>,
    route: Option<Vec<u8>>,
    mailbox: Vec<u8>,
    host: Vec<u8>,
}

/// Appends the addresses of the values of one field (unfolded) as `((…)(…))`, or `NIL` when there is none.
/// Stops before the list takes more than `bytes_max`.
pub(super) fn push_addresses<'a>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = &'a [u8]>,
    bytes_max: usize,
) {
    let start = out.len();
    out.push(b'(');
    for value in values {
        let mut list = List {
            out,
            bytes_max: start + bytes_max,
            is_in_group: false,
        };
        list.read(&tokens(value));
    }
    if out.len() == start + 1 {
        out.truncate(start);
        out.extend_from_slice(b"NIL");
    } else {
        out.push(b')');
    }
}

fn tokens(mut text: &[u8]) -> Vec<Token> {
    let mut found = Vec::new();
    let mut glued = false;
    while let Some(&byte) = text.first() {
        let len = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | 0 => {
                glued = false;
                text = &text[1..];
                continue;
            }
            b'(' => {
                let len = comment_len(text);
                let content = text[1..len].strip_suffix(b")").unwrap_or(&text[1..len]);
                found.push(Token::Comment(unescape(content)));
                glued = false;
                text = &text[len..];
                continue;
            }
            b'"' => {
                let (content, len) = quoted_string(text);
                found.push(Token::Word { text: content, glued });
                len
            }
            b'[' => {
                let len = memchr::memchr(b']', text).map_or(text.len(), |at| at + 1);
                found.push(Token::Word {
                    text: text[..len].to_vec(),
                    glued,
                });
                len
            }
            b',' | b';' | b':' | b'<' | b'>' | b'@' => {
                found.push(Token::Special(byte));
                1
            }
            _ => {
                let len = text
                    .iter()
                    .skip(1)
                    .position(|byte| b" \t\r\n\0(\"[,;:<>@".contains(byte));
                let len = len.map_or(text.len(), |at| at + 1);
                found.push(Token::Word {
                    text: text[..len].to_vec(),
                    glued,
                });
                len
            }
        };
        glued = true;
        text = &text[len..];
    }
    found
}

fn unescape(comment: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(comment.len());
    let mut bytes = comment.iter();
    while let Some(&byte) = bytes.next() {
        text.push(if byte == b'\\' {
            bytes.next().copied().unwrap_or(byte)
        } else {
            byte
        });
    }
    text
}

struct List<'o> {
    out: &'o mut Vec<u8>,
    bytes_max: usize,
    is_in_group: bool,
}

impl List<'_> {
    fn read(&mut self, tokens: &[Token]) {
        let mut at = 0;
        // The words before an `@`, a `<` or a `:` may be a local part or a name: only these tell.
        let mut words = Vec::new();
        let mut comment = None;
        while at < tokens.len() {
            match &tokens[at] {
                Token::Word { text, glued } => append_word(&mut words, text, *glued),
                Token::Comment(text) => comment = Some(text.clone()),
                Token::Special(b'<') => {
                    let (mut address, next) = angle_address(tokens, at + 1);
                    address.name = take(&mut words).or(comment.take());
                    self.push(&address);
                    at = end_of_address(tokens, next);
                    continue;
                }
                Token::Special(b'@') => {
                    let (host, next) = domain(tokens, at + 1);
                    let end = end_of_address(tokens, next);
                    let name = tokens[at..end].iter().rev().find_map(|token| match token {
                        Token::Comment(text) => Some(text.clone()),
                        _ => None,
                    });
                    let mailbox = std::mem::take(&mut words);
                    self.push(&Address {
                        name: name.or(comment.take()),
                        route: None,
                        mailbox,
                        host,
                    });
                    at = end;
                    continue;
                }
                Token::Special(b':') if !self.is_in_group => {
                    self.open_group(&std::mem::take(&mut words));
                    comment = None;
                }
                Token::Special(b',') => self.push_bare(&mut words, &mut comment),
                Token::Special(b';') => {
                    self.push_bare(&mut words, &mut comment);
                    self.close_group();
                }
                Token::Special(other) => append_word(&mut words, &[*other], true),
            }
            at += 1;
        }
        self.push_bare(&mut words, &mut comment);
        self.close_group();
    }

    /// An address without a domain, such as `root`.
    fn push_bare(&mut self, words: &mut Vec<u8>, comment: &mut Option<Vec<u8>>) {
        let name = comment.take();
        if let Some(mailbox) = take(words) {
            self.push(&Address {
                name,
                mailbox,
                ..Address::default()
            });
        }
    }

    fn push(&mut self, address: &Address) {
        let before = self.out.len();
        self.out.push(b'(');
        push_nstring(self.out, address.name.as_deref());
        self.out.push(b' ');
        push_nstring(self.out, address.route.as_deref());
        self.out.push(b' ');
        // Never NIL: that would open or close a group. A missing part is empty.
        push_string(self.out, &address.mailbox);
        self.out.push(b' ');
        push_string(self.out, &address.host);
        self.out.push(b')');
        if self.out.len() > self.bytes_max {
            self.out.truncate(before);
        }
    }

    // RFC 3501 §7.4.2: a group begins with a NIL host and its name as mailbox, and ends with both NIL.
    fn open_group(&mut self, name: &[u8]) {
        if self.out.len() < self.bytes_max {
            self.is_in_group = true;
            self.out.extend_from_slice(b"(NIL NIL ");
            push_string(self.out, name);
            self.out.extend_from_slice(b" NIL)");
        }
    }

    fn close_group(&mut self) {
        if self.is_in_group {
            self.is_in_group = false;
            self.out.extend_from_slice(b"(NIL NIL NIL NIL)");
        }
    }
}

fn append_word(words: &mut Vec<u8>, text: &[u8], glued: bool) {
    if !glued && !words.is_empty() {
        words.push(b' ');
    }
    words.extend_from_slice(text);
}

fn take(words: &mut Vec<u8>) -> Option<Vec<u8>> {
    Some(std::mem::take(words)).filter(|words| !words.is_empty())
}

/// Reads what stands between `<` and `>`; gives the index after it.
fn angle_address(tokens: &[Token], mut at: usize) -> (Address, usize) {
    let mut address = Address::default();
    // RFC 5322 §4.4: obs-route, `@a,@b:` before the local part.
    if tokens.get(at) == Some(&Token::Special(b'@')) {
        let end = |token: &Token| matches!(token, Token::Special(b':' | b'>' | b'<'));
        let colon = tokens[at..].iter().position(end);
        if let Some(len) = colon.filter(|len| tokens[at + len] == Token::Special(b':')) {
            address.route = Some(glue(&tokens[at..at + len]));
            at += len + 1;
        }
    }
    let len = tokens[at..]
        .iter()
        .position(|token| matches!(token, Token::Special(b'>' | b',')));
    let inner = &tokens[at..len.map_or(tokens.len(), |len| at + len)];
    match inner.iter().rposition(|token| *token == Token::Special(b'@')) {
        Some(sign) => {
            address.mailbox = glue(&inner[..sign]);
            address.host = glue(&inner[sign + 1..]);
        }
        None => address.mailbox = glue(inner),
    }
    (address, at + inner.len())
}

fn glue(tokens: &[Token]) -> Vec<u8> {
    let mut text = Vec::new();
    for token in tokens {
        match token {
            Token::Word { text: word, .. } => text.extend_from_slice(word),
            Token::Special(byte) => text.push(*byte),
            Token::Comment(_) => {}
        }
    }
    text
}

/// The words from `at` on that make up a domain.
fn domain(tokens: &[Token], at: usize) -> (Vec<u8>, usize) {
    let len = tokens[at..]
        .iter()
        .take_while(|token| !matches!(token, Token::Special(_)))
        .count();
    (glue(&tokens[at..at + len]), at + len)
}

/// Index of the comma or semicolon that ends the address at `at`.
fn end_of_address(tokens: &[Token], at: usize) -> usize {
    let end = tokens[at..]
        .iter()
        .position(|token| matches!(token, Token::Special(b',' | b';')));
    end.map_or(tokens.len(), |len| at + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: &str) -> String {
        let mut out = Vec::new();
        push_addresses(&mut out, [value.as_bytes()].into_iter(), 1_000);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn addresses() {
        let table = [
            ("", "NIL"),
            (" , ,", "NIL"),
            ("a@b.example", r#"((NIL NIL "a" "b.example"))"#),
            ("John Q. Public <j@x>", r#"(("John Q. Public" NIL "j" "x"))"#),
            (
                r#""Public, John" <j@x>, <k@y>"#,
                r#"(("Public, John" NIL "j" "x")(NIL NIL "k" "y"))"#,
            ),
            ("j@x (John (Jr.))", r#"(("John (Jr.)" NIL "j" "x"))"#),
            (r#""john doe"@x"#, r#"((NIL NIL "john doe" "x"))"#),
            (r#"<"john doe"@x>"#, r#"((NIL NIL "john doe" "x"))"#),
            ("<@a,@b:c@d>", r#"((NIL "@a,@b" "c" "d"))"#),
            ("c@[192.0.2.1]", r#"((NIL NIL "c" "[192.0.2.1]"))"#),
            ("root", r#"((NIL NIL "root" ""))"#),
            ("<>", r#"((NIL NIL "" ""))"#),
            (
                "undisclosed-recipients:;",
                r#"((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL))"#,
            ),
            (
                "A: b@c, D <e@f>; g@h",
                r#"((NIL NIL "A" NIL)(NIL NIL "b" "c")("D" NIL "e" "f")(NIL NIL NIL NIL)(NIL NIL "g" "h"))"#,
            ),
            (
                "A: b@c",
                r#"((NIL NIL "A" NIL)(NIL NIL "b" "c")(NIL NIL NIL NIL))"#,
            ),
            (
                r#"=?utf-8?Q?J=C3=B6?= <j@x>"#,
                r#"(("=?utf-8?Q?J=C3=B6?=" NIL "j" "x"))"#,
            ),
            ("Jö <j@x>", r#"(("=?utf-8?B?SsO2?=" NIL "j" "x"))"#),
            (
                "Foo <a@b, Bar <c@d>",
                r#"(("Foo" NIL "a" "b")("Bar" NIL "c" "d"))"#,
            ),
            (r#"say "hi\" <a@b>"#, r#"((NIL NIL "say hi\" <a@b>" ""))"#),
            ("a@b@c", r#"((NIL NIL "a" "b"))"#),
            ("a@b <c@d>", r#"((NIL NIL "a" "b"))"#),
        ];
        for (value, expected) in table {
            assert_eq!(list(value), expected, "for {value:?}");
        }
    }

    #[test]
    fn a_long_list_is_cut_between_addresses() {
        let value = "a@b, ".repeat(10_000);
        let out = list(&value);
        assert!(out.len() <= 1_010 && out.ends_with(r#"(NIL NIL "a" "b"))"#));
    }
}
