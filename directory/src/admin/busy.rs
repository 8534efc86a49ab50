//! `status --hot`: who keeps mailstores busy, as their leaders have said last.

use rookery_proto::Status;
use rookery_proto::admin::v1::{BusyAccount, ListBusyAccountsRequest, ListBusyAccountsResponse};

use crate::core::Core;
use crate::schema::AccountId;
use crate::schema::read::ReadError;

/// Accounts that are answered.
const ACCOUNTS_MAX: usize = 100;

pub(super) async fn list(
    core: &Core,
    request: ListBusyAccountsRequest,
) -> Result<ListBusyAccountsResponse, Status> {
    let mut busy = Vec::new();
    for (node, report) in core.reports.all() {
        busy.extend(report.accounts.into_iter().map(|load| (node.clone(), load)));
    }
    busy.sort_by_key(|(_, load)| (std::cmp::Reverse(load.operations_milli), load.account));
    let count = usize::try_from(request.count_max).unwrap_or(usize::MAX);
    let leaders = core.picture.shards();
    let accounts = core.state.read(move |rows| {
        let mut accounts = Vec::new();
        for (node, load) in busy {
            if accounts.len() >= count.min(ACCOUNTS_MAX) {
                break;
            }
            // What a node says that no longer leads the shard is of before.
            let is_led = leaders
                .iter()
                .any(|shard| shard.id == load.shard && shard.leader == node);
            let Some(account) = rows.account(AccountId(load.account))?.filter(|_| is_led) else {
                continue;
            };
            accounts.push(BusyAccount {
                address: account.address,
                shard: load.shard,
                node,
                operations_milli: load.operations_milli,
                bytes_per_second: load.bytes_per_second,
                cpu_ppm: load.cpu_ppm,
            });
        }
        Ok::<_, ReadError>(accounts)
    });
    Ok(ListBusyAccountsResponse {
        accounts: accounts.await??,
    })
}
