//! Delivery: one message to the INBOX of each recipient of this shard; each has an outcome of its own.

use std::cell::Cell;

use bytes::Bytes;
use rookery_proto::mailstore::v1::{self as proto, DeliveryOutcome, reply};
use rookery_proto::{Reason, Status};
use rookery_replication::view::Visitor;
use rookery_replication::{Batch, Column, View, ViewError};

use super::append::add_message;
use super::bodies::BodyAdder;
use super::collect::tell_damage;
use super::edit::AccountEdit;
use super::key::{keep_outcome, kept_outcome};
use super::{BodySource, Deliver, DeliverRecipient, MutationKey, Plan, PlanContext, PreparedBody};
use crate::schema::{AccountId, BodyRecord, FlagBits, InternalDate, MailboxId, Reader};

pub(super) fn deliver(view: &dyn View, context: &PlanContext, command: &Deliver) -> Result<Plan, Status> {
    // All recipients share the body: what is wrong with it concerns all.
    let known = read_body(view, context, &command.body)?;
    let view = &NotingView {
        view,
        failed: Cell::new(false),
    };
    let mut plan = Plan::new(Batch::new(), reply::Call::Delivered(proto::Delivered::default()));
    let mut bodies = BodyAdder::having_read(command.body.hash, known);
    // Two addresses of one account in one transaction are one message.
    let mut known: Vec<(AccountId, DeliveryOutcome)> = Vec::new();
    let mut outcomes = Vec::with_capacity(command.recipients.len());
    for recipient in &command.recipients {
        let outcome = match recipient {
            Err(status) => refused(0, status.clone()),
            Ok(recipient) => {
                let before = known.iter().find(|(account, _)| *account == recipient.account);
                match before.map(|(_, outcome)| outcome.clone()) {
                    Some(outcome) => outcome,
                    None => {
                        let outcome =
                            match deliver_one(view, context, command, recipient, &mut bodies, &mut plan) {
                                Ok(outcome) => outcome,
                                // Nobody can get what is not there.
                                Err(status) if status.reason == Reason::FailedPrecondition => {
                                    command.body.refuse_gone()?;
                                    refused(recipient.account.0, status)
                                }
                                // What is wrong with one recipient concerns no other, damage to its rows as little
                                // as its quota; a store that cannot be read concerns all.
                                Err(status)
                                    if matches!(status.reason, Reason::Internal | Reason::Damaged) =>
                                {
                                    if view.failed.get() {
                                        return Err(status);
                                    }
                                    refused(recipient.account.0, damaged(recipient.account, &status))
                                }
                                Err(status) => refused(recipient.account.0, status),
                            };
                        known.push((recipient.account, outcome.clone()));
                        outcome
                    }
                }
            }
        };
        outcomes.push(outcome);
    }
    plan.reply = proto::Reply {
        call: Some(reply::Call::Delivered(proto::Delivered { outcomes })),
    };
    Ok(plan)
}

fn deliver_one(
    view: &dyn View,
    context: &PlanContext,
    command: &Deliver,
    recipient: &DeliverRecipient,
    bodies: &mut BodyAdder,
    plan: &mut Plan,
) -> Result<DeliveryOutcome, Status> {
    let account = recipient.account;
    let key = MutationKey {
        session: command.transaction,
        number: 0,
        issued_at_millis: command.issued_at_millis,
    };
    if let Some(outcome) = kept_outcome(view, context, account, &key)? {
        return Ok(outcome);
    }
    // A recipient that is refused half-way leaves no trace, of its body either.
    let mut attempt = bodies.clone();
    let mut edit = AccountEdit::begin(view, context, account)?;
    edit.check_quota(command.body.hash.size + recipient.prefix.len() as u64)?;
    let mailbox = MailboxId::INBOX;
    let now = InternalDate::from_millis(context.now_millis);
    let uid = add_message(
        &mut edit,
        context,
        &mut attempt,
        mailbox,
        &command.body,
        &recipient.prefix,
        FlagBits(0),
        now,
    )?;
    let edited = edit.finish()?;
    *bodies = attempt;
    plan.batch.append(edited.batch);
    plan.events.extend(edited.events);
    let outcome = DeliveryOutcome {
        error: None,
        mailbox: mailbox.0,
        uid: uid.0,
        account: account.0,
    };
    keep_outcome(&mut plan.batch, context, account, &key, &outcome);
    Ok(outcome)
}

/// The body's record, when the shard has it. Fails when what a plan reads of the body cannot be read.
fn read_body(
    view: &dyn View,
    context: &PlanContext,
    body: &PreparedBody,
) -> Result<Option<BodyRecord>, Status> {
    let known = Reader::new(view, context.shard, AccountId(0)).body(&body.hash)?;
    if let BodySource::Upload(account, upload) = &body.source {
        Reader::new(view, context.shard, *account).upload(*upload)?;
    }
    Ok(known)
}

/// Notes whether the store itself failed, which a status does not tell from what it holds being damaged.
struct NotingView<'a> {
    view: &'a dyn View,
    failed: Cell<bool>,
}

impl NotingView<'_> {
    fn noted<T>(&self, read: Result<T, ViewError>) -> Result<T, ViewError> {
        // What is damaged on the disk is one place in it.
        if read.as_ref().is_err_and(|error| !error.is_damage()) {
            self.failed.set(true);
        }
        read
    }
}

impl View for NotingView<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.noted(self.view.get(column, key))
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        self.noted(self.view.scan(column, from, to, visit))
    }
}

/// The sender keeps the message until the account has been repaired.
fn damaged(account: AccountId, status: &Status) -> Status {
    tell_damage("a recipient is refused", account, status);
    Status::unavailable(format!(
        "account {account} cannot be delivered to: {}",
        status.message
    ))
}

fn refused(account: u64, status: Status) -> DeliveryOutcome {
    DeliveryOutcome {
        error: Some(status.into()),
        mailbox: 0,
        uid: 0,
        account,
    }
}
