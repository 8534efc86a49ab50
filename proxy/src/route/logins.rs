//! Logins that the directory has granted lately, for while it cannot be reached.
//!
//! Of the secret a keyed hash is kept, under a random key that dies with the process. Entries are bounded in number and
//! age, go with the directory's notices, and are of use only as long as the token that came with them. Whoever guesses
//! has few tries at an entry: behind them it is gone.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;
use rookery_proto::directory::v1::Authenticated;

use super::account::now_millis;
use super::watch::Notice;

/// Logins kept.
const LOGINS_MAX: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");

/// The longest login that is kept.
const LOGIN_BYTES_MAX: usize = 512;

/// Wrong secrets that may be tried at one entry.
const GUESSES_MAX: u32 = 5;

/// What is left of a token at least, so that a session can do something with it.
const TOKEN_LEFT_MIN: Duration = Duration::from_secs(5);

struct Entry {
    tag: hmac::Tag,
    guesses_left: u32,
    expires_at: Instant,
    granted: Authenticated,
}

/// What is kept.
struct Entries {
    by_login: LruCache<String, Entry>,
    /// The logins of each account that are kept.
    by_account: HashMap<u64, Vec<String>>,
}

impl Entries {
    fn put(&mut self, login: &str, entry: Entry) {
        self.pop(login);
        let of_account = self.by_account.entry(entry.granted.account).or_default();
        of_account.push(login.to_owned());
        // Another one is pushed out when there are many.
        if let Some((login, gone)) = self.by_login.push(login.to_owned(), entry) {
            self.forget(&login, gone.granted.account);
        }
    }

    fn pop(&mut self, login: &str) {
        if let Some(gone) = self.by_login.pop(login) {
            self.forget(login, gone.granted.account);
        }
    }

    fn forget(&mut self, login: &str, account: u64) {
        if let Some(logins) = self.by_account.get_mut(&account) {
            logins.retain(|one| one != login);
            if logins.is_empty() {
                self.by_account.remove(&account);
            }
        }
    }
}

/// The cache.
pub(super) struct Logins {
    /// `None` when the system gave no random bytes: then nothing is kept.
    key: Option<hmac::Key>,
    /// How long after the directory has checked a secret it counts.
    kept: Duration,
    entries: Mutex<Entries>,
    /// Grows with each notice: what the directory said before one is not kept after it.
    epoch: AtomicU64,
}

impl Logins {
    /// Nothing yet.
    pub(super) fn new(kept: Duration) -> Self {
        Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            kept,
            entries: Mutex::new(Entries {
                by_login: LruCache::new(LOGINS_MAX),
                by_account: HashMap::new(),
            }),
            epoch: AtomicU64::new(0),
        }
    }

    /// To be read before the directory is asked, and given to [`Logins::granted`].
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The directory has granted a login, unless something became void since it was asked.
    pub(super) fn granted(&self, login: &str, password: &str, granted: &Authenticated, epoch: u64) {
        let Some(key) = self.key.as_ref().filter(|_| login.len() <= LOGIN_BYTES_MAX) else {
            return;
        };
        let entry = Entry {
            tag: hmac::sign(key, &input(login, password)),
            guesses_left: GUESSES_MAX,
            expires_at: Instant::now() + self.kept,
            granted: granted.clone(),
        };
        let mut entries = self.entries.lock();
        if self.epoch() == epoch {
            entries.put(login, entry);
        }
    }

    /// The directory has refused a login. When it had granted just that, it does not any more; a wrong guess of somebody
    /// takes nothing from whoever knows better.
    pub(super) fn refused(&self, login: &str, password: &str) {
        let mut entries = self.entries.lock();
        let is_same = |(entry, key): (&Entry, &hmac::Key)| {
            hmac::verify(key, &input(login, password), entry.tag.as_ref()).is_ok()
        };
        if entries
            .by_login
            .peek(login)
            .zip(self.key.as_ref())
            .is_some_and(is_same)
        {
            entries.pop(login);
        }
    }

    /// A session's token was renewed: it is worth more than the one of the login.
    pub(super) fn renewed(&self, account: u64, renewed: &Authenticated) {
        let mut entries = self.entries.lock();
        let Entries { by_login, by_account } = &mut *entries;
        for login in by_account.get(&account).into_iter().flatten() {
            if let Some(entry) = by_login.peek_mut(login) {
                entry.granted.shard = renewed.shard;
                entry.granted.generation = renewed.generation;
                entry.granted.token = renewed.token.clone();
                entry.granted.token_expires_at_millis = renewed.token_expires_at_millis;
            }
        }
    }

    /// Whether anything is known of a login.
    pub(super) fn has(&self, login: &str) -> bool {
        self.entries.lock().by_login.contains(login)
    }

    /// What the directory granted for this secret lately.
    pub(super) fn get(&self, login: &str, password: &str) -> Option<Authenticated> {
        let key = self.key.as_ref()?;
        let mut entries = self.entries.lock();
        let entry = entries.by_login.get_mut(login)?;
        let token_left_min = u64::try_from(TOKEN_LEFT_MIN.as_millis()).unwrap_or(u64::MAX);
        let token_ends = entry.granted.token_expires_at_millis;
        if entry.expires_at <= Instant::now() || token_ends <= now_millis().saturating_add(token_left_min) {
            entries.pop(login);
            return None;
        }
        // Compares in constant time.
        if hmac::verify(key, &input(login, password), entry.tag.as_ref()).is_ok() {
            return Some(entry.granted.clone());
        }
        entry.guesses_left = entry.guesses_left.saturating_sub(1);
        if entry.guesses_left == 0 {
            entries.pop(login);
        }
        None
    }

    /// Drops what a notice makes void.
    pub(super) fn void(&self, notice: &Notice) {
        let mut entries = self.entries.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        match notice {
            Notice::All => {
                entries.by_login.clear();
                entries.by_account.clear();
            }
            Notice::Recipients => {}
            Notice::Account { account, .. } => {
                for login in entries.by_account.remove(account).unwrap_or_default() {
                    entries.by_login.pop(&login);
                }
            }
        }
    }
}

