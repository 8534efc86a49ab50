//! The playground's domain and accounts, through the admin API like an operator's.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rookery_proto::admin::v1::{
    AccountState, AddAccountsRequest, AddDomainRequest, GetAccountRequest, NewAccount,
};
use tonic::Code;

use super::layout::Layout;
use super::node::Node;
use super::{Arguments, manifest};
use crate::operate::connect_with;

/// Accounts created at a time.
const BATCH: u64 = 500;

/// How long accounts may take to get onto their shards.
const MADE_MAX: Duration = Duration::from_secs(60);

/// Between two looks whether they have.
const MADE_PAUSE: Duration = Duration::from_millis(200);

/// Creates the accounts that are not there yet.
pub(super) async fn create(layout: &Layout, nodes: &[Node], arguments: &Arguments) -> anyhow::Result<()> {
    let admins = manifest::admins(nodes);
    let mut client = connect_with(&admins, &layout.admin_token_file(), &layout.ca_file())
        .await?
        .admin;
    let (_, domain) = arguments
        .account_pattern
        .rsplit_once('@')
        .ok_or_else(|| anyhow!("the account pattern has no domain"))?;
    match client
        .add_domain(AddDomainRequest {
            name: domain.to_owned(),
        })
        .await
    {
        Err(status) if status.code() != Code::AlreadyExists => {
            return Err(anyhow!("{}", status.message())).context("cannot add the playground's domain");
        }
        _ => {}
    }
    let mut first = 1;
    while first <= arguments.accounts {
        let last = arguments.accounts.min(first + BATCH - 1);
        let account = |number: u64| NewAccount {
            address: address(&arguments.account_pattern, number),
            password: arguments.password.clone(),
            quota_bytes: 0,
        };
        let accounts: Vec<_> = (first..=last).map(account).collect();
        match client
            .add_accounts(AddAccountsRequest {
                accounts: accounts.clone(),
            })
            .await
        {
            Ok(_) => {}
            Err(status) if status.code() == Code::AlreadyExists => one_by_one(&mut client, accounts).await?,
            Err(status) if status.code() == Code::Unavailable => until_made(&mut client, &accounts).await?,
            Err(status) => {
                return Err(anyhow!("{}", status.message()))
                    .context("cannot create the playground's accounts");
            }
        }
        first = last + 1;
    }
    Ok(())
}

/// Accounts whose shards have no leader yet get onto them by themselves.
async fn until_made(client: &mut crate::operate::AdminClient, accounts: &[NewAccount]) -> anyhow::Result<()> {
    let began = Instant::now();
    for account in accounts {
        loop {
            let request = GetAccountRequest {
                address: account.address.clone(),
            };
            let is_made = match client.get_account(request).await {
                Ok(held) => {
                    let held = held.into_inner().account.unwrap_or_default();
                    held.state() != AccountState::Creating
                }
                Err(status) if status.code() == Code::Unavailable => false,
                Err(status) => {
                    return Err(anyhow!("{}", status.message()))
                        .context("cannot create the playground's accounts");
                }
            };
            if is_made {
                break;
            }
            if began.elapsed() >= MADE_MAX {
                bail!(
                    "{} does not get onto its shard: see the nodes' logs",
                    account.address
                );
            }
            tokio::time::sleep(MADE_PAUSE).await;
        }
    }
    Ok(())
}

/// A folder that is used again has some of the accounts already.
async fn one_by_one(
    client: &mut crate::operate::AdminClient,
    accounts: Vec<NewAccount>,
) -> anyhow::Result<()> {
    for account in accounts {
        match client
            .add_accounts(AddAccountsRequest {
                accounts: vec![account],
            })
            .await
        {
            Err(status) if status.code() != Code::AlreadyExists => {
                return Err(anyhow!("{}", status.message())).context("cannot create a playground's account");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The address of an account by its number.
pub(super) fn address(pattern: &str, number: u64) -> String {
    pattern.replace("%d", &number.to_string())
}
