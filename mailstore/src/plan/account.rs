//! Accounts: put by the directory, purged by the directory.

use bytes::Bytes;
use rookery_proto::mailstore::v1::{self as proto, MailboxEvent, SpecialUse};
use rookery_proto::{Reason, Status};
use rookery_replication::{Batch, Column, View};

use super::edit::AccountEdit;
use super::names::INBOX;
use super::{Plan, PlanContext, done, moving};
use crate::schema::{
    AccountCounters, AccountId, AccountRecord, AccountState, Garbage, ModSeq, Reader, Value, keys,
};

/// What a new account has. INBOX is first, so that it gets [`crate::schema::MailboxId::INBOX`].
const DEFAULT_MAILBOXES: [(&str, SpecialUse); 6] = [
    (INBOX, SpecialUse::Unspecified),
    ("Drafts", SpecialUse::Drafts),
    ("Sent", SpecialUse::Sent),
    ("Junk", SpecialUse::Junk),
    ("Trash", SpecialUse::Trash),
    ("Archive", SpecialUse::Archive),
];

pub(super) fn put(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::PutAccount,
) -> Result<Plan, Status> {
    let reader = reader(view, context, command.account)?;
    let record = AccountRecord {
        generation: command.generation,
        state: AccountState::Live,
        quota_bytes: command.quota_bytes,
    };
    let key = keys::account(reader.shard, reader.account);
    let Some(before) = reader.account_record()? else {
        let mut edit = AccountEdit::with(reader, record, AccountCounters::default());
        edit.batch.put(Column::Rows, key, record.encode());
        for (name, special_use) in DEFAULT_MAILBOXES {
            edit.create_mailbox(name.to_owned(), special_use)?;
            let subscription = keys::subscription(reader.shard, reader.account, name);
            edit.batch.put(Column::Rows, subscription, Bytes::new());
        }
        let edited = edit.finish()?;
        return Ok(Plan {
            events: edited.events,
            ..Plan::new(edited.batch, done(edited.modseq))
        });
    };
    refuse_older(&before, command.generation)?;
    let modseq = reader.counters()?.modseq;
    match before.state {
        AccountState::Tombstone => Err(Status::new(
            Reason::NoAccount,
            "the account has been deleted for ever",
        )),
        AccountState::MovedTo(_) => Err(Status::new(
            Reason::Moved,
            "the account has moved away: it comes back by a move",
        )),
        AccountState::Incoming(_) if before.generation < command.generation => Err(Status::new(
            Reason::Frozen,
            "the account is being moved here: retry",
        )),
        // A frozen account comes back by a newer placement alone.
        state if state != AccountState::Live && before.generation == command.generation => {
            put_record(&before, AccountRecord { state, ..record }, key, modseq)
        }
        _ => {
            let mut plan = put_record(&before, record, key, modseq)?;
            moving::forget_leaving(&reader, &mut plan.batch, context, command.generation)?;
            Ok(plan)
        }
    }
}

fn put_record(
    before: &AccountRecord,
    record: AccountRecord,
    key: Bytes,
    modseq: ModSeq,
) -> Result<Plan, Status> {
    let mut batch = Batch::new();
    if *before != record {
        batch.put(Column::Rows, key, record.encode());
    }
    Ok(Plan::new(batch, done(modseq)))
}

pub(super) fn purge(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::PurgeAccount,
) -> Result<Plan, Status> {
    let reader = reader(view, context, command.account)?;
    let modseq = reader.counters()?.modseq;
    let before = reader.account_record()?;
    if let Some(before) = &before {
        refuse_older(before, command.generation)?;
        if before.state == AccountState::Tombstone {
            return Ok(Plan::unchanged(done(modseq)));
        }
    }
    // An account that never was here gets a tombstone as well: the id is refused from now on.
    let record = AccountRecord {
        generation: command.generation,
        state: AccountState::Tombstone,
        quota_bytes: 0,
    };
    let mut batch = Batch::new();
    batch.put(
        Column::Rows,
        keys::account(reader.shard, reader.account),
        record.encode(),
    );
    // After all that the account's own plans have left.
    let garbage = keys::garbage(reader.shard, reader.account, ModSeq(u64::MAX), 0);
    batch.put(Column::Rows, garbage, Garbage::Account.encode());
    moving::forget_leaving(&reader, &mut batch, context, u64::MAX)?;
    let event = MailboxEvent {
        account: command.account,
        mailbox: 0,
        modseq: modseq.0 + 1,
    };
    Ok(Plan {
        events: vec![event],
        garbage: true,
        ..Plan::new(batch, done(ModSeq(modseq.0 + 1)))
    })
}

pub(super) fn reader<'a>(
    view: &'a dyn View,
    context: &PlanContext,
    account: u64,
) -> Result<Reader<'a>, Status> {
    if account == 0 {
        return Err(Status::invalid("0 is no account"));
    }
    Ok(Reader::new(view, context.shard, AccountId(account)))
}

pub(super) fn refuse_older(before: &AccountRecord, generation: u64) -> Result<(), Status> {
    if generation < before.generation {
        let known = before.generation;
        return Err(Status::new(
            Reason::WrongGeneration,
            format!("the account's generation here is {known}"),
        ));
    }
    Ok(())
}
