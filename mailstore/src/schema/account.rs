//! An account: whether it lives here, and its counters.

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::ids::{MailboxId, MessageNumber, ModSeq, ShardId, UidValidity};

/// What may be done with an account in this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    /// Served here.
    Live,
    /// Being moved: read, not changed.
    Frozen,
    /// Served by another shard.
    MovedTo(ShardId),
    /// Removed for ever.
    Tombstone,
    /// Its rows are coming from another shard, by this attempt: not served yet.
    Incoming(u32),
}

/// Who owns the account, by which placement, and what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountRecord {
    /// The directory's number of the placement.
    pub generation: u64,
    /// Whether it is served here.
    pub state: AccountState,
    /// Bytes it may hold; 0: no limit.
    pub quota_bytes: u64,
}

impl AccountRecord {
    /// Whether it may be changed here.
    pub fn is_writable(&self) -> bool {
        self.state == AccountState::Live
    }
}

impl Value for AccountRecord {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.number(self.generation);
        let (state, shard) = match self.state {
            AccountState::Live => (0, 0),
            AccountState::Frozen => (1, 0),
            AccountState::MovedTo(shard) => (2, shard.0),
            AccountState::Tombstone => (3, 0),
            AccountState::Incoming(attempt) => (4, attempt),
        };
        out.byte(state);
        out.number(shard);
        out.number(self.quota_bytes);
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let generation = fields.number()?;
        let state = fields.byte()?;
        let shard = fields.number32()?;
        let state = match state {
            0 => AccountState::Live,
            1 => AccountState::Frozen,
            2 => AccountState::MovedTo(ShardId(shard)),
            3 => AccountState::Tombstone,
            4 => AccountState::Incoming(shard),
            _ => return Err(DecodeError::Damaged("account state")),
        };
        Ok(Self {
            generation,
            state,
            quota_bytes: fields.number()?,
        })
    }
}

/// What the account has given out and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountCounters {
    /// The last modseq taken.
    pub modseq: ModSeq,
    /// The modseq of the last change to the set of mailboxes, their names or subscriptions.
    pub hierarchy_modseq: ModSeq,
    /// The next mailbox's id.
    pub next_mailbox: MailboxId,
    /// The next mailbox's UIDVALIDITY; ascends within the account, from here and never from a clock.
    pub next_uid_validity: UidValidity,
    /// The next message's number.
    pub next_message: MessageNumber,
    /// Sum of the sizes of all messages; a copy counts again.
    pub used_bytes: u64,
    /// Number of messages in all mailboxes.
    pub used_messages: u64,
    /// Number of mailboxes.
    pub mailboxes: u32,
}

impl Default for AccountCounters {
    fn default() -> Self {
        Self {
            modseq: ModSeq(0),
            hierarchy_modseq: ModSeq(0),
            next_mailbox: MailboxId::INBOX,
            next_uid_validity: UidValidity(1),
            next_message: MessageNumber(1),
            used_bytes: 0,
            used_messages: 0,
            mailboxes: 0,
        }
    }
}

impl Value for AccountCounters {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.number(self.modseq.0);
        out.number(self.hierarchy_modseq.0);
        out.number(self.next_mailbox.0);
        out.number(self.next_uid_validity.0);
        out.number(self.next_message.0);
        out.number(self.used_bytes);
        out.number(self.used_messages);
        out.number(self.mailboxes);
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            modseq: ModSeq(fields.number()?),
            hierarchy_modseq: ModSeq(fields.number()?),
            next_mailbox: MailboxId(fields.number32()?),
            next_uid_validity: UidValidity(fields.number32()?),
            next_message: MessageNumber(fields.number()?),
            used_bytes: fields.number()?,
            used_messages: fields.number()?,
            mailboxes: fields.number32()?,
        })
    }
}
