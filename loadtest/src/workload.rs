//! What sessions do: a file for each workload.

mod append;
mod big_mailbox;
mod deliver;
mod fill;
mod idle;
mod login;
mod long_lived;
mod mixed;
mod search;
mod sync;

use std::sync::Arc;

use anyhow::Result;

use crate::imap::Imap;
use crate::profile::Workload;
use crate::run::Run;
use crate::session::drive;

/// Prepares what the workload needs, runs it, and measures it.
pub(crate) async fn work(run: &Arc<Run>) -> Result<()> {
    match run.profile.workload {
        Workload::Deliver => drive::<deliver::Sender>(run).await,
        Workload::Append => drive::<append::Appender>(run).await,
        Workload::Mixed => {
            mixed::prepare(run).await?;
            drive::<mixed::Client>(run).await
        }
        Workload::LongLived => drive::<long_lived::Client>(run).await,
        Workload::Sync => {
            sync::prepare(run).await?;
            drive::<sync::Client>(run).await
        }
        Workload::Search => {
            search::prepare(run).await?;
            drive::<search::Searcher>(run).await
        }
        Workload::Login => drive::<login::Client>(run).await,
        Workload::Idle => idle::work(run).await,
        Workload::BigMailbox => big_mailbox::work(run).await,
    }
}

/// Where new messages come to.
const INBOX: &str = "INBOX";

/// A connection of an account by its position, logged in. `index` spreads connections over addresses.
async fn logged_in(run: &Run, account: u64, index: usize) -> Result<Imap> {
    let mut imap = Imap::connect(run.imap()?, index).await?;
    let address = run.target.accounts.address(account);
    imap.login(&address, &run.target.password).await?;
    Ok(imap)
}
