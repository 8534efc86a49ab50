//! ListMailboxes.

use rookery_proto::Status;
use rookery_proto::mailstore::v1 as proto;

use super::Snapshot;

/// All mailboxes and subscriptions of the account.
pub fn list_mailboxes(snapshot: &Snapshot) -> Result<proto::Mailboxes, Status> {
    let reader = snapshot.reader();
    let mut mailboxes = Vec::new();
    for (id, record) in reader.mailboxes()? {
        let recent = if record.recent_from < record.uid_next {
            reader.count_from(id, record.recent_from)?
        } else {
            0
        };
        mailboxes.push(record.to_proto(id, recent));
    }
    mailboxes.sort_by(|a, b| a.name.cmp(&b.name));
    let subscriptions = reader.subscriptions()?;
    Ok(proto::Mailboxes {
        mailboxes,
        subscriptions,
        modseq: reader.counters()?.modseq.0,
    })
}
