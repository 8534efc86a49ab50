//! Deliver: one message for recipients of one shard.

use std::sync::Arc;

use rookery_process::traces;
use rookery_proto::directory::v1::Rights;
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_proto::{Peer, Reason, Status};

use super::{Grant, HostedShard, MailstoreService, now_millis};
use crate::catalogue::{self, RECIPIENTS};
use crate::plan::{Command, Deliver, DeliverRecipient, Mutation};
use crate::schema::AccountId;

/// Recipients of one delivery.
pub(super) const RECIPIENTS_MAX: usize = 1000;

/// Bytes of the header lines of one recipient.
const PREFIX_BYTES_MAX: usize = 64 * 1024;

impl MailstoreService {
    /// Delivers; `call_grant` is that of the call's own token, whose account an upload belongs to.
    pub(super) async fn deliver(
        self: Arc<Self>,
        shard: Arc<HostedShard>,
        call_grant: Grant,
        holder: Peer,
        deliver: proto::Deliver,
    ) -> Result<reply::Call, Status> {
        let transaction = transaction(&deliver.transaction)?;
        if deliver.recipients.is_empty() || deliver.recipients.len() > RECIPIENTS_MAX {
            return Err(Status::invalid(format!(
                "a delivery has 1 to {RECIPIENTS_MAX} recipients"
            )));
        }
        let now = now_millis();
        let recipients: Vec<_> = deliver
            .recipients
            .into_iter()
            .map(|recipient| self.recipient(&shard, &holder, recipient, now))
            .collect();
        let count = recipients.len();
        traces::current().count("rookery.recipients", count as u64);
        let body = traces::step("analyse")
            .run(self.prepare_body(&shard, call_grant.account, deliver.body))
            .await?;
        let command = Command::Deliver(Deliver {
            transaction,
            issued_at_millis: deliver.issued_at_millis,
            body,
            recipients,
        });
        let answered = shard
            .mutate(Mutation {
                account: call_grant.account,
                key: None,
                command,
            })
            .await;
        measure(&answered, count);
        answered
    }

    /// Each recipient brings a token of its own.
    fn recipient(
        &self,
        shard: &HostedShard,
        holder: &Peer,
        recipient: proto::Recipient,
        now_millis: u64,
    ) -> Result<DeliverRecipient, Status> {
        let grant = self
            .tokens
            .check(&recipient.token, holder, Rights::Deliver, now_millis)?;
        if grant.shard != shard.id() {
            let message = format!("account {} is not of shard {}", grant.account, shard.id());
            return Err(Status::new(Reason::Moved, message));
        }
        check_prefix(&recipient.prefix)?;
        Ok(DeliverRecipient {
            account: grant.account,
            prefix: recipient.prefix,
        })
    }
}

/// Counts the recipients of a delivery by what became of them.
fn measure(answered: &Result<reply::Call, Status>, recipients: usize) {
    match answered {
        Ok(reply::Call::Delivered(delivered)) => {
            RECIPIENTS.increment(recipients as u64);
            for outcome in &delivered.outcomes {
                let refused = outcome.error.as_ref().map(|error| error.reason());
                catalogue::delivered(refused, 1);
            }
        }
        Ok(_) => {}
        Err(status) => catalogue::delivered(Some(status.reason), recipients),
    }
}

/// Header lines before a body: whole, and not too many.
pub(super) fn check_prefix(prefix: &[u8]) -> Result<(), Status> {
    if prefix.len() > PREFIX_BYTES_MAX {
        let message = format!("the header lines of a recipient have more than {PREFIX_BYTES_MAX} bytes");
        return Err(Status::new(Reason::LimitExceeded, message));
    }
    if !prefix.is_empty() && !prefix.ends_with(b"\r\n") {
        return Err(Status::invalid(
            "the header lines of a recipient do not end with CRLF",
        ));
    }
    Ok(())
}

/// The 16 bytes that name an SMTP transaction.
pub(super) fn transaction(bytes: &[u8]) -> Result<[u8; 16], Status> {
    bytes
        .try_into()
        .map_err(|_| Status::invalid("the id of a transaction is 16 bytes"))
}

/// The account that a shard's own command is made for: none.
pub(super) const NO_ACCOUNT: AccountId = AccountId(0);
