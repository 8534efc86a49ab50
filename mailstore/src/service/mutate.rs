//! Mutations: each is run to its end by a task of its own, so that a caller that goes leaves nothing half-known.

use std::sync::Arc;

use rookery_process::traces;
use rookery_proto::directory::v1::Rights;
use rookery_proto::mailstore::v1::{self as proto, reply, request::Call};
use rookery_proto::{Incoming, MailstoreProtocol, Status};

use super::meter::metered_on;
use super::{Grant, HostedShard, MailstoreService};
use crate::plan::{Append, AppendMessage, Command, Mutation, MutationKey};
use crate::schema::{AccountId, InternalDate};

/// The idempotency key of a session's mutation.
pub(super) fn key(incoming: &Incoming<MailstoreProtocol>) -> Result<Option<MutationKey>, Status> {
    incoming
        .request
        .key
        .as_ref()
        .map(MutationKey::from_proto)
        .transpose()
}

impl MailstoreService {
    /// Runs work in a task that goes on when the caller has gone.
    pub(super) async fn to_completion<F>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<reply::Call, Status>
    where
        F: Future<Output = Result<reply::Call, Status>> + Send + 'static,
    {
        let work = traces::current().run(metered_on(work(Arc::clone(self))));
        let task = self.tasks.spawn(work);
        task.await
            .map_err(|error| Status::internal(format!("a mutation failed: {error}")))?
    }

    /// Commands that go to the writer as they are.
    pub(super) async fn mutate(
        self: &Arc<Self>,
        incoming: &Incoming<MailstoreProtocol>,
        call: Call,
    ) -> Result<reply::Call, Status> {
        let generation = incoming.request.shard_generation;
        let (shard, account, key, command) = match call {
            Call::PutAccount(put) => (
                self.shard(put.shard, generation).await?,
                put.account,
                None,
                Command::PutAccount(put),
            ),
            Call::PurgeAccount(purge) => (
                self.shard(purge.shard, generation).await?,
                purge.account,
                None,
                Command::PurgeAccount(purge),
            ),
            Call::ImportAccount(import) => (
                self.shard(import.shard, generation).await?,
                import.account,
                None,
                Command::ImportAccount(import),
            ),
            Call::LeaveAccount(leave) => (
                self.shard(leave.shard, generation).await?,
                leave.account,
                None,
                Command::LeaveAccount(leave),
            ),
            Call::FreezeAccount(freeze) => {
                let hosted = self.shard(freeze.shard, generation).await?;
                // So that it goes along with the account.
                let account = Some(AccountId(freeze.account));
                hosted.shard().write_recent(account).await;
                (hosted, freeze.account, None, Command::FreezeAccount(freeze))
            }
            Call::DepartAccount(depart) => (
                self.shard(depart.shard, generation).await?,
                depart.account,
                None,
                Command::DepartAccount(depart),
            ),
            Call::ReceiveAccount(receive) => (
                self.shard(receive.shard, generation).await?,
                receive.account,
                None,
                Command::ReceiveAccount(receive),
            ),
            Call::SettleAccount(settle) => (
                self.shard(settle.shard, generation).await?,
                settle.account,
                None,
                Command::SettleAccount(settle),
            ),
            Call::CompleteHandOff(complete) => (
                self.shard(complete.shard, generation).await?,
                0,
                None,
                Command::CompleteHandOff(complete),
            ),
            other => {
                let (shard, grant) = self.access(incoming, Rights::Owner).await?;
                let command = match other {
                    Call::CreateMailbox(create) => Command::CreateMailbox(create),
                    Call::DeleteMailbox(delete) => Command::DeleteMailbox(delete),
                    Call::RenameMailbox(rename) => Command::RenameMailbox(rename),
                    Call::SetSubscription(set) => Command::SetSubscription(set),
                    Call::Store(store) => Command::Store(store),
                    Call::Copy(copy) => Command::Copy(copy),
                    Call::Expunge(expunge) => Command::Expunge(expunge),
                    _ => return Err(Status::internal("the call is not a mutation")),
                };
                (shard, grant.account.0, key(incoming)?, command)
            }
        };
        let mutation = Mutation {
            account: AccountId(account),
            key,
            command,
        };
        self.to_completion(move |_| async move { shard.mutate(mutation).await })
            .await
    }

    pub(super) async fn append(
        self: Arc<Self>,
        shard: Arc<HostedShard>,
        grant: Grant,
        key: Option<MutationKey>,
        append: proto::Append,
    ) -> Result<reply::Call, Status> {
        if append.messages.len() > crate::plan::APPEND_MESSAGES_MAX {
            let message = format!(
                "an append has at most {} messages",
                crate::plan::APPEND_MESSAGES_MAX
            );
            return Err(Status::new(rookery_proto::Reason::LimitExceeded, message));
        }
        let preparing = self.prepare_messages(&shard, grant.account, append.messages);
        let messages = traces::step("analyse").run(preparing).await?;
        let command = Command::Append(Append {
            mailbox: append.mailbox,
            messages,
        });
        shard
            .mutate(Mutation {
                account: grant.account,
                key,
                command,
            })
            .await
    }

    async fn prepare_messages(
        &self,
        shard: &Arc<HostedShard>,
        account: AccountId,
        new: Vec<proto::AppendMessage>,
    ) -> Result<Vec<AppendMessage>, Status> {
        let mut messages = Vec::with_capacity(new.len());
        for message in new {
            let internal_date = match &message.internal_date {
                Some(date) => Some(
                    InternalDate::from_proto(date)
                        .ok_or_else(|| Status::invalid("the zone of a date cannot be"))?,
                ),
                None => None,
            };
            messages.push(AppendMessage {
                body: self.prepare_body(shard, account, message.body).await?,
                flags: message.flags.unwrap_or_default(),
                internal_date,
            });
        }
        Ok(messages)
    }
}
