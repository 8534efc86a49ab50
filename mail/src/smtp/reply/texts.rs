//! Every reply that the server gives, in the order of their codes.
//!
//! The enhanced codes are those of RFC 3463 and of the registry that RFC 5248 began; where several
//! fit, the one that tells a sender what to do next. Function names say the case, not the code.

use super::Reply;
use crate::smtp::path::ForwardPath;

/// The greeting, RFC 5321 §4.2.
pub fn greeting(host: &str, protocol: &str) -> Reply {
    Reply::bare(220, vec![format!("{host} {protocol} ready").into()])
}

/// RFC 3207 §4.
pub fn ready_for_tls() -> Reply {
    Reply::new(220, 0, 0, "Ready to start TLS")
}

/// Answer to QUIT.
pub fn goodbye() -> Reply {
    Reply::new(221, 0, 0, "Bye")
}

/// RFC 4954 §6.
pub fn authenticated() -> Reply {
    Reply::new(235, 7, 0, "Authentication succeeded")
}

/// NOOP and RSET.
pub fn ok() -> Reply {
    Reply::new(250, 0, 0, "OK")
}

/// Answer to HELO.
pub fn hello(host: &str) -> Reply {
    Reply::bare(250, vec![host.to_owned().into()])
}

/// Answer to MAIL.
pub fn sender_ok() -> Reply {
    Reply::new(250, 1, 0, "Sender OK")
}

/// Answer to RCPT.
pub fn recipient_ok() -> Reply {
    Reply::new(250, 1, 5, "Recipient OK")
}

/// Answer to BDAT that is not the last, RFC 3030 §2.
pub fn chunk_ok(octets: u64) -> Reply {
    Reply::new(250, 0, 0, format!("{octets} octets received"))
}

/// The message is stored for all its recipients.
pub fn stored(id: &str) -> Reply {
    Reply::new(250, 0, 0, format!("Stored as {id}"))
}

/// The message is stored for one recipient of LMTP.
pub fn stored_for(recipient: &ForwardPath, id: &str) -> Reply {
    Reply::new(250, 1, 5, format!("{recipient} Stored as {id}"))
}

/// Answer to VRFY: whether a mailbox exists is not told.
pub fn will_not_verify() -> Reply {
    Reply::new(252, 0, 0, "Cannot verify, but will take mail and try")
}

/// Answer to HELP.
pub fn help() -> Reply {
    Reply::new(214, 0, 0, "See RFC 5321")
}

/// A challenge, already in base64, RFC 4954 §4.
pub fn sasl_challenge(challenge: &'static str) -> Reply {
    Reply::bare(334, vec![challenge.into()])
}

/// Answer to DATA.
pub fn start_content() -> Reply {
    Reply::bare(354, vec!["End with CRLF.CRLF".into()])
}

/// The server is going down; the connection closes.
pub fn shutting_down() -> Reply {
    Reply::new(421, 3, 2, "Service shutting down, try again later")
}

/// The client said nothing for too long; the connection closes.
pub fn idle_too_long() -> Reply {
    Reply::new(421, 4, 2, "Timeout, closing")
}

/// Too many connections, of all or of this client; the connection closes.
pub fn too_many_connections() -> Reply {
    Reply::new(421, 7, 0, "Too many connections, try again later")
}

/// Too many bad commands or failed logins; the connection closes.
pub fn too_many_errors() -> Reply {
    Reply::new(421, 7, 0, "Too many errors, closing")
}

/// Content went on far beyond its limit; the connection closes.
pub fn endless_content() -> Reply {
    Reply::new(421, 3, 4, "Message far too large, closing")
}

/// The recipient's account is suspended: mail waits at the sender.
pub fn suspended() -> Reply {
    Reply::new(450, 2, 1, "Account suspended, try again later")
}

/// The shard of a recipient, or the directory, cannot answer now.
pub fn temporarily_unavailable() -> Reply {
    Reply::new(451, 3, 0, "Temporarily unavailable, try again later")
}

/// The recipient's quota is used up.
pub fn over_quota() -> Reply {
    Reply::new(452, 2, 2, "Mailbox full, try again later")
}

/// More recipients than a transaction may have, RFC 5321 §4.5.3.1.10.
pub fn too_many_recipients() -> Reply {
    Reply::new(452, 5, 3, "Too many recipients, send the rest again")
}

/// Credentials cannot be checked now, RFC 4954 §6.
pub fn authentication_unavailable() -> Reply {
    Reply::new(454, 7, 0, "Temporary authentication failure, try again later")
}

/// Not a command: 8-bit junk, control characters, a bare CR or LF, too long a line.
pub fn syntax_error() -> Reply {
    Reply::new(500, 5, 2, "Syntax error")
}

/// A line of more octets than the limit.
pub fn line_too_long() -> Reply {
    Reply::new(500, 5, 2, "Line too long")
}

/// A line not ended by CRLF.
pub fn bare_line_feed() -> Reply {
    Reply::new(500, 5, 2, "Lines end with CRLF")
}

