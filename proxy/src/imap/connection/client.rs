//! One client: its wire, who it is, what it has selected.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rookery_mail::imap::encode;
use rookery_mail::imap::frame::{CommandReader, Limits, LineEvent};
use rookery_process::traces::Origin;
use rookery_proto::mailstore::v1::{Changes, ClaimRecent, reply, request};
use rookery_proto::{Reason, Status};
use tokio::time::{Instant, sleep_until};

use super::appends::Appends;
use super::wire::Wire;
use crate::imap::answer::{End, Failure};
use crate::imap::capability::{Stage, capabilities};
use crate::imap::cmd::append::Appending;
use crate::imap::measure::SessionGauge;
use crate::imap::options::ImapContext;
use crate::imap::session::{Expunges, State, Untagged, View};
use crate::route::{Account, CallOptions, Subscription};

/// How long a look for changes waits for the shard; the command that it follows has its answer already.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a session that leaves a mailbox tries to take its recent messages with it.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a client comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether its bytes came over TLS from the start.
    pub tls: bool,
}

/// Who has logged in.
pub(in crate::imap) struct LoggedIn {
    pub account: Arc<Account>,
    pub subscription: Subscription,
}

/// The selected mailbox.
pub(in crate::imap) struct Selected {
    pub mailbox: u32,
    pub read_only: bool,
    pub view: View,
    /// A look for changes failed: the next one must not rely on the feed.
    pub stale: bool,
}

/// One client.
pub(in crate::imap) struct Client {
    pub wire: Wire,
    pub reader: CommandReader,
    pub context: Arc<ImapContext>,
    pub peer: Peer,
    pub origin: Origin,
    /// Whether the connection is encrypted now.
    pub tls: bool,
    pub login: Option<LoggedIn>,
    pub selected: Option<Selected>,
    pub standing: SessionGauge,
    pub appending: Option<Box<Appending>>,
    pub appends: Appends,
    pub failed_logins: u32,
    began: Instant,
    /// STARTTLS was granted and the handshake comes next.
    pub upgrade: bool,
    /// LOGOUT was answered.
    pub leaving: bool,
}

impl Client {
    pub(super) fn new(wire: Wire, peer: Peer, context: Arc<ImapContext>) -> Self {
        Self {
            wire,
            reader: CommandReader::new(Limits::BEFORE_LOGIN),
            context,
            peer,
            origin: Origin::new("imap", peer.address.ip()),
            tls: peer.tls,
            login: None,
            selected: None,
            standing: SessionGauge::new(),
            appending: None,
            appends: Appends::default(),
            failed_logins: 0,
            began: Instant::now(),
            upgrade: false,
            leaving: false,
        }
    }

    /// Where the session stands.
    pub(in crate::imap) fn state(&self) -> State {
        match (&self.login, &self.selected) {
            _ if self.leaving => State::Logout,
            (None, _) => State::NotAuthenticated,
            (Some(_), None) => State::Authenticated,
            (Some(_), Some(_)) => State::Selected,
        }
    }

    /// What it may use now.
    pub(in crate::imap) fn capabilities(&self) -> String {
        capabilities(Stage {
            starttls: !self.tls && self.context.tls.is_some(),
            login: self.may_log_in(),
            authenticated: self.login.is_some(),
        })
    }

    /// Whether a password may be sent over this connection.
    pub(in crate::imap) fn may_log_in(&self) -> bool {
        self.tls || self.context.options.plaintext_login
    }

    /// Who it is. The state machine lets no command here that needs an account and has none.
    pub(in crate::imap) fn account(&self) -> Result<Arc<Account>, Failure> {
        let login = self
            .login
            .as_ref()
            .ok_or_else(|| Status::internal("no account"))?;
        Ok(Arc::clone(&login.account))
    }

    /// What is selected.
    pub(in crate::imap) fn selected(&mut self) -> Result<&mut Selected, Failure> {
        Ok(self
            .selected
            .as_mut()
            .ok_or_else(|| Status::internal("no mailbox selected"))?)
    }

    /// Until when it must have logged in, however it spends the time.
    pub(in crate::imap) fn login_deadline(&self) -> Instant {
        self.began + self.context.options.login_timeout
    }

