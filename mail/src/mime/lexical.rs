//! The words of structured header fields: tokens, comments and quoted strings. Each function is linear and
//! takes what is never closed to the end of the field.

/// The first word of `text` in lower case, comments before it skipped.
pub(super) fn first_token(text: &[u8]) -> Option<Vec<u8>> {
    let text = skip_comments(text);
    let end = text
        .iter()
        .position(|&byte| !is_token(byte))
        .unwrap_or(text.len());
    Some(text[..end].to_ascii_lowercase()).filter(|token| !token.is_empty())
}

/// `text` as one token in lower case, with comments around it allowed.
pub(super) fn lower_token(text: &[u8]) -> Option<String> {
    let text = skip_comments(text);
    let end = text
        .iter()
        .position(|&byte| !is_token(byte))
        .unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    if token.is_empty() || !skip_comments(rest).is_empty() {
        return None;
    }
    String::from_utf8(token.to_ascii_lowercase()).ok()
}

/// RFC 2045 §5.1: token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// Skips white space and comments.
// RFC 5322 §3.2.2
pub(super) fn skip_comments(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii_start();
    while text.first() == Some(&b'(') {
        text = text[comment_len(text)..].trim_ascii_start();
    }
    text
}

/// Length of the comment that `text` begins with; all of it when it is never closed.
pub(super) fn comment_len(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at.min(text.len())
}

/// Reads a quoted string that `text` begins with: its content, and its length with the quotes.
// RFC 5322 §3.2.4
pub(super) fn quoted_string(text: &[u8]) -> (Vec<u8>, usize) {
    let mut content = Vec::new();
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return (content, at + 1),
            b'\\' if at + 1 < text.len() => {
                at += 1;
                content.push(text[at]);
            }
            byte => content.push(byte),
        }
        at += 1;
    }
    (content, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclosed_comment_ends_with_the_field() {
        assert_eq!(comment_len(b"(a(b)c) d"), 7);
        assert_eq!(comment_len(b"(a\\)"), 4);
        assert_eq!(comment_len(b"(a\\"), 3);
    }
}