/// A response of SASL over its limit, RFC 4954 §4.
pub fn sasl_response_too_long() -> Reply {
    Reply::new(500, 5, 6, "Authentication exchange line is too long")
}

/// An unknown command.
pub fn unknown_command() -> Reply {
    Reply::new(500, 5, 1, "Command not recognised")
}

/// HELO and EHLO over LMTP, LHLO over SMTP, RFC 2033 §4.1.
pub fn wrong_hello(expected: &'static str) -> Reply {
    Reply::new(500, 5, 1, format!("Use {expected}"))
}

/// Arguments missing, superfluous or malformed.
pub fn bad_argument() -> Reply {
    Reply::new(501, 5, 4, "Syntax error in arguments")
}

/// A malformed sender.
pub fn bad_sender() -> Reply {
    Reply::new(501, 1, 7, "Bad sender address syntax")
}

/// A malformed recipient.
pub fn bad_recipient() -> Reply {
    Reply::new(501, 1, 3, "Bad recipient address syntax")
}

/// The client cancelled, RFC 4954 §4.
pub fn authentication_cancelled() -> Reply {
    Reply::new(501, 7, 0, "Authentication cancelled")
}

/// A response of SASL that cannot be decoded, RFC 4954 §4.
pub fn bad_sasl_response() -> Reply {
    Reply::new(501, 5, 2, "Cannot decode the authentication response")
}

/// A known command that is not offered here.
pub fn not_implemented() -> Reply {
    Reply::new(502, 5, 1, "Command not implemented")
}

/// A command at the wrong time.
pub fn bad_sequence(text: &'static str) -> Reply {
    Reply::new(503, 5, 1, text)
}

/// AUTH with an unknown mechanism, RFC 4954 §4.
pub fn unknown_mechanism() -> Reply {
    Reply::new(504, 5, 4, "Authentication mechanism not supported")
}

/// Submission without AUTH, RFC 6409 §4.3, RFC 4954 §6.
pub fn authentication_required() -> Reply {
    Reply::new(530, 7, 0, "Authentication required")
}

/// Submission without TLS, RFC 3207 §4.
pub fn tls_required() -> Reply {
    Reply::new(530, 7, 0, "Must issue a STARTTLS command first")
}

/// Wrong name or password, RFC 4954 §6.
pub fn authentication_failed() -> Reply {
    Reply::new(535, 7, 8, "Authentication credentials invalid")
}

/// AUTH in plain text, RFC 4954 §6.
pub fn encryption_required() -> Reply {
    Reply::new(
        538,
        7,
        11,
        "Encryption required for the requested authentication mechanism",
    )
}

/// No such recipient.
pub fn unknown_recipient() -> Reply {
    Reply::new(550, 1, 1, "No such recipient here")
}

/// A domain of others: the server does not relay.
pub fn not_local() -> Reply {
    Reply::new(550, 7, 1, "Relaying denied")
}

/// Aliases that lead back to themselves.
pub fn alias_loop() -> Reply {
    Reply::new(550, 4, 6, "Alias loop")
}

/// Content with a bare CR or LF, RFC 5321 §2.3.8.
pub fn bare_line_ending_in_content() -> Reply {
    Reply::new(550, 6, 11, "Message contains a bare CR or LF")
}

/// Content larger than the limit, RFC 1870 §6.
pub fn message_too_large() -> Reply {
    Reply::new(552, 3, 4, "Message size exceeds the limit")
}

/// An address outside ASCII without SMTPUTF8, RFC 6531 §3.5.
pub fn needs_smtputf8() -> Reply {
    Reply::new(553, 6, 7, "Address needs SMTPUTF8")
}

/// DATA or BDAT though no recipient was taken, RFC 5321 §3.3.
pub fn no_valid_recipients() -> Reply {
    Reply::new(554, 5, 1, "No valid recipients")
}

/// Too many `Received:` lines, RFC 5321 §6.3.
pub fn too_many_hops() -> Reply {
    Reply::new(554, 4, 6, "Too many hops")
}

/// Another protocol's command; the connection closes.
pub fn other_protocol() -> Reply {
    Reply::new(554, 5, 1, "This is a mail server, closing")
}

/// A parameter of MAIL or RCPT that is not offered, RFC 5321 §4.1.1.11.
pub fn unknown_parameter() -> Reply {
    Reply::new(555, 5, 4, "Parameter not recognised or not implemented")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_they_are_sent() {
        for (reply, text) in [
            (greeting("mx.test", "ESMTP"), "220 mx.test ESMTP ready\r\n"),
            (
                temporarily_unavailable(),
                "451 4.3.0 Temporarily unavailable, try again later\r\n",
            ),
            (
                bare_line_ending_in_content(),
                "550 5.6.11 Message contains a bare CR or LF\r\n",
            ),
            (start_content(), "354 End with CRLF.CRLF\r\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&reply.to_bytes()), text);
        }
    }
}
