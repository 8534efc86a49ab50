//! BDAT, RFC 3030 §2.
//!
//! A chunk follows its command whether it is wanted or not, so a refused one is read and dropped
//! before it is answered; otherwise its octets would be read as commands.

use crate::smtp::reply::{Reply, texts};
use crate::smtp::session::{Action, Chunk, Content, Phase, Session};

impl<R> Session<R> {
    pub(in crate::smtp) fn bdat(&mut self, octets: u64, last: bool) -> Action {
        // Too much to be read only to be dropped.
        if octets > self.config.discarded_octets_max() {
            return self.close(texts::message_too_large());
        }
        if let Some(reply) = self.content_refused() {
            return self.receive(
                Chunk {
                    octets,
                    last,
                    keep: false,
                },
                Some(vec![reply]),
            );
        }
        let before = self
            .transaction
            .as_ref()
            .and_then(|open| open.chunked_octets)
            .unwrap_or(0);
        let total = before.saturating_add(octets);
        if total > self.config.message_octets_max {
            let reply = texts::message_too_large();
            let replies = if last {
                self.for_each_recipient(reply)
            } else {
                vec![reply]
            };
            return self.receive(
                Chunk {
                    octets,
                    last,
                    keep: false,
                },
                Some(replies),
            );
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.chunked_octets = Some(total);
        }
        self.receive(
            Chunk {
                octets,
                last,
                keep: true,
            },
            None,
        )
    }

    /// A wanted chunk has been read.
    pub(super) fn chunk_received(&mut self, chunk: Chunk, content: &Content) -> Action {
        if chunk.last {
            self.content_complete(content)
        } else {
            Action::Reply(texts::chunk_ok(chunk.octets))
        }
    }

    fn receive(&mut self, chunk: Chunk, refusal: Option<Vec<Reply>>) -> Action {
        self.phase = Phase::Chunk(chunk, refusal);
        Action::ReceiveChunk(chunk)
    }
}
