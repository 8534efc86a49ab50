//! Wrong use, which exits 2; everything else that fails exits 1.

use std::fmt;

/// The command was used wrongly: what, why, what to do.
#[derive(Debug)]
pub(crate) struct WrongUse(String);

impl WrongUse {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for WrongUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}
