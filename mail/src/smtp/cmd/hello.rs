//! EHLO, HELO (RFC 5321 §4.1.1.1) and LHLO (RFC 2033 §4.1).

use crate::smtp::command::ClientName;
use crate::smtp::reply::{Reply, texts};
use crate::smtp::session::{Action, Hello, Kind, Session};

impl<R> Session<R> {
    pub(in crate::smtp) fn ehlo(&mut self, name: ClientName) -> Action {
        // RFC 2033 §4.1: a server of LMTP refuses HELO and EHLO.
        if self.config.kind == Kind::Lmtp {
            return Action::Reply(texts::wrong_hello("LHLO"));
        }
        let reply = self.capabilities().reply(&self.config.host);
        self.greeted(name, true, reply)
    }

    pub(in crate::smtp) fn helo(&mut self, name: ClientName) -> Action {
        if self.config.kind == Kind::Lmtp {
            return Action::Reply(texts::wrong_hello("LHLO"));
        }
        let reply = texts::hello(&self.config.host);
        self.greeted(name, false, reply)
    }

    pub(in crate::smtp) fn lhlo(&mut self, name: ClientName) -> Action {
        if self.config.kind != Kind::Lmtp {
            return Action::Reply(texts::wrong_hello("EHLO"));
        }
        let reply = self.capabilities().reply(&self.config.host);
        self.greeted(name, true, reply)
    }

    /// RFC 5321 §4.1.4: a hello in the middle of a transaction is a RSET as well.
    fn greeted(&mut self, name: ClientName, extended: bool, reply: Reply) -> Action {
        self.hello = Some(Hello { name, extended });
        self.reset(reply)
    }
}
