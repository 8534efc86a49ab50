//! The patterns of LIST and LSUB: `*` matches anything, `%` anything within one level. RFC 3501 §6.3.8.
//!
//! A pattern becomes a set of bits, one for each place in it, that a name moves through; the cost is bounded by
//! the lengths, whatever the wildcards.

use super::types::{HIERARCHY_DELIMITER, INBOX, MAILBOX_NAME_BYTES_MAX, MailboxName};

/// A pattern, joined with its reference, in UTF-8.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Bytes that match themselves; more than a name can have never match.
    plain_bytes: usize,
    /// The places in the pattern, the one at its end included.
    places: usize,
    /// Places where `*` or `%` stands.
    wildcards: Places,
    /// Places where `*` stands.
    stars: Places,
    /// For each byte, the places where it stands; an empty set where there is none.
    plain: Vec<(u8, Places)>,
}

type Places = Vec<u64>;

impl Pattern {
    /// The pattern of `LIST reference pattern`, both decoded.
    pub fn new(reference: &str, pattern: &str) -> Self {
        let mut tokens: Vec<u8> = Vec::new();
        let mut plain_bytes = 0;
        for byte in reference.bytes().chain(pattern.bytes()) {
            match (tokens.last_mut(), byte) {
                // Neighbouring wildcards are one: a star if any of them is.
                (Some(last @ (b'*' | b'%')), b'*') => *last = b'*',
                (Some(b'*' | b'%'), b'%') => {}
                _ => {
                    plain_bytes += usize::from(!matches!(byte, b'*' | b'%'));
                    if plain_bytes > MAILBOX_NAME_BYTES_MAX {
                        break;
                    }
                    tokens.push(byte);
                }
            }
        }
        let words = tokens.len() / 64 + 1;
        let mut compiled = Self {
            plain_bytes,
            places: tokens.len(),
            wildcards: vec![0; words],
            stars: vec![0; words],
            plain: Vec::new(),
        };
        for (place, token) in tokens.into_iter().enumerate() {
            compiled.put(place, token);
        }
        compiled
    }

    /// Whether a mailbox's name matches. INBOX, in the first level, matches in any case.
    pub fn matches(&self, name: &MailboxName) -> bool {
        let name = name.as_str().as_bytes();
        if self.plain_bytes > name.len() {
            return false;
        }
        let inbox_ends = if is_below_inbox(name) { INBOX.len() } else { 0 };
        let mut reached: Places = vec![0; self.wildcards.len()];
        reached[0] = 1;
        self.pass_wildcards(&mut reached);
        for (index, byte) in name.iter().enumerate() {
            let other_case = if index < inbox_ends {
                byte.to_ascii_lowercase()
            } else {
                *byte
            };
            self.step(&mut reached, *byte, other_case);
            self.pass_wildcards(&mut reached);
            if reached.iter().all(|word| *word == 0) {
                return false;
            }
        }
        has(&reached, self.places)
    }

    fn put(&mut self, place: usize, token: u8) {
        let words = self.wildcards.len();
        let bit = 1u64 << (place % 64);
        match token {
            b'*' | b'%' => {
                self.wildcards[place / 64] |= bit;
                if token == b'*' {
                    self.stars[place / 64] |= bit;
                }
            }
            _ => {
                let known = self.plain.iter().position(|(byte, _)| *byte == token);
                let index = known.unwrap_or_else(|| {
                    self.plain.push((token, vec![0; words]));
                    self.plain.len() - 1
                });
                self.plain[index].1[place / 64] |= bit;
            }
        }
    }

    /// Moves every reached place over one byte of the name.
    fn step(&self, reached: &mut Places, byte: u8, other_case: u8) {
        let stay = if byte == HIERARCHY_DELIMITER as u8 {
            &self.stars
        } else {
            &self.wildcards
        };
        let of = |wanted: u8| {
            self.plain
                .iter()
                .find(|(byte, _)| *byte == wanted)
                .map(|(_, places)| places)
        };
        let (first, second) = (of(byte), of(other_case));
        let mut carry = 0;
        for (word, places) in reached.iter_mut().enumerate() {
            let plain = first.map_or(0, |first| first[word]) | second.map_or(0, |second| second[word]);
            let moved = *places & plain;
            *places = (*places & stay[word]) | (moved << 1) | carry;
            carry = moved >> 63;
        }
    }

    /// A wildcard also matches nothing. No two stand side by side, so one step is enough.
    fn pass_wildcards(&self, reached: &mut Places) {
        let mut carry = 0;
        for (word, places) in reached.iter_mut().enumerate() {
            let passed = *places & self.wildcards[word];
            *places |= (passed << 1) | carry;
            carry = passed >> 63;
        }
    }
}

fn has(places: &Places, place: usize) -> bool {
    places[place / 64] & (1 << (place % 64)) != 0
}

fn is_below_inbox(name: &[u8]) -> bool {
    let level = name.split(|byte| *byte == HIERARCHY_DELIMITER as u8).next();
    level == Some(INBOX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new("", pattern).matches(&MailboxName::new(name))
    }

    #[test]
    fn table() {
        for (pattern, name, wanted) in [
            ("*", "a/b/c", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("%/%", "a/b/c", false),
            ("a/%", "a/", true),
            ("a*", "a", true),
            ("a%b", "axxb", true),
            ("a%b", "a/b", false),
            ("a*b", "a/b", true),
            ("%%", "ab", true),
            ("*%*", "a/b", true),
            ("%*", "a/b", true),
            ("inbox", "INBOX", true),
            ("InB%", "INBOX", true),
            ("inbox/%", "INBOX/x", true),
            ("inbox/X", "INBOX/x", false),
            ("inbo%", "Inboxes", false),
            ("Entw%rfe", "Entwürfe", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
        assert!(Pattern::new("a/", "%").matches(&MailboxName::new("a/b")));
    }

    #[test]
    fn hostile_patterns_are_cheap() {
        let name = "a".repeat(MAILBOX_NAME_BYTES_MAX);
        assert!(matches(&"*".repeat(10_000), &name));
        assert!(!matches(&("*a".repeat(900) + "b"), &name));
        assert!(!matches(&("%a".repeat(900) + "*b"), &name));
        assert!(!matches(&"a".repeat(100_000), &name));
        assert!(!matches(&"*a".repeat(100_000), &name));
    }

    /// The definition itself, exponential as it is.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if plainly(rest, name) => true,
            (Some((b'%', rest)), _) if plainly(rest, name) => true,
            (Some((b'*', _)), Some((_, shorter))) => plainly(pattern, shorter),
            (Some((b'%', _)), Some((byte, shorter))) => *byte != b'/' && plainly(pattern, shorter),
            (Some((wanted, rest)), Some((byte, shorter))) => wanted == byte && plainly(rest, shorter),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab/*%]{0,9}", name in "[ab/]{0,9}") {
            prop_assert_eq!(matches(&pattern, &name), plainly(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn long_patterns_agree_too(front in "[ab]{55,70}", pattern in "[ab*%]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(matches(&(front.clone() + &pattern), &(front + &name)),
                plainly(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
