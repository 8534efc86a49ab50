//! Subaddressing, RFC 5233 §1: `user+detail`.

/// A local part taken apart at its separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subaddress<'a> {
    /// What comes before the separator; the whole local part where there is none.
    pub user: &'a str,
    /// What comes after the separator, possibly empty; `None` where there is none.
    pub detail: Option<&'a str>,
}

impl<'a> Subaddress<'a> {
    /// Splits at the first separator. A local part that begins with it has no user before it and is
    /// left whole, so that `+@example.test` never becomes an empty name.
    pub fn of(local: &'a str, separator: char) -> Subaddress<'a> {
        match local.split_once(separator) {
            Some((user, detail)) if !user.is_empty() => Subaddress {
                user,
                detail: Some(detail),
            },
            _ => Subaddress {
                user: local,
                detail: None,
            },
        }
    }
}
