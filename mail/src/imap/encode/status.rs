//! Status responses and continuation requests. RFC 3501 §7.1, §7.5.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ResponseCode;
use crate::imap::types::Tag;

/// The condition of a status response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Done, or information.
    Ok,
    /// Not done, or a warning.
    No,
    /// Not understood.
    Bad,
    /// A greeting of a session that needs no login; untagged only.
    PreAuth,
    /// The connection ends; untagged only.
    Bye,
}

impl Condition {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::PreAuth => "PREAUTH",
            Self::Bye => "BYE",
        }
    }
}

/// `tag SP resp-cond-state CRLF`
pub fn tagged(
    out: &mut Vec<u8>,
    tag: &Tag,
    condition: Condition,
    code: Option<&ResponseCode<'_>>,
    text: &str,
) {
    out.extend_from_slice(tag.as_str().as_bytes());
    state(out, condition, code, text);
}

/// `"*" SP resp-cond-state CRLF`
pub fn untagged(out: &mut Vec<u8>, condition: Condition, code: Option<&ResponseCode<'_>>, text: &str) {
    out.push(b'*');
    state(out, condition, code, text);
}

/// `continue-req = "+" SP resp-text CRLF`
pub fn continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    resp_text(out, text);
}

/// `continue-req = "+" SP base64 CRLF`: a server's challenge within AUTHENTICATE.
pub fn continuation_base64(out: &mut Vec<u8>, challenge: &[u8]) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(STANDARD.encode(challenge).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn state(out: &mut Vec<u8>, condition: Condition, code: Option<&ResponseCode<'_>>, text: &str) {
    out.push(b' ');
    out.extend_from_slice(condition.as_str().as_bytes());
    out.push(b' ');
    if let Some(code) = code {
        out.push(b'[');
        code.write(out);
        out.extend_from_slice(b"] ");
    }
    resp_text(out, text);
}

/// `text = 1*TEXT-CHAR`: printable ASCII, whatever was given.
fn resp_text(out: &mut Vec<u8>, text: &str) {
    let clean = |byte: u8| if (b' '..=b'~').contains(&byte) { byte } else { b'?' };
    if text.is_empty() {
        out.push(b'.');
    }
    out.extend(text.bytes().map(clean));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        let mut out = Vec::new();
        let tag = Tag::new(b"a1").unwrap();
        tagged(
            &mut out,
            &tag,
            Condition::Ok,
            Some(&ResponseCode::ReadWrite),
            "SELECT completed",
        );
        tagged(&mut out, &tag, Condition::Bad, None, "odd\r\na2 OK text ä");
        untagged(&mut out, Condition::Bye, None, "");
        continuation(&mut out, "idling");
        continuation_base64(&mut out, b"Username:");
        continuation_base64(&mut out, b"");
        let wanted = "a1 OK [READ-WRITE] SELECT completed\r\na1 BAD odd??a2 OK text ??\r\n* BYE .\r\n\
                      + idling\r\n+ VXNlcm5hbWU6\r\n+ \r\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
