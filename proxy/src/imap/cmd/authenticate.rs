//! AUTHENTICATE. RFC 3501 §6.2.2, with an initial response by RFC 4959.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rookery_mail::imap::types::Secret;
use rookery_mail::sasl::{Exchange, Mechanism, SaslError, Step};

use super::login;
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;

pub(in crate::imap) async fn run(
    client: &mut Client,
    mechanism: &str,
    initial: Option<Secret>,
) -> Result<Answer, Failure> {
    let Some(mechanism) = Mechanism::from_name(mechanism) else {
        return Ok(Answer::no("no such mechanism"));
    };
    if !client.may_log_in() {
        return Ok(login::privacy_required());
    }
    // RFC 4959 §3: an empty response is written as "=".
    let initial = initial.map(|secret| match secret.expose() {
        [] => "=".to_owned(),
        bytes => STANDARD.encode(bytes),
    });
    let started = Exchange::start(mechanism, initial.as_deref().map(str::as_bytes));
    let (mut exchange, mut step) = match started {
        Ok(started) => started,
        Err(error) => return Ok(refused(error)),
    };
    loop {
        match step {
            Step::Finished(credentials) => {
                return login::attempt(client, credentials.username(), credentials.password()).await;
            }
            Step::Challenge(challenge) => {
                // The challenge is in base64 already.
                let out = &mut client.wire.output;
                out.extend_from_slice(b"+ ");
                out.extend_from_slice(challenge.as_bytes());
                out.extend_from_slice(b"\r\n");
                client.wire.flush().await?;
                let line = client.line().await?;
                step = match exchange.respond(&line) {
                    Ok(step) => step,
                    Err(error) => return Ok(refused(error)),
                };
            }
        }
    }
}

/// RFC 3501 §6.2.2: BAD for a response that is none, and for one that was cancelled.
fn refused(error: SaslError) -> Answer {
    match error {
        SaslError::Cancelled => Answer::bad("AUTHENTICATE cancelled"),
        SaslError::OtherIdentity => Answer::no("nobody acts for somebody else here")
            .code(rookery_mail::imap::encode::ResponseCode::AuthorizationFailed),
        SaslError::Base64 | SaslError::Malformed | SaslError::TooLong => Answer::bad("malformed response"),
    }
}