/// Name and secret, told apart by the name's length.
fn input(login: &str, password: &str) -> Vec<u8> {
    let mut input = Vec::with_capacity(8 + login.len() + password.len());
    input.extend_from_slice(&(login.len() as u64).to_be_bytes());
    input.extend_from_slice(login.as_bytes());
    input.extend_from_slice(password.as_bytes());
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(account: u64) -> Authenticated {
        Authenticated {
            account,
            token_expires_at_millis: u64::MAX,
            ..Authenticated::default()
        }
    }

    fn logins(kept: Duration) -> Logins {
        let logins = Logins::new(kept);
        logins.granted("ann", "secret", &granted(1), logins.epoch());
        logins.granted("bob", "secret", &granted(2), logins.epoch());
        logins
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn knows_a_name_with_its_secret_and_nothing_else() {
        let logins = logins(LONG);
        assert_eq!(logins.get("ann", "secret").map(|one| one.account), Some(1));
        for (login, password) in [
            ("ann", "secret2"),
            ("ann", ""),
            ("anns", "ecret"),
            ("cat", "secret"),
        ] {
            assert_eq!(logins.get(login, password), None, "{login} {password}");
        }
        assert!(logins.has("ann") && !logins.has("cat"));
    }

    #[test]
    fn whoever_guesses_has_few_tries() {
        let logins = logins(LONG);
        for guess in 0..GUESSES_MAX {
            assert_eq!(logins.get("ann", &guess.to_string()), None);
        }
        assert_eq!(logins.get("ann", "secret"), None);
        assert!(logins.get("bob", "secret").is_some());
    }

    #[test]
    fn goes_with_age_with_its_token_and_with_a_refusal() {
        assert_eq!(logins(Duration::ZERO).get("ann", "secret"), None);
        let logins = logins(LONG);
        let ends_soon = Authenticated {
            token_expires_at_millis: now_millis() + 4_000,
            ..granted(1)
        };
        logins.granted("ann", "secret", &ends_soon, logins.epoch());
        // A session has renewed it.
        logins.renewed(1, &granted(1));
        assert!(logins.get("ann", "secret").is_some());
        logins.granted("ann", "secret", &ends_soon, logins.epoch());
        assert_eq!(logins.get("ann", "secret"), None);
        logins.refused("bob", "wrong");
        assert!(logins.get("bob", "secret").is_some());
        logins.refused("bob", "secret");
        assert_eq!(logins.get("bob", "secret"), None);
    }

    #[test]
    fn goes_with_notices_and_what_was_asked_before_one_is_not_kept() {
        let logins = logins(LONG);
        let epoch = logins.epoch();
        let end_sessions = false;
        logins.void(&Notice::Account {
            account: 1,
            end_sessions,
            version: 1,
            moved_to: None,
        });
        assert!(!logins.has("ann") && logins.has("bob"));
        logins.granted("ann", "secret", &granted(1), epoch);
        assert!(!logins.has("ann"));
        logins.void(&Notice::All);
        assert!(!logins.has("bob"));
    }
}
