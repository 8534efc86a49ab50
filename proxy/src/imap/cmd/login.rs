//! LOGIN, and what AUTHENTICATE shares with it. RFC 3501 §6.2.3.

use std::time::{Duration, Instant};

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::frame::Limits;
use rookery_mail::imap::types::Secret;
use rookery_mail::sasl::Credentials;
use rookery_proto::{Reason, Status};

use crate::catalogue::held_back;
use crate::imap::answer::{Answer, Code, End, Failure};
use crate::imap::connection::{Client, LoggedIn};
use crate::imap::measure;

pub(in crate::imap) async fn run(
    client: &mut Client,
    username: &str,
    password: &Secret,
) -> Result<Answer, Failure> {
    if !client.may_log_in() {
        return Ok(privacy_required());
    }
    let password = std::str::from_utf8(password.expose()).unwrap_or_default();
    match Credentials::new(username, password) {
        Ok(credentials) => attempt(client, credentials.username(), credentials.password()).await,
        // Nobody has such a name or password.
        Err(_) => failed(client, "malformed credentials").await,
    }
}

/// RFC 5530 §3.
pub(super) fn privacy_required() -> Answer {
    Answer::no("no passwords without TLS").code(ResponseCode::PrivacyRequired)
}

/// Checks a name and a password and logs in.
pub(super) async fn attempt(client: &mut Client, username: &str, password: &str) -> Result<Answer, Failure> {
    let address = client.peer.address;
    let from = address.ip().to_string();
    match client
        .context
        .cluster
        .authenticate(username, password, &from)
        .await
    {
        Ok(account) => {
            tracing::info!(%address, account = account.id(), login = account.address(), "IMAP login");
            measure::login("ok");
            let subscription = account.subscribe();
            client.login = Some(LoggedIn {
                account,
                subscription,
            });
            let append_bytes_max = client.context.options.message_bytes_max;
            client.reader.set_limits(Limits {
                append_bytes_max,
                ..Limits::default()
            });
            Ok(Answer::ok("logged in").lists(Code::Capability(client.capabilities())))
        }
        Err(status) => refused(client, &status).await,
    }
}

async fn refused(client: &mut Client, status: &Status) -> Result<Answer, Failure> {
    let address = client.peer.address;
    match status.reason {
        Reason::BadCredentials | Reason::NotFound | Reason::NotLocal | Reason::InvalidArgument => {
            failed(client, "wrong user name or password").await
        }
        // The password was right, so it does no harm to say so.
        Reason::Suspended | Reason::NoAccount | Reason::PermissionDenied => {
            tracing::info!(%address, "IMAP login to an account that cannot be used");
            measure::login("suspended");
            Ok(Answer::no("the account is suspended").code(ResponseCode::ContactAdmin))
        }
        // Never "wrong password" for what could not be checked.
        _ => {
            tracing::info!(%address, %status, "IMAP login could not be checked");
            measure::login("unavailable");
            Ok(Answer::no("logins are not possible now, try again").code(ResponseCode::Unavailable))
        }
    }
}

/// A failed login: held back, then refused; after some the connection ends.
async fn failed(client: &mut Client, reason: &'static str) -> Result<Answer, Failure> {
    client.failed_logins += 1;
    let address = client.peer.address;
    tracing::info!(%address, failures = client.failed_logins, "IMAP login failed");
    measure::login("failed");
    let delay = client
        .context
        .slowing
        .failed(address.ip(), client.failed_logins, Instant::now());
    held_back("imap", delay, client.context.slowing.unit());
    wait(client, delay).await?;
    if client.failed_logins >= client.context.options.failed_logins_max {
        return Err(Failure::Ended(End::Bye("too many failed logins")));
    }
    Ok(Answer::no(reason).code(ResponseCode::AuthenticationFailed))
}

async fn wait(client: &mut Client, delay: Duration) -> Result<(), End> {
    client.wire.flush().await?;
    tokio::select! {
        () = tokio::time::sleep(delay) => Ok(()),
        () = client.context.shutdown.cancelled() => Err(End::Bye("the server is going down, come back soon")),
    }
}
