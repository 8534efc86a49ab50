//! A join token: all that a new machine has to know of a cluster that it joins, in one line. A secret until it is used.

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// What every token begins with; the number is its format's.
const PREFIX: &str = "rookery-join-1.";

/// What tokens of all formats begin with.
const PREFIX_OF_ALL: &str = "rookery-join-";

/// The longest token that is read, in bytes.
pub(crate) const BYTES_MAX: u64 = 64 * 1024;

/// What it says. Not `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinToken {
    /// The cluster's id.
    pub(crate) cluster: String,
    /// The certificate of the cluster's CA (PEM): who cannot show one of it is not the directory.
    pub(crate) ca: String,
    /// Where the directory's members are asked, as `https://host:port`.
    pub(crate) addresses: Vec<String>,
    /// The new node's id.
    pub(crate) id: String,
    /// Its role.
    pub(crate) role: String,
    /// What makes the directory issue its certificate.
    pub(crate) secret: String,
}

impl JoinToken {
    /// In one line.
    pub(crate) fn to_text(&self) -> anyhow::Result<String> {
        let json = serde_json::to_vec(self)?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json)))
    }

    /// Reads that. No error repeats what was read.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            if text.starts_with(PREFIX_OF_ALL) {
                bail!(
                    "the join token has another format than this program's: use the program of the cluster's version"
                );
            }
            bail!(
                "this is no join token: give what `rookery node add` has printed, a line that begins with {PREFIX}"
            );
        };
        let damaged = "the join token is not whole: give the line as `rookery node add` has printed it";
        let json = URL_SAFE_NO_PAD.decode(encoded).ok().context(damaged)?;
        serde_json::from_slice(&json).ok().context(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            cluster: "c1".to_owned(),
            ca: "-----BEGIN CERTIFICATE-----\n".to_owned(),
            addresses: vec!["https://d1:7443".to_owned()],
            id: "mailstore-4".to_owned(),
            role: "mailstore".to_owned(),
            secret: "01.02".to_owned(),
        }
    }

    #[test]
    fn a_token_is_one_line_and_comes_back() {
        let text = token().to_text().unwrap();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(JoinToken::parse(&format!("  {text}\n")).unwrap() == token());
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let text = token().to_text().unwrap();
        let newer = text.replace("join-1", "join-2");
        let cut = &text[..text.len() - 5];
        for (bad, why) in [
            ("", "no join token"),
            ("secret-of-something-else", "no join token"),
            (newer.as_str(), "another format"),
            (cut, "not whole"),
            ("rookery-join-1.e30", "not whole"),
        ] {
            let error = JoinToken::parse(bad).err().unwrap().to_string();
            assert!(error.contains(why), "{error}");
            assert!(bad.len() < 20 || !error.contains(bad), "{error}");
        }
    }
}
