//! The four states of RFC 3501 §3 and the commands that are legal in them.

use rookery_mail::imap::types::CommandBody;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Before login.
    NotAuthenticated,
    /// Logged in, no mailbox selected.
    Authenticated,
    /// A mailbox is selected.
    Selected,
    /// LOGOUT was answered, or BYE said.
    Logout,
}

impl State {
    /// Whether the command is legal now; else why not. RFC 3501 §6.
    pub fn allows(self, command: &CommandBody) -> Result<(), &'static str> {
        let wanted = Need::of(command);
        match (wanted, self) {
            (_, State::Logout) => Err("logged out already"),
            (Need::Nothing, _) => Ok(()),
            (Need::NoLogin, State::NotAuthenticated) => Ok(()),
            (Need::NoLogin, _) => Err("already logged in"),
            (Need::Login | Need::Mailbox, State::NotAuthenticated) => Err("log in first"),
            (Need::Mailbox, State::Authenticated) => Err("no mailbox is selected"),
            (Need::Login | Need::Mailbox, _) => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum Need {
    Nothing,
    NoLogin,
    Login,
    Mailbox,
}

impl Need {
    fn of(command: &CommandBody) -> Self {
        match command {
            CommandBody::Capability
            | CommandBody::Noop
            | CommandBody::Logout
            | CommandBody::Id(_)
            | CommandBody::Unknown { .. } => Self::Nothing,
            CommandBody::StartTls | CommandBody::Authenticate { .. } | CommandBody::Login { .. } => {
                Self::NoLogin
            }
            CommandBody::Check
            | CommandBody::Close
            | CommandBody::Unselect
            | CommandBody::Expunge { .. }
            | CommandBody::Search { .. }
            | CommandBody::Fetch { .. }
            | CommandBody::Store { .. }
            | CommandBody::Copy { .. }
            | CommandBody::Move { .. } => Self::Mailbox,
            // RFC 5161 §3.1 wants ENABLE before a mailbox is selected, and nothing breaks later.
            _ => Self::Login,
        }
    }
}

/// The command's name for logs and metrics.
pub fn name(command: &CommandBody) -> &'static str {
    match command {
        CommandBody::Capability => "CAPABILITY",
        CommandBody::Noop => "NOOP",
        CommandBody::Logout => "LOGOUT",
        CommandBody::StartTls => "STARTTLS",
        CommandBody::Authenticate { .. } => "AUTHENTICATE",
        CommandBody::Login { .. } => "LOGIN",
        CommandBody::Enable(_) => "ENABLE",
        CommandBody::Id(_) => "ID",
        CommandBody::Namespace => "NAMESPACE",
        CommandBody::Select(_) => "SELECT",
        CommandBody::Examine(_) => "EXAMINE",
        CommandBody::Create { .. } => "CREATE",
        CommandBody::Delete(_) => "DELETE",
        CommandBody::Rename { .. } => "RENAME",
        CommandBody::Subscribe(_) => "SUBSCRIBE",
        CommandBody::Unsubscribe(_) => "UNSUBSCRIBE",
        CommandBody::List(_) => "LIST",
        CommandBody::Lsub { .. } => "LSUB",
        CommandBody::Status { .. } => "STATUS",
        CommandBody::Append { .. } => "APPEND",
        CommandBody::Idle => "IDLE",
        CommandBody::Check => "CHECK",
        CommandBody::Close => "CLOSE",
        CommandBody::Unselect => "UNSELECT",
        CommandBody::Expunge { .. } => "EXPUNGE",
        CommandBody::Search { .. } => "SEARCH",
        CommandBody::Fetch { .. } => "FETCH",
        CommandBody::Store { .. } => "STORE",
        CommandBody::Copy { .. } => "COPY",
        CommandBody::Move { .. } => "MOVE",
        CommandBody::Unknown { .. } => "other",
    }
}
