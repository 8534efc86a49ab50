//! MAIL, RFC 5321 §4.1.1.2, with SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531) and AUTH
//! (RFC 4954 §5).

use crate::smtp::command::Parameter;
use crate::smtp::path::ReversePath;
use crate::smtp::reply::{Reply, texts};
use crate::smtp::session::{Action, Body, Kind, Session, Transaction};

impl<R> Session<R> {
    pub(in crate::smtp) fn mail(&mut self, sender: ReversePath, parameters: &[Parameter]) -> Action {
        Action::Reply(match self.begin(sender, parameters) {
            Ok(transaction) => {
                self.transaction = Some(transaction);
                texts::sender_ok()
            }
            Err(reply) => reply,
        })
    }

    fn begin(&self, sender: ReversePath, parameters: &[Parameter]) -> Result<Transaction<R>, Reply> {
        if self.hello.is_none() {
            let hello = if self.config.kind == Kind::Lmtp {
                "Send LHLO first"
            } else {
                "Send EHLO first"
            };
            return Err(texts::bad_sequence(hello));
        }
        if self.config.kind == Kind::Submission && self.user.is_none() {
            // Told apart only to help a person who reads it.
            return Err(if self.tls || self.config.plaintext_auth {
                texts::authentication_required()
            } else {
                texts::tls_required()
            });
        }
        // RFC 5321 §4.1.4: no transaction inside another.
        if self.transaction.is_some() {
            return Err(texts::bad_sequence("Nested MAIL command"));
        }
        let mut transaction = Transaction {
            sender,
            body: Body::default(),
            smtputf8: false,
            declared_octets: None,
            recipients: Vec::new(),
            chunked_octets: None,
        };
        for parameter in parameters {
            apply(&mut transaction, parameter)?;
        }
        // RFC 1870 §6.1
        if transaction
            .declared_octets
            .is_some_and(|octets| octets > self.config.message_octets_max)
        {
            return Err(texts::message_too_large());
        }
        // RFC 6531 §3.5
        if !transaction.smtputf8 && !transaction.sender.is_ascii() {
            return Err(texts::needs_smtputf8());
        }
        Ok(transaction)
    }
}

fn apply<R>(transaction: &mut Transaction<R>, parameter: &Parameter) -> Result<(), Reply> {
    match (parameter.keyword.as_str(), parameter.value.as_deref()) {
        ("SIZE", Some(value)) => transaction.declared_octets = Some(octets(value)?),
        ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => transaction.body = Body::SevenBit,
        ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
            transaction.body = Body::EightBitMime;
        }
        ("SMTPUTF8", None) => transaction.smtputf8 = true,
        // RFC 4954 §5: the name is for servers that trust the client; we use what we know ourselves.
        ("AUTH", Some(_)) => {}
        ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _) => return Err(texts::bad_argument()),
        // RFC 5321 §4.1.1.11. RET and ENVID are DSN's (RFC 3461), which is not offered.
        _ => return Err(texts::unknown_parameter()),
    }
    Ok(())
}

/// RFC 1870 §4: `size-value = 1*20DIGIT`. What does not fit into 64 bits is too large in any case.
fn octets(value: &str) -> Result<u64, Reply> {
    if value.len() > 20 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(texts::bad_argument());
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}
