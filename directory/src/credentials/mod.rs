//! Passwords: hashed, verified, and remembered for a while as verified.
//!
//! Verifying costs tens of milliseconds of CPU on purpose, so it runs on threads of its own behind a bounded queue
//! ([`pool`]); a full queue is "try again", never "wrong password". A secret that was verified lately is known by a keyed
//! hash ([`cache`]). Never logs, stores or returns a secret.

mod cache;
mod pool;

use std::time::{Duration, Instant};

use argon2::password_hash::{Output, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use ring::rand::{SecureRandom, SystemRandom};
use rookery_process::traces;
use rookery_proto::Status;

use self::cache::Cache;
use self::pool::Pool;
use crate::catalogue::{PASSWORD_SECONDS, PASSWORD_VERIFICATIONS, looked_up};
use crate::schema::AccountId;

/// The longest password.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// How long a verified secret is remembered.
const CACHE_EXPIRY: Duration = Duration::from_secs(300);

/// Secrets that are remembered.
const CACHE_ENTRIES_MAX: usize = 100_000;

/// Memory of one hash, in KiB (OWASP's first recommendation for argon2id).
const MEMORY_KIB: u32 = 19 * 1024;

/// Passes over the memory.
const PASSES: u32 = 2;

/// Whether a password is an account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Right,
    /// It is not, or there is no such account.
    Wrong,
}

/// An account's stored secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whose it is.
    pub account: AccountId,
    /// Grows when the secret changes.
    pub generation: u64,
    /// The hash in PHC form.
    pub secret: String,
}

/// Checks and hashes passwords.
pub struct Credentials {
    pool: Pool,
    cache: Cache,
    /// A hash that no password has, for names that are unknown.
    decoy: String,
    params: Params,
}

impl Credentials {
    /// With so many threads, and room for so many waiting verifications.
    pub fn new(threads: usize, queue_max: usize) -> Result<Self, Status> {
        Self::over(Pool::new(threads, queue_max)?, params(MEMORY_KIB, PASSES)?)
    }

    /// Without threads, and with hashes that cost as little as can be: for a simulation, which keeps nobody's secrets.
    pub fn in_place() -> Result<Self, Status> {
        Self::over(Pool::in_place(), params(Params::MIN_M_COST, Params::MIN_T_COST)?)
    }

    fn over(pool: Pool, params: Params) -> Result<Self, Status> {
        let random = SystemRandom::new();
        let mut output = [0u8; 32];
        fill(&random, &mut output)?;
        let mut salt_bytes = [0u8; 16];
        fill(&random, &mut salt_bytes)?;
        let salt = SaltString::encode_b64(&salt_bytes).map_err(|_| Status::internal("cannot make a salt"))?;
        let decoy = PasswordHash {
            algorithm: argon2::ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: (&params)
                .try_into()
                .map_err(|_| Status::internal("cannot encode parameters"))?,
            salt: Some(salt.as_salt()),
            hash: Some(Output::new(&output).map_err(|_| Status::internal("cannot make a hash"))?),
        }
        .to_string();
        Ok(Self {
            pool,
            cache: Cache::new(CACHE_ENTRIES_MAX, CACHE_EXPIRY)?,
            decoy,
            params,
        })
    }

    /// Whether the password is the account's. A name that is unknown (`None`) takes as long as a wrong password. UNAVAILABLE
    /// when too many wait already.
    pub async fn verify(
        &self,
        stored: Option<&Stored>,
        password: &str,
        deadline: Instant,
    ) -> Result<Verdict, Status> {
        let now = Instant::now();
        if let Some(stored) = stored
            && self.cache.knows(stored.account, stored.generation, password, now)
        {
            count("cached");
            looked_up("passwords", true);
            return Ok(Verdict::Right);
        }
        looked_up("passwords", false);
        let hash = match stored {
            Some(stored) if !stored.secret.is_empty() => stored.secret.clone(),
            _ => self.decoy.clone(),
        };
        // Too long to be anybody's; its length alone must not cost much.
        let password_fits = password.len() <= PASSWORD_BYTES_MAX;
        let tried = if password_fits {
            password.to_owned()
        } else {
            String::new()
        };
        let verifying = self.pool.verify(deadline, move || verify_hash(&hash, &tried));
        let verified = traces::step("password").run(verifying).await?;
        PASSWORD_SECONDS.record(now.elapsed().as_secs_f64());
        match stored {
            Some(stored) if verified && password_fits => {
                count("right");
                self.cache
                    .remember(stored.account, stored.generation, password, Instant::now());
                Ok(Verdict::Right)
            }
            _ => {
                count("wrong");
                Ok(Verdict::Wrong)
            }
        }
    }

    /// Hashes passwords, equal ones once: accounts that are made together with one password share one salt, which shows
    /// whoever reads the stored hashes that they were equal, and makes filling a playground bearable.
    pub async fn hash_all(&self, passwords: &[String]) -> Result<Vec<String>, Status> {
        let mut distinct: Vec<&String> = passwords.iter().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let hashed =
            futures_util::future::try_join_all(distinct.iter().map(|password| self.hash(password))).await?;
        passwords
            .iter()
            .map(|password| {
                let index = distinct.binary_search(&password).ok();
                index
                    .and_then(|index| hashed.get(index).cloned())
                    .ok_or_else(|| Status::internal("a password was not hashed"))
            })
            .collect()
    }

    /// Hashes a password for storing, after those that came before.
    pub async fn hash(&self, password: &str) -> Result<String, Status> {
        check_password(password)?;
        let (password, params) = (password.to_owned(), self.params.clone());
        self.pool.hash(move || make_hash(&password, params)).await?
    }

