//! `account add|list|show|passwd|quota|suspend|delete`.

use std::ops::ControlFlow;

use rookery_proto::Status;
use rookery_proto::admin::v1::{
    Account, AccountState, AddAccountsRequest, AddAccountsResponse, DeleteAccountRequest,
    DeleteAccountResponse, GetAccountRequest, GetAccountResponse, ListAccountsRequest, ListAccountsResponse,
    SetPasswordRequest, SetPasswordResponse, SetQuotaRequest, SetQuotaResponse, SetSuspendedRequest,
    SetSuspendedResponse,
};

use crate::address::{Address, DomainName};
use crate::clock::now_millis;
use crate::core::Core;
use crate::credentials::check_password;
use crate::plan::PlanError;
use crate::plan::account::{self, DUE_AT_ONCE, Identified, NEW_ACCOUNTS_MAX, New};
use crate::schema::read::{ReadError, Rows};
use crate::schema::row::{self, Life};
use crate::schema::{AccountId, key};

/// Accounts of one answer.
const LIST_MAX: usize = 1_000;

/// The usual time between an account's deletion and that of its mail.
const GRACE_SECONDS: u64 = 30 * 24 * 60 * 60;

/// The longest such time.
const GRACE_SECONDS_MAX: u64 = 10 * 365 * 24 * 60 * 60;

pub(super) async fn add(core: &Core, request: AddAccountsRequest) -> Result<AddAccountsResponse, Status> {
    if request.accounts.len() > NEW_ACCOUNTS_MAX {
        return Err(Status::invalid(format!(
            "at most {NEW_ACCOUNTS_MAX} accounts at a time"
        )));
    }
    for new in &request.accounts {
        check_password(&new.password)?;
        // Before the work of hashing.
        Address::parse_plain(&new.address)
            .map_err(|error| Status::invalid(format!("{:?}: {error}", new.address)))?;
    }
    let passwords: Vec<String> = request.accounts.iter().map(|new| new.password.clone()).collect();
    let secrets = core.credentials.hash_all(&passwords).await?;
    let new: Vec<New> = request
        .accounts
        .into_iter()
        .zip(secrets)
        .map(|(new, secret)| New {
            address: new.address,
            secret,
            quota_bytes: new.quota_bytes,
        })
        .collect();
    let now = now_millis();
    let made = core
        .state
        .change(move |rows| account::add(rows, &new, now))
        .await?;
    tracing::info!(count = made.len(), "accounts were added");
    let dues = made.iter().map(|(id, _)| (DUE_AT_ONCE, *id)).collect();
    core.provisioner.settle(dues).await.map_err(|status| {
        Status::unavailable(format!(
            "the accounts were added, but some are not on their shards yet, which goes on by itself: {}",
            status.message
        ))
    })?;
    let accounts = made.iter().map(|(id, account)| {
        let live = row::Account {
            life: Life::Live.into(),
            ..account.clone()
        };
        to_proto(core, *id, &live)
    });
    Ok(AddAccountsResponse {
        accounts: accounts.collect(),
    })
}

pub(super) async fn list(core: &Core, request: ListAccountsRequest) -> Result<ListAccountsResponse, Status> {
    let limit = match request.limit as usize {
        0 => LIST_MAX,
        limit => limit.min(LIST_MAX),
    };
    let mut range = match request.domain.as_str() {
        "" => key::addresses(),
        name => key::addresses_of(&DomainName::parse(name).map_err(PlanError::from)?),
    };
    if !request.after.is_empty() {
        let after = Address::parse(&request.after).map_err(PlanError::from)?;
        range.from = range.from.max(key::address(&after));
        range.from.push(0);
    }
    let found = core
        .state
        .read(move |rows| read_page(rows, &range, limit))
        .await??;
    Ok(ListAccountsResponse {
        accounts: found
            .iter()
            .map(|(id, account)| to_proto(core, *id, account))
            .collect(),
    })
}

