//! SUBSCRIBE and UNSUBSCRIBE. RFC 3501 §6.3.6, §6.3.7. Names need not exist; Thunderbird subscribes while it creates.

use rookery_mail::imap::encode::ResponseCode;
use rookery_mail::imap::types::MailboxName;
use rookery_proto::mailstore::v1::{SetSubscription, request};

use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;
use crate::route::CallOptions;

pub(in crate::imap) async fn run(
    client: &mut Client,
    name: &MailboxName,
    subscribed: bool,
) -> Result<Answer, Failure> {
    let name = name.without_trailing_delimiter();
    if let Err(error) = name.check_new() {
        return Ok(Answer::no(error.to_string()).code(ResponseCode::Cannot));
    }
    let call = SetSubscription {
        name: name.as_str().to_owned(),
        subscribed,
    };
    client
        .account()?
        .call(request::Call::SetSubscription(call), CallOptions::MUTATION)
        .await?;
    Ok(Answer::ok("completed"))
}