    /// Forgets what was remembered of an account.
    pub fn forget(&self, account: AccountId) {
        self.cache.forget(account);
    }
}

/// Whether a new password may be one.
pub fn check_password(password: &str) -> Result<(), Status> {
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err(Status::invalid(format!(
            "a password has 1 to {PASSWORD_BYTES_MAX} bytes"
        )));
    }
    // RFC 4616 §2: NUL ends the fields of SASL PLAIN.
    if password.contains('\0') {
        return Err(Status::invalid("a password cannot hold a NUL"));
    }
    Ok(())
}

fn params(memory_kib: u32, passes: u32) -> Result<Params, Status> {
    Params::new(memory_kib, passes, 1, None)
        .map_err(|error| Status::internal(format!("bad argon2 parameters: {error}")))
}

fn fill(random: &SystemRandom, bytes: &mut [u8]) -> Result<(), Status> {
    random
        .fill(bytes)
        .map_err(|_| Status::internal("the system gives no random bytes"))
}

fn make_hash(password: &str, params: Params) -> Result<String, Status> {
    let mut salt = [0u8; 16];
    fill(&SystemRandom::new(), &mut salt)?;
    let salt = SaltString::encode_b64(&salt).map_err(|_| Status::internal("cannot make a salt"))?;
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| Status::internal(format!("cannot hash a password: {error}")))?;
    Ok(hash.to_string())
}

fn verify_hash(stored: &str, password: &str) -> bool {
    // Parameters come from the stored hash, so that older ones still verify.
    PasswordHash::new(stored).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

fn count(result: &'static str) {
    PASSWORD_VERIFICATIONS.with(&[result]).increment(1);
}

#[cfg(test)]
mod tests {
    use rookery_proto::Reason;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    async fn stored(credentials: &Credentials, password: &str) -> Stored {
        Stored {
            account: AccountId(1),
            generation: 1,
            secret: credentials.hash(password).await.unwrap(),
        }
    }

    #[tokio::test]
    async fn tells_right_from_wrong() {
        let credentials = Credentials::new(2, 8).unwrap();
        let stored = stored(&credentials, "secret").await;
        let verify = async |stored: Option<&Stored>, password: &str| {
            credentials.verify(stored, password, soon()).await.unwrap()
        };
        assert_eq!(verify(Some(&stored), "secret").await, Verdict::Right);
        assert_eq!(verify(Some(&stored), "Secret").await, Verdict::Wrong);
        assert_eq!(verify(Some(&stored), "").await, Verdict::Wrong);
        assert_eq!(
            verify(Some(&stored), &"x".repeat(PASSWORD_BYTES_MAX + 1)).await,
            Verdict::Wrong
        );
        assert_eq!(verify(None, "secret").await, Verdict::Wrong);
        assert_eq!(verify(None, "").await, Verdict::Wrong);
        let removed = Stored {
            secret: String::new(),
            generation: 2,
            ..stored
        };
        assert_eq!(verify(Some(&removed), "").await, Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_verified_secret_costs_no_second_verification() {
        let credentials = Credentials::new(1, 1).unwrap();
        let right = stored(&credentials, "secret").await;
        assert_eq!(
            credentials.verify(Some(&right), "secret", soon()).await.unwrap(),
            Verdict::Right
        );
        // Its hash is gone, so only the cache can know.
        let remembered = Stored {
            secret: String::new(),
            ..right.clone()
        };
        assert_eq!(
            credentials
                .verify(Some(&remembered), "secret", soon())
                .await
                .unwrap(),
            Verdict::Right
        );
        assert_eq!(
            credentials
                .verify(Some(&remembered), "other", soon())
                .await
                .unwrap(),
            Verdict::Wrong
        );
        let changed = Stored {
            generation: 2,
            ..remembered.clone()
        };
        assert_eq!(
            credentials
                .verify(Some(&changed), "secret", soon())
                .await
                .unwrap(),
            Verdict::Wrong
        );
        credentials.forget(AccountId(1));
        assert_eq!(
            credentials
                .verify(Some(&remembered), "secret", soon())
                .await
                .unwrap(),
            Verdict::Wrong
        );
    }

    #[tokio::test]
    async fn equal_passwords_are_hashed_once() {
        let credentials = Credentials::new(2, 8).unwrap();
        let passwords = ["a", "b", "a"].map(str::to_owned);
        let hashes = credentials.hash_all(&passwords).await.unwrap();
        assert_eq!(hashes[0], hashes[2]);
        assert_ne!(hashes[0], hashes[1]);
        assert!(hashes[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify_hash(&hashes[1], "b"));
    }

    #[tokio::test]
    async fn in_place_right_and_wrong_are_told_apart_for_little() {
        let credentials = Credentials::in_place().unwrap();
        let stored = stored(&credentials, "secret").await;
        assert!(stored.secret.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        for (password, verdict) in [("other", Verdict::Wrong), ("secret", Verdict::Right)] {
            let verified = credentials.verify(Some(&stored), password, soon()).await;
            assert_eq!(verified.unwrap(), verdict);
        }
    }

    #[tokio::test]
    async fn a_late_verification_is_not_run() {
        let credentials = Credentials::new(1, 8).unwrap();
        let stored = stored(&credentials, "secret").await;
        let late = credentials
            .verify(Some(&stored), "secret", Instant::now())
            .await
            .unwrap_err();
        assert_eq!(late.reason, Reason::DeadlineExceeded);
    }

    #[test]
    fn bad_passwords_are_refused() {
        assert!(check_password("").is_err());
        assert!(check_password("a\0b").is_err());
        assert!(check_password(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
        assert!(check_password("x").is_ok());
    }
}