fn read_page(rows: Rows<'_>, range: &key::Range, limit: usize) -> Result<Vec<Identified>, ReadError> {
    let mut ids = Vec::new();
    rows.scan(range, |_, owner: row::AddressOwner| {
        ids.push(AccountId(owner.account));
        if ids.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    let mut accounts = Vec::with_capacity(ids.len());
    for id in ids {
        accounts.extend(rows.account(id)?.map(|account| (id, account)));
    }
    Ok(accounts)
}

pub(super) async fn get(core: &Core, request: GetAccountRequest) -> Result<GetAccountResponse, Status> {
    let ((id, account), aliases) = core
        .state
        .read(move |rows| {
            let (id, account) = account::find(rows, &request.address)?;
            let mut aliases = Vec::new();
            rows.keys(&key::aliases_to(&Address::parse(&account.address)?), |key| {
                aliases.extend(
                    key::read_alias_of_target(key).map(|(domain, local)| format!("{local}@{domain}")),
                );
                ControlFlow::Continue(())
            })?;
            Ok::<_, PlanError>(((id, account), aliases))
        })
        .await??;
    Ok(GetAccountResponse {
        account: Some(to_proto(core, id, &account)),
        aliases,
    })
}

pub(super) async fn set_password(
    core: &Core,
    request: SetPasswordRequest,
) -> Result<SetPasswordResponse, Status> {
    // Unknown names are refused before the work of hashing.
    let SetPasswordRequest { address, password } = request;
    let wanted = address.clone();
    core.state
        .read(move |rows| account::find(rows, &wanted))
        .await??;
    let secret = core.credentials.hash(&password).await?;
    let id = core
        .state
        .change(move |rows| account::set_password(rows, &address, &secret))
        .await?;
    core.credentials.forget(id);
    tracing::info!(account = id.0, "the password was changed");
    Ok(SetPasswordResponse {})
}

pub(super) async fn set_quota(core: &Core, request: SetQuotaRequest) -> Result<SetQuotaResponse, Status> {
    let id = core
        .state
        .change(move |rows| account::set_quota(rows, &request.address, request.quota_bytes))
        .await?;
    core.provisioner
        .settle(vec![(DUE_AT_ONCE, id)])
        .await
        .map_err(|status| {
            Status::unavailable(format!(
                "the quota was set, but its shard does not know yet, which goes on by itself: {}",
                status.message
            ))
        })?;
    Ok(SetQuotaResponse {})
}

pub(super) async fn set_suspended(
    core: &Core,
    request: SetSuspendedRequest,
) -> Result<SetSuspendedResponse, Status> {
    let suspended = request.suspended;
    let id = core
        .state
        .change(move |rows| account::set_suspended(rows, &request.address, suspended))
        .await?;
    core.credentials.forget(id);
    tracing::info!(
        account = id.0,
        suspended,
        "the account was suspended or given back"
    );
    Ok(SetSuspendedResponse {})
}

pub(super) async fn delete(
    core: &Core,
    request: DeleteAccountRequest,
) -> Result<DeleteAccountResponse, Status> {
    let grace = request.grace_seconds.unwrap_or(GRACE_SECONDS);
    if grace > GRACE_SECONDS_MAX {
        return Err(Status::invalid(format!(
            "the grace time is at most {GRACE_SECONDS_MAX} seconds"
        )));
    }
    let id = core
        .state
        .change(move |rows| account::delete(rows, &request.address, now_millis(), grace * 1_000))
        .await?;
    core.credentials.forget(id);
    tracing::info!(account = id.0, grace_seconds = grace, "the account was deleted");
    Ok(DeleteAccountResponse {})
}

fn to_proto(core: &Core, id: AccountId, account: &row::Account) -> Account {
    let state = match account.life() {
        Life::Deleted => AccountState::Deleted,
        Life::Creating => AccountState::Creating,
        Life::Live if account.suspended => AccountState::Suspended,
        Life::Live => AccountState::Active,
        Life::Unknown => AccountState::Unspecified,
    };
    Account {
        id: id.0,
        address: account.address.clone(),
        state: state.into(),
        shard: account.shard,
        generation: account.generation,
        quota_bytes: account.quota_bytes,
        node: core
            .picture
            .leader(account.shard)
            .map(|(_, node)| node.id)
            .unwrap_or_default(),
    }
}
