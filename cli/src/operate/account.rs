//! `rookery account`.

mod moving;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use rookery_proto::admin::v1::{
    self as admin, AccountState, AddAccountsRequest, DeleteAccountRequest, GetAccountRequest,
    ListAccountsRequest, NewAccount, SetPasswordRequest, SetQuotaRequest, SetSuspendedRequest,
};
use serde_json::json;

use super::AdminClient;
use super::output::{self, refused};

/// Accounts asked for at a time.
const PAGE: u32 = 1000;

/// The longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an account with its default mailboxes
    Add {
        /// Its address
        address: String,
        #[command(flatten)]
        password: PasswordSource,
        /// Largest sum of its messages, in bytes; 0: no limit
        #[arg(long, default_value_t = 0)]
        quota_bytes: u64,
    },
    /// List accounts
    List {
        /// Only of this domain
        #[arg(long, default_value = "")]
        domain: String,
    },
    /// Show one account
    Show {
        /// Its address
        address: String,
    },
    /// Set a new password; live sessions end
    Passwd {
        /// Its address
        address: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Set the limit on the sum of its messages
    Quota {
        /// Its address
        address: String,
        /// Bytes; 0: no limit
        bytes: u64,
    },
    /// No login, mail is answered 450, live sessions end; --resume is the way back
    Suspend {
        /// Its address
        address: String,
        /// End the suspension
        #[arg(long)]
        resume: bool,
    },
    /// Free the address now and remove the mail after the grace time
    Delete {
        /// Its address
        address: String,
        /// Seconds until the mail is gone; 30 days when not given
        #[arg(long)]
        grace_seconds: Option<u64>,
    },
    /// Move it to another shard; sessions live on
    Move {
        #[command(flatten)]
        arguments: moving::Arguments,
    },
}

/// Where a password comes from: never from the command line, which others can read.
#[derive(Debug, Args)]
pub(crate) struct PasswordSource {
    /// File whose first line is the password; standard input when not given
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordSource {
    fn read(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        match &self.password_file {
            Some(path) => read_limited(
                std::fs::File::open(path).with_context(|| unreadable(path))?,
                &mut text,
            )
            .with_context(|| unreadable(path))?,
            None => read_limited(std::io::stdin(), &mut text)
                .context("cannot read the password from standard input")?,
        }
        let password = text.lines().next().unwrap_or_default().to_owned();
        if password.is_empty() {
            bail!("the password is empty: give it on the first line of --password-file or of standard input");
        }
        if password.len() > PASSWORD_BYTES_MAX {
            bail!("the password has more than {PASSWORD_BYTES_MAX} bytes: give a shorter one");
        }
        Ok(password)
    }
}

fn unreadable(path: &Path) -> String {
    format!("cannot read the password file {}", path.display())
}

/// What comes first; enough of it that a password which is too long is seen to be.
fn read_limited(source: impl Read, text: &mut String) -> std::io::Result<()> {
    source.take(PASSWORD_BYTES_MAX as u64 + 1).read_to_string(text)?;
    Ok(())
}

impl Command {
    pub(super) async fn run(self, client: &mut AdminClient, json: bool) -> anyhow::Result<()> {
        match self {
            Command::Add {
                address,
                password,
                quota_bytes,
            } => {
                let account = NewAccount {
                    address,
                    password: password.read()?,
                    quota_bytes,
                };
                let request = AddAccountsRequest {
                    accounts: vec![account],
                };
                let added = client
                    .add_accounts(request)
                    .await
                    .map_err(refused)?
                    .into_inner()
                    .accounts;
                show(&added, json)
            }
            Command::List { domain } => list(client, domain, json).await,
            Command::Show { address } => {
                let request = GetAccountRequest { address };
                let shown = client.get_account(request).await.map_err(refused)?.into_inner();
                let accounts: Vec<_> = shown.account.into_iter().collect();
                show(&accounts, json)
            }
            Command::Passwd { address, password } => {
                let password = password.read()?;
                let request = SetPasswordRequest {
                    address: address.clone(),
                    password,
                };
                client.set_password(request).await.map_err(refused)?;
                output::done(json, &format!("password of {address} set"))
            }
            Command::Quota { address, bytes } => {
                let request = SetQuotaRequest {
                    address: address.clone(),
                    quota_bytes: bytes,
                };
                client.set_quota(request).await.map_err(refused)?;
                output::done(json, &format!("quota of {address} set to {bytes} bytes"))
            }
            Command::Suspend { address, resume } => {
                let request = SetSuspendedRequest {
                    address: address.clone(),
                    suspended: !resume,
                };
                client.set_suspended(request).await.map_err(refused)?;
                let word = if resume { "resumed" } else { "suspended" };
                output::done(json, &format!("account {address} {word}"))
            }
            Command::Delete {
                address,
                grace_seconds,
            } => {
                let request = DeleteAccountRequest {
                    address: address.clone(),
                    grace_seconds,
                };
                client.delete_account(request).await.map_err(refused)?;
                output::done(json, &format!("account {address} deleted"))
            }
            Command::Move { arguments } => arguments.run(client, json).await,
        }
    }
}

async fn list(client: &mut AdminClient, domain: String, as_json: bool) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let request = ListAccountsRequest {
            domain: domain.clone(),
            after: after.clone(),
            limit: PAGE,
        };
        let page = client
            .list_accounts(request)
            .await
            .map_err(refused)?
            .into_inner()
            .accounts;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.address);
        all.extend(page);
    }
    show(&all, as_json)
}

fn show(accounts: &[admin::Account], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let rows: Vec<_> = accounts
            .iter()
            .map(|account| {
                json!({
                    "id": account.id, "address": account.address, "state": state(account), "shard": account.shard,
                    "generation": account.generation, "quota_bytes": account.quota_bytes, "node": account.node,
                })
            })
            .collect();
        return output::json(&json!({ "accounts": rows }));
    }
    let rows: Vec<_> = accounts
        .iter()
        .map(|account| {
            vec![
                account.id.to_string(),
                account.address.clone(),
                state(account).to_owned(),
                account.shard.to_string(),
                account.node.clone(),
                account.quota_bytes.to_string(),
            ]
        })
        .collect();
    output::table(&["ID", "ADDRESS", "STATE", "SHARD", "NODE", "QUOTA BYTES"], &rows)
}

fn state(account: &admin::Account) -> &'static str {
    match account.state() {
        AccountState::Unspecified => "unknown",
        AccountState::Creating => "creating",
        AccountState::Active => "active",
        AccountState::Suspended => "suspended",
        AccountState::Deleted => "deleted",
    }
}
