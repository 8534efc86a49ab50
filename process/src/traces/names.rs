//! How traces name accounts and clients: by a keyed hash, as they are, or not at all.

use std::path::Path;

use opentelemetry::Value;
use ring::hmac;
use ring::rand::SystemRandom;

use super::{Addresses, TracesError};

/// Octets of a secret at least: accounts are small numbers, and addresses can be guessed, but not together with it.
const KEY_OCTETS_MIN: usize = 16;

/// Octets of a hash that are shown: enough to tell accounts apart.
const SHOWN_OCTETS: usize = 8;

/// Names accounts and clients.
pub(super) enum Names {
    Hashed(hmac::Key),
    Plain,
    None,
}

impl Names {
    /// With the secret of a file, or one of the process's own.
    pub(super) fn load(addresses: Addresses, key_file: Option<&Path>) -> Result<Self, TracesError> {
        match (addresses, key_file) {
            (Addresses::Plain, _) => Ok(Self::Plain),
            (Addresses::None, _) => Ok(Self::None),
            (Addresses::Hashed, None) => hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
                .map(Self::Hashed)
                .map_err(|_| TracesError::Value("addresses: the system gives no random bytes".to_owned())),
            (Addresses::Hashed, Some(path)) => {
                let held = std::fs::read(path).map_err(|source| TracesError::Read {
                    key: "key_file",
                    path: path.to_path_buf(),
                    source,
                })?;
                let secret = held.trim_ascii();
                if secret.len() < KEY_OCTETS_MIN {
                    return Err(TracesError::Value(format!(
                        "key_file {}: the secret has {} bytes, give it {KEY_OCTETS_MIN} at least",
                        path.display(),
                        secret.len()
                    )));
                }
                Ok(Self::Hashed(hmac::Key::new(hmac::HMAC_SHA256, secret)))
            }
        }
    }

    /// An account's or a client's name; the kind keeps equal names of two kinds apart.
    pub(super) fn name(&self, kind: &str, name: &dyn std::fmt::Display) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Plain => Some(name.to_string().into()),
            Self::Hashed(key) => {
                let tag = hmac::sign(key, format!("{kind} {name}").as_bytes());
                let shown = tag.as_ref().iter().take(SHOWN_OCTETS);
                let text: String = shown.map(|octet| format!("{octet:02x}")).collect();
                Some(text.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &Names, kind: &str, name: u64) -> Option<String> {
        names.name(kind, &name).map(|value| value.to_string())
    }

    #[test]
    fn names_are_hashed_plain_or_left_out() {
        let plain = Names::load(Addresses::Plain, None).unwrap();
        assert_eq!(named(&plain, "account", 7).as_deref(), Some("7"));
        let none = Names::load(Addresses::None, None).unwrap();
        assert_eq!(named(&none, "account", 7), None);
        let own = Names::load(Addresses::Hashed, None).unwrap();
        let seven = named(&own, "account", 7).unwrap();
        assert_eq!(seven.len(), SHOWN_OCTETS * 2);
        assert_eq!(named(&own, "account", 7), Some(seven.clone()));
        assert_ne!(named(&own, "account", 8), Some(seven.clone()));
        assert_ne!(named(&own, "client", 7), Some(seven.clone()));
        let other = Names::load(Addresses::Hashed, None).unwrap();
        assert_ne!(named(&other, "account", 7), Some(seven));
    }

    #[test]
    fn nodes_with_one_secret_name_alike_and_a_short_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let load = || Names::load(Addresses::Hashed, Some(&path));
        let name = named(&load().unwrap(), "account", 7);
        assert!(name.is_some() && name == named(&load().unwrap(), "account", 7));
        std::fs::write(&path, "0123456789\n").unwrap();
        let error = load().err().expect("too short").to_string();
        assert!(error.contains("10 bytes"), "{error}");
    }
}
