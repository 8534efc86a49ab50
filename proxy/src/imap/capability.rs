//! What the server says it can do: the one place, so that nothing said before login is untrue after it.

/// What works in every state once the client may log in; each with all of its RFC.
const ALWAYS: &str = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN SPECIAL-USE \
                      CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS ESEARCH STATUS=SIZE MULTIAPPEND";

/// What a client needs to know before login.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// STARTTLS is possible now.
    pub starttls: bool,
    /// A password may be sent now.
    pub login: bool,
    /// The client has logged in.
    pub authenticated: bool,
}

/// The capabilities, separated by spaces.
pub(super) fn capabilities(stage: Stage) -> String {
    let mut text = ALWAYS.to_owned();
    if stage.authenticated {
        return text;
    }
    if stage.starttls {
        text.push_str(" STARTTLS");
    }
    if stage.login {
        text.push_str(" AUTH=PLAIN AUTH=LOGIN");
    } else {
        // RFC 3501 §6.2.3: LOGIN would be refused.
        text.push_str(" LOGINDISABLED");
    }
    text
}
