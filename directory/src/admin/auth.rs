//! The operator's token: kept in a file that only its owner reads, and asked of every call.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use tonic::service::Interceptor;

/// The fewest characters of a token.
const TOKEN_BYTES_MIN: usize = 16;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The file cannot be read or made.
    #[error("cannot use the admin token file: {0}")]
    Io(#[from] std::io::Error),
    /// The file holds too little.
    #[error(
        "the admin token file holds no token of at least {TOKEN_BYTES_MIN} characters: remove it to have one made"
    )]
    Short,
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Reads the token, or makes one.
pub fn read_or_make(path: &Path) -> Result<String, TokenFileError> {
    read(path)?.map_or_else(|| make(path), Ok)
}

/// Reads the token. Nothing when there is no such file yet.
pub fn read(path: &Path) -> Result<Option<String>, TokenFileError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let token = text.trim();
            if token.len() < TOKEN_BYTES_MIN {
                return Err(TokenFileError::Short);
            }
            Ok(Some(token.to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn make(path: &Path) -> Result<String, TokenFileError> {
    let mut bytes = [0u8; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| TokenFileError::Random)?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    // Whole or not at all: written beside, then renamed.
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    Ok(token)
}

/// Lets only calls with the token through.
#[derive(Clone)]
pub struct Bearer {
    key: hmac::Key,
    wanted: hmac::Tag,
}

impl Bearer {
    /// Of this token.
    pub fn new(token: &str) -> Result<Self, TokenFileError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| TokenFileError::Random)?;
        let wanted = hmac::sign(&key, token.as_bytes());
        Ok(Self { key, wanted })
    }

    /// Whether the value of an `authorization` header has the token; if not, what is to be said.
    pub(super) fn check(&self, header: Option<&str>) -> Result<(), &'static str> {
        // RFC 7235 §2.1: the scheme is compared without regard to case.
        let presented = header
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match presented {
            Some(token) if self.is_right(token) => Ok(()),
            Some(_) => Err("the admin token is wrong: check --token-file"),
            None => Err("no admin token: send `authorization: Bearer …`"),
        }
    }

    fn is_right(&self, presented: &str) -> bool {
        // Through a keyed hash, so that the time taken tells nothing of the token.
        hmac::verify(&self.key, presented.as_bytes(), self.wanted.as_ref()).is_ok()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        let header = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        match self.check(header) {
            Ok(()) => Ok(request),
            Err(message) => Err(tonic::Status::unauthenticated(message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin-token");
        let token = read_or_make(&path).unwrap();
        assert!(token.len() >= 43);
        assert_eq!(read_or_make(&path).unwrap(), token);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::write(&path, "short\n").unwrap();
        assert!(matches!(read_or_make(&path), Err(TokenFileError::Short)));
    }

    #[test]
    fn only_the_token_gets_through() {
        let mut bearer = Bearer::new("a-token-of-some-length").unwrap();
        let mut outcome = |header: Option<&str>| {
            let mut request = tonic::Request::new(());
            if let Some(header) = header {
                request
                    .metadata_mut()
                    .insert("authorization", header.parse().unwrap());
            }
            bearer.call(request).map(drop).map_err(|status| status.code())
        };
        assert_eq!(outcome(Some("Bearer a-token-of-some-length")), Ok(()));
        assert_eq!(outcome(Some("bearer a-token-of-some-length")), Ok(()));
        for wrong in [
            None,
            Some("Bearer x"),
            Some("a-token-of-some-length"),
            Some("Basic a-token-of-some-length"),
        ] {
            assert_eq!(outcome(wrong), Err(tonic::Code::Unauthenticated), "{wrong:?}");
        }
    }
}
