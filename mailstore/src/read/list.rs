//! ListMailboxes.

use rookery_proto::Status;
use rookery_proto::mailstore::v1 as proto;

use super::Snapshot;

/// All mailboxes and subscriptions of the account.
pub fn list_mailboxes(snapshot: &Snapshot) -> Result<proto::Mailboxes, Status> {
    let reader = snapshot.reader();
    let mut mailboxes = Vec::new();
    for (id, record) in reader.mailboxes()? {
        mailboxes.push(snapshot.describe(id, &record)?);
    }
    mailboxes.sort_by(|a, b| a.name.cmp(&b.name));
    let subscriptions = reader.subscriptions()?;
    Ok(proto::Mailboxes {
        mailboxes,
        subscriptions,
        modseq: reader.counters()?.modseq.0,
    })
}
