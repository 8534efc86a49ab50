//! The accounts that a directory is filled with: their names, and the rows that a backup would have of them.

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use rookery_directory::address::{Address, DomainName};
use rookery_directory::credentials::Credentials;
use rookery_directory::schema::row::{self, Life, Row};
use rookery_directory::schema::{AccountId, key};
use rookery_proto::rows::{RowColumn, encode_frame};

/// Accounts of one domain.
const ACCOUNTS_A_DOMAIN: u64 = 10_000;

/// Everybody's.
pub(super) const PASSWORD: &str = "everybody's own";

/// When all accounts were made, unix milliseconds.
const MADE_AT_MILLIS: u64 = 1_700_000_000_000;

fn domain(id: u64) -> String {
    format!("domain{}.example.test", id / ACCOUNTS_A_DOMAIN)
}

/// The address of an account.
pub(super) fn name(id: u64) -> String {
    format!("user{id}@{}", domain(id))
}

/// An address of the account's domain that is nobody's.
pub(super) fn nobody(id: u64) -> String {
    format!("nobody{id}@{}", domain(id))
}

/// The stored form of everybody's password, made as the directory makes it.
pub(super) async fn secret() -> Result<String> {
    Ok(Credentials::new(1, 1)?.hash(PASSWORD).await?)
}

/// Frames of the domains of so many accounts.
pub(super) fn domains(accounts: u64) -> Result<Bytes> {
    let mut frames = BytesMut::new();
    for ordinal in 0..=accounts / ACCOUNTS_A_DOMAIN {
        let domain = row::Domain {
            ordinal: ordinal + 1,
            created_at_millis: MADE_AT_MILLIS,
        };
        let name = DomainName::parse(&self::domain(ordinal * ACCOUNTS_A_DOMAIN))?;
        encode_frame(
            RowColumn::Rows,
            &key::domain(&name),
            &domain.to_stored(),
            &mut frames,
        )?;
    }
    Ok(frames.freeze())
}

/// Appends the frames of an account and of its address.
pub(super) fn append(id: u64, secret: &str, frames: &mut BytesMut) -> Result<()> {
    let address = name(id);
    let account = row::Account {
        address: address.clone(),
        life: Life::Live.into(),
        generation: 1,
        credential_generation: 1,
        secret: secret.to_owned(),
        created_at_millis: MADE_AT_MILLIS,
        ..row::Account::default()
    };
    let owner = row::AddressOwner { account: id };
    let account_key = key::account(AccountId(id));
    encode_frame(RowColumn::Rows, &account_key, &account.to_stored(), frames)?;
    let address_key = key::address(&Address::parse_plain(&address)?);
    encode_frame(RowColumn::Rows, &address_key, &owner.to_stored(), frames)?;
    Ok(())
}
