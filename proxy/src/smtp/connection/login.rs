//! AUTH: passwords are checked by the directory, and the answer to a wrong one is held back.

use std::sync::Arc;
use std::time::Instant;

use rookery_mail::sasl::Credentials;
use rookery_mail::smtp::reply::texts;
use rookery_mail::smtp::session::{Action, AuthOutcome};
use rookery_proto::{Reason, Status};

use super::{Connection, End};
use crate::catalogue::held_back;
use crate::route::account::is_refusal;
use crate::route::{Account, Subscription};
use crate::smtp::measure;

/// Who has logged in.
pub(super) struct Login {
    account: Arc<Account>,
    subscription: Subscription,
}

impl Login {
    /// The account's id.
    pub(super) fn account(&self) -> u64 {
        self.account.id()
    }

    /// Makes sure that the account may still send.
    async fn confirm(&self) -> Result<(), Status> {
        self.account.confirm().await
    }

    /// Waits until the account's sessions must end.
    pub(super) async fn ended(&mut self) {
        self.subscription.ended().await;
    }
}

impl Connection {
    /// Checks a name and a password.
    pub(super) async fn authenticate(&mut self, credentials: Credentials) -> Result<Action, End> {
        self.wire.flush().await?;
        let client = self.client;
        let (username, password) = (credentials.username(), credentials.password());
        let checked = self
            .context
            .cluster
            .authenticate(username, password, &client.ip().to_string())
            .await;
        let outcome = match checked {
            Ok(account) => {
                tracing::info!(%client, account = account.id(), "SMTP login");
                measure::login("ok");
                let subscription = account.subscribe();
                self.login = Some(Login {
                    account,
                    subscription,
                });
                AuthOutcome::Accepted
            }
            Err(status) => match status.reason {
                Reason::BadCredentials | Reason::NotFound | Reason::NotLocal | Reason::InvalidArgument => {
                    self.hold_back().await?;
                    AuthOutcome::Refused
                }
                // The password was right, so there is nothing to be guessed.
                Reason::Suspended | Reason::NoAccount | Reason::PermissionDenied => {
                    tracing::info!(%client, "SMTP login to an account that cannot be used");
                    measure::login("suspended");
                    AuthOutcome::Refused
                }
                // Never "wrong password" for what could not be checked.
                _ => {
                    tracing::info!(%client, %status, "SMTP login could not be checked");
                    measure::login("unavailable");
                    AuthOutcome::Unavailable
                }
            },
        };
        Ok(self.session.authenticated(outcome))
    }

    /// Whether whoever has logged in may still send: `false` when nobody could be asked, an end when the directory says
    /// no. While its watch was lost, the account may have been suspended without a word to this proxy.
    pub(super) async fn may_send(&mut self) -> Result<bool, End> {
        let Some(login) = &self.login else { return Ok(true) };
        match login.confirm().await {
            Ok(()) => Ok(true),
            Err(status) if is_refusal(&status) => Err(End::Say(texts::shutting_down())),
            Err(status) => {
                tracing::info!(client = %self.client, account = login.account(), %status,
                    "a login could not be confirmed");
                Ok(false)
            }
        }
    }

    async fn hold_back(&mut self) -> Result<(), End> {
        self.failed_logins += 1;
        tracing::info!(client = %self.client, failures = self.failed_logins, "SMTP login failed");
        measure::login("failed");
        let delay = self
            .context
            .slowing
            .failed(self.client.ip(), self.failed_logins, Instant::now());
        held_back("submission", delay, self.context.slowing.unit());
        tokio::select! {
            () = tokio::time::sleep(delay) => Ok(()),
            () = self.context.shutdown.cancelled() => Err(End::Say(texts::shutting_down())),
        }
    }
}
