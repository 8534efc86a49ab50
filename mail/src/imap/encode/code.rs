//! Response codes. RFC 3501 §7.1, RFC 5530, and those of the extensions.

use super::number::{number, uid_set};
use super::string::{astring, flag_list};
use crate::imap::types::{Flag, Uid};

/// What stands in brackets before the text of a status response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseCode<'a> {
    /// `ALERT`: the client must show the text.
    Alert,
    /// `BADCHARSET (…)`: the charsets that are known.
    BadCharset(&'a [&'a str]),
    /// `CAPABILITY …`: the capabilities, separated by spaces.
    Capability(&'a str),
    /// `PARSE`
    Parse,
    /// `PERMANENTFLAGS (…)`, and `\*` when new keywords can be made.
    PermanentFlags {
        /// The flags that stay.
        flags: &'a [Flag],
        /// Whether keywords can be made by storing them.
        new_keywords: bool,
    },
    /// `READ-ONLY`
    ReadOnly,
    /// `READ-WRITE`
    ReadWrite,
    /// `TRYCREATE`
    TryCreate,
    /// `UIDNEXT n`
    UidNext(u32),
    /// `UIDVALIDITY n`
    UidValidity(u32),
    /// `UNSEEN n`: the first unseen message.
    Unseen(u32),
    /// `APPENDUID validity uids`, RFC 4315 §3.
    AppendUid {
        /// The mailbox's UIDVALIDITY.
        validity: u32,
        /// The new UIDs, in the order of the messages.
        uids: &'a [Uid],
    },
    /// `COPYUID validity source target`, RFC 4315 §3; the two sets correspond by position.
    CopyUid {
        /// The UIDVALIDITY of the mailbox copied to.
        validity: u32,
        /// The UIDs of the originals.
        source: &'a [Uid],
        /// The UIDs of the copies.
        target: &'a [Uid],
    },
    /// `HIGHESTMODSEQ n`, RFC 7162 §3.1.2.1.
    HighestModSeq(u64),
    /// `CLOSED`, RFC 7162 §3.2.11: what follows is of the mailbox selected now.
    Closed,
    /// `TOOBIG`, RFC 4469 §4.2.
    TooBig,
    /// `USEATTR`, RFC 6154 §6.
    UseAttr,
    /// `UNAVAILABLE`, RFC 5530 §3, as all that follow.
    Unavailable,
    /// `AUTHENTICATIONFAILED`
    AuthenticationFailed,
    /// `AUTHORIZATIONFAILED`
    AuthorizationFailed,
    /// `EXPIRED`
    Expired,
    /// `PRIVACYREQUIRED`
    PrivacyRequired,
    /// `CONTACTADMIN`
    ContactAdmin,
    /// `NOPERM`
    NoPerm,
    /// `INUSE`
    InUse,
    /// `CORRUPTION`
    Corruption,
    /// `SERVERBUG`
    ServerBug,
    /// `CLIENTBUG`
    ClientBug,
    /// `CANNOT`
    Cannot,
    /// `LIMIT`
    Limit,
    /// `OVERQUOTA`
    OverQuota,
    /// `ALREADYEXISTS`
    AlreadyExists,
    /// `NONEXISTENT`
    Nonexistent,
}

impl ResponseCode<'_> {
    /// Writes the code without its brackets.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name().as_bytes());
        match self {
            Self::BadCharset(charsets) if !charsets.is_empty() => {
                out.extend_from_slice(b" (");
                for (index, charset) in charsets.iter().enumerate() {
                    if index > 0 {
                        out.push(b' ');
                    }
                    astring(out, charset.as_bytes());
                }
                out.push(b')');
            }
            Self::Capability(capabilities) => {
                out.push(b' ');
                out.extend_from_slice(capabilities.as_bytes());
            }
            Self::PermanentFlags { flags, new_keywords } => {
                out.push(b' ');
                flag_list(out, *flags);
                if *new_keywords {
                    out.pop();
                    out.extend_from_slice(if flags.is_empty() { b"\\*)" } else { b" \\*)" });
                }
            }
            Self::UidNext(value) | Self::UidValidity(value) | Self::Unseen(value) => {
                out.push(b' ');
                number(out, u64::from(*value));
            }
            Self::HighestModSeq(value) => {
                out.push(b' ');
                number(out, *value);
            }
            Self::AppendUid { validity, uids } => uids_after(out, *validity, &[uids]),
            Self::CopyUid {
                validity,
                source,
                target,
            } => uids_after(out, *validity, &[source, target]),
            _ => {}
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::BadCharset(_) => "BADCHARSET",
            Self::Capability(_) => "CAPABILITY",
            Self::Parse => "PARSE",
            Self::PermanentFlags { .. } => "PERMANENTFLAGS",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unseen(_) => "UNSEEN",
            Self::AppendUid { .. } => "APPENDUID",
            Self::CopyUid { .. } => "COPYUID",
            Self::HighestModSeq(_) => "HIGHESTMODSEQ",
            Self::Closed => "CLOSED",
            Self::TooBig => "TOOBIG",
            Self::UseAttr => "USEATTR",
            Self::Unavailable => "UNAVAILABLE",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Self::Expired => "EXPIRED",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ContactAdmin => "CONTACTADMIN",
            Self::NoPerm => "NOPERM",
            Self::InUse => "INUSE",
            Self::Corruption => "CORRUPTION",
            Self::ServerBug => "SERVERBUG",
            Self::ClientBug => "CLIENTBUG",
            Self::Cannot => "CANNOT",
            Self::Limit => "LIMIT",
            Self::OverQuota => "OVERQUOTA",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::Nonexistent => "NONEXISTENT",
        }
    }
}

fn uids_after(out: &mut Vec<u8>, validity: u32, sets: &[&[Uid]]) {
    out.push(b' ');
    number(out, u64::from(validity));
    for set in sets {
        out.push(b' ');
        uid_set(out, set.iter().map(|uid| uid.get()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let uids = |numbers: &[u32]| numbers.iter().filter_map(|n| Uid::new(*n)).collect::<Vec<_>>();
        let (source, target) = (uids(&[4, 2, 3]), uids(&[9, 10, 11]));
        for (code, text) in [
            (ResponseCode::Alert, "ALERT"),
            (ResponseCode::BadCharset(&[]), "BADCHARSET"),
            (
                ResponseCode::BadCharset(&["UTF-8", "US-ASCII"]),
                "BADCHARSET (UTF-8 US-ASCII)",
            ),
            (
                ResponseCode::Capability("IMAP4rev1 IDLE"),
                "CAPABILITY IMAP4rev1 IDLE",
            ),
            (
                ResponseCode::PermanentFlags {
                    flags: &[Flag::Seen],
                    new_keywords: true,
                },
                "PERMANENTFLAGS (\\Seen \\*)",
            ),
            (
                ResponseCode::PermanentFlags {
                    flags: &[],
                    new_keywords: true,
                },
                "PERMANENTFLAGS (\\*)",
            ),
            (
                ResponseCode::PermanentFlags {
                    flags: &[],
                    new_keywords: false,
                },
                "PERMANENTFLAGS ()",
            ),
            (
                ResponseCode::AppendUid {
                    validity: 7,
                    uids: &target,
                },
                "APPENDUID 7 9:11",
            ),
            (
                ResponseCode::CopyUid {
                    validity: 7,
                    source: &source,
                    target: &target,
                },
                "COPYUID 7 4,2:3 9:11",
            ),
            (
                ResponseCode::HighestModSeq(u64::MAX),
                "HIGHESTMODSEQ 18446744073709551615",
            ),
        ] {
            let mut out = Vec::new();
            code.write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}
