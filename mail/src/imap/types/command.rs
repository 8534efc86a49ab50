//! A parsed command.

use super::{
    AppendMessage, FetchItem, Flag, ListCommand, MailboxName, SearchCommand, Secret, SequenceSet, SpecialUse,
    StatusItem, StoreAction, Tag,
};

/// A command with the tag that its answer carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The client's tag.
    pub tag: Tag,
    /// What it wants.
    pub body: CommandBody,
}

/// Whether the numbers of a command, and of its answers, are sequence numbers or UIDs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbering {
    /// The plain form of the command.
    Sequence,
    /// The form behind `UID`. RFC 3501 §6.4.8.
    Uid,
}

/// What a command wants; RFC 3501 §6 where nothing else is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandBody {
    /// `CAPABILITY`
    Capability,
    /// `NOOP`
    Noop,
    /// `LOGOUT`
    Logout,
    /// `STARTTLS`
    StartTls,
    /// `AUTHENTICATE`; initial response by RFC 4959.
    Authenticate {
        /// The mechanism, in upper case.
        mechanism: String,
        /// The initial response, decoded; `=` gives an empty one.
        initial_response: Option<Secret>,
    },
    /// `LOGIN`
    Login {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// `ENABLE`, RFC 5161: capability names in upper case.
    Enable(Vec<String>),
    /// `ID`, RFC 2971: field and value pairs; empty for NIL.
    Id(Vec<(String, Option<String>)>),
    /// `NAMESPACE`, RFC 2342.
    Namespace,
    /// `SELECT`
    Select(MailboxName),
    /// `EXAMINE`
    Examine(MailboxName),
    /// `CREATE`; `USE` by RFC 6154 §3.
    Create {
        /// The name, with a trailing delimiter if the client sent one.
        mailbox: MailboxName,
        /// What it shall be for.
        special_use: Vec<SpecialUse>,
    },
    /// `DELETE`
    Delete(MailboxName),
    /// `RENAME`
    Rename {
        /// The present name.
        from: MailboxName,
        /// The new name.
        to: MailboxName,
    },
    /// `SUBSCRIBE`
    Subscribe(MailboxName),
    /// `UNSUBSCRIBE`
    Unsubscribe(MailboxName),
    /// `LIST`
    List(ListCommand),
    /// `LSUB`
    Lsub {
        /// The reference, as UTF-8.
        reference: String,
        /// The pattern, as UTF-8.
        pattern: String,
    },
    /// `STATUS`
    Status {
        /// Which mailbox.
        mailbox: MailboxName,
        /// Which items, each once, in the client's order.
        items: Vec<StatusItem>,
    },
    /// `APPEND`; several messages by RFC 3502.
    Append {
        /// Into which mailbox.
        mailbox: MailboxName,
        /// The messages; at least one.
        messages: Vec<AppendMessage>,
    },
    /// `IDLE`, RFC 2177.
    Idle,
    /// `CHECK`
    Check,
    /// `CLOSE`
    Close,
    /// `UNSELECT`, RFC 3691.
    Unselect,
    /// `EXPUNGE`; with UIDs for `UID EXPUNGE`, RFC 4315.
    Expunge {
        /// Only these UIDs.
        uids: Option<SequenceSet>,
    },
    /// `SEARCH`, `UID SEARCH`
    Search {
        /// What the answer holds.
        numbering: Numbering,
        /// What is asked for.
        search: SearchCommand,
    },
    /// `FETCH`, `UID FETCH`
    Fetch {
        /// What the set holds; `Uid` also adds UID to the answer.
        numbering: Numbering,
        /// Which messages.
        set: SequenceSet,
        /// Which items, macros expanded, in the client's order.
        items: Vec<FetchItem>,
    },
    /// `STORE`, `UID STORE`
    Store {
        /// What the set holds.
        numbering: Numbering,
        /// Which messages.
        set: SequenceSet,
        /// What happens with the flags.
        action: StoreAction,
        /// `.SILENT`: no untagged FETCH is expected.
        silent: bool,
        /// The flags; all of them storable.
        flags: Vec<Flag>,
    },
    /// `COPY`, `UID COPY`
    Copy {
        /// What the set holds.
        numbering: Numbering,
        /// Which messages.
        set: SequenceSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// `MOVE`, `UID MOVE`, RFC 6851.
    Move {
        /// What the set holds.
        numbering: Numbering,
        /// Which messages.
        set: SequenceSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// A command that this grammar does not know; its arguments were not looked at.
    Unknown {
        /// Its name, in upper case.
        name: String,
    },
}