    /// One line of a dialogue within a login.
    pub(in crate::imap) async fn line(&mut self) -> Result<bytes::Bytes, End> {
        let deadline = self.login_deadline();
        let shutdown = self.context.shutdown.clone();
        let mut too_long = false;
        loop {
            match self.reader.next_line(&mut self.wire.input) {
                LineEvent::Line(line) => return Ok(line),
                LineEvent::TooLong if too_long => return Err(End::Bye("line too long")),
                LineEvent::TooLong => too_long = true,
                LineEvent::NeedMore => {
                    self.wire.flush().await?;
                    tokio::select! {
                        biased;
                        // First, so that a client that always has more to say is not waited for any longer.
                        () = shutdown.cancelled() => return Err(End::SHUTDOWN),
                        () = sleep_until(deadline) => return Err(End::Bye("log in faster")),
                        filled = self.wire.fill(false) => filled?,
                    }
                }
            }
        }
    }

    /// Tells the client what has changed in the selected mailbox. With `look` asks the shard whatever the feed says.
    pub(in crate::imap) async fn sync(&mut self, expunges: Expunges, look: bool) -> Result<(), End> {
        let (Some(selected), Some(login)) = (&mut self.selected, &mut self.login) else {
            return Ok(());
        };
        let heard = login
            .subscription
            .has_changed(selected.mailbox, selected.view.modseq());
        // A leader that has not got there yet is to wait, not to answer that there is nothing new.
        login.account.saw(login.subscription.told(selected.mailbox));
        if heard || look || selected.stale {
            let call = Changes {
                mailbox: selected.mailbox,
                since: selected.view.modseq(),
            };
            let options = CallOptions {
                timeout: Some(CHANGES_TIMEOUT),
                mutates: false,
            };
            let told = match login.account.call(request::Call::Changes(call), options).await {
                Ok(reply::Call::Changes(changes)) => {
                    selected.stale = false;
                    selected.view.apply(&changes, expunges)
                }
                Ok(_) => Vec::new(),
                Err(status) if status.reason == Reason::NoMailbox => selected.view.deleted(expunges),
                Err(status) => {
                    selected.stale = true;
                    tracing::debug!(%status, "cannot look for changes; trying again later");
                    Vec::new()
                }
            };
            self.tell(told).await?;
        }
        if expunges == Expunges::Told
            && let Some(selected) = &mut self.selected
            && selected.view.has_held()
        {
            let told = selected.view.release_held();
            self.tell(told).await?;
        }
        Ok(())
    }

    /// Leaves the selected mailbox, if there is one, with the messages that came meanwhile: no later session may see
    /// them as recent. RFC 3501 §2.3.2. Nothing that the client does hangs on that, so a failure is no matter to it.
    pub(in crate::imap) async fn leave(&mut self) {
        let (Some(selected), Some(login)) = (self.selected.take(), &self.login) else {
            return;
        };
        let Some(below) = selected.view.recent_to_claim().filter(|_| !selected.read_only) else {
            return;
        };
        let call = request::Call::ClaimRecent(ClaimRecent {
            mailbox: selected.mailbox,
            below,
        });
        let options = CallOptions {
            timeout: Some(CLAIM_TIMEOUT),
            mutates: false,
        };
        let account = Arc::clone(&login.account);
        // The view is not needed any more, and may be large.
        drop(selected);
        if let Err(status) = Box::pin(account.call(call, options)).await {
            tracing::debug!(%status, "messages may be recent once more");
        }
    }

    /// Writes untagged responses.
    pub(in crate::imap) async fn tell(&mut self, told: Vec<Untagged>) -> Result<(), End> {
        for untagged in told {
            let out = &mut self.wire.output;
            match untagged {
                Untagged::Expunge(message) => encode::expunge(out, message),
                Untagged::Exists(messages) => encode::exists(out, messages),
                Untagged::Recent(messages) => encode::recent(out, messages),
                Untagged::Flags(flags) => encode::flags(out, &flags),
                Untagged::Fetch { message, uid, flags } => {
                    let mut line = encode::FetchLine::start(out, message);
                    line.uid(out, uid);
                    line.flags(out, &flags);
                    line.finish(out);
                }
            }
            self.wire.drain().await?;
        }
        Ok(())
    }
}
