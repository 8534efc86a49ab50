//! The names of calls, as metrics and traces have them.

use crate::{directory, mailstore};

impl mailstore::v1::request::Call {
    /// Its name, one of a fixed set.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ListMailboxes(_) => "list_mailboxes",
            Self::CreateMailbox(_) => "create_mailbox",
            Self::DeleteMailbox(_) => "delete_mailbox",
            Self::RenameMailbox(_) => "rename_mailbox",
            Self::SetSubscription(_) => "set_subscription",
            Self::OpenMailbox(_) => "open_mailbox",
            Self::ClaimRecent(_) => "claim_recent",
            Self::Changes(_) => "changes",
            Self::Fetch(_) => "fetch",
            Self::Search(_) => "search",
            Self::Store(_) => "store",
            Self::Copy(_) => "copy",
            Self::Expunge(_) => "expunge",
            Self::Upload(_) => "upload",
            Self::Append(_) => "append",
            Self::Deliver(_) => "deliver",
            Self::HandOff(_) => "hand_off",
            Self::LeaseHandOffs(_) => "lease_hand_offs",
            Self::CompleteHandOff(_) => "complete_hand_off",
            Self::Watch(_) => "watch",
            Self::PutAccount(_) => "put_account",
            Self::PurgeAccount(_) => "purge_account",
            Self::ExportShard(_) => "export_shard",
            Self::ImportRows(_) => "import_rows",
            Self::ImportAccount(_) => "import_account",
            Self::CompareReplicas(_) => "compare_replicas",
            Self::LeaveAccount(_) => "leave_account",
            Self::FreezeAccount(_) => "freeze_account",
            Self::ExportAccount(_) => "export_account",
            Self::ReceiveAccount(_) => "receive_account",
            Self::TakeRows(_) => "take_rows",
            Self::SettleAccount(_) => "settle_account",
            Self::DepartAccount(_) => "depart_account",
        }
    }
}

impl directory::v1::request::Call {
    /// Its name, one of a fixed set.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ResolveRecipient(_) => "resolve_recipient",
            Self::Authenticate(_) => "authenticate",
            Self::RenewToken(_) => "renew_token",
            Self::Watch(_) => "watch",
            Self::RegisterNode(_) => "register_node",
            Self::DescribeMember(_) => "describe_member",
            Self::FormGroup(_) => "form_group",
            Self::JoinGroup(_) => "join_group",
        }
    }
}
