//! RSET, RFC 5321 §4.1.1.5.

use crate::smtp::reply::texts;
use crate::smtp::session::{Action, Session};

impl<R> Session<R> {
    pub(in crate::smtp) fn rset(&mut self) -> Action {
        self.reset(texts::ok())
    }
}
