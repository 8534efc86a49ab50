//! Rules that are broken on purpose, to show that the invariants would see it: each in what lies between two roles, or in a
//! machine's log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rookery_proto::call::SinkTransport;
use rookery_proto::mailstore::v1::request::Call;
use rookery_proto::mailstore::v1::{Reply, Request, Stored, reply};
use rookery_proto::{Caller, Incoming, MailstoreProtocol, Peer, Replies, ReplySink, Service, Status};
use rookery_simulation::Run;
use rookery_simulation::log::Broken;

use crate::cluster::Cluster;

/// How long a reply is served again, in milliseconds.
const OLD_MAX: u64 = 400;

/// How long after its answer a change is made, in milliseconds.
const LATE: std::ops::Range<u64> = 50..1_500;

/// A rule to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Logs say that an append is durable at once.
    AcksBeforeSync,
    /// Proxies send no idempotency keys.
    ForgetsKeys,
    /// Mailstores answer before they change flags.
    AnswersEarly,
    /// Mailstores answer reads by what they answered a moment ago.
    ServesOldReads,
    /// Mailstores keep some of their change feed to themselves.
    LosesNews,
    /// Mailstores take one account's token for another's.
    MixesAccounts,
}

/// All rules, by name.
const RULES: [(&str, Rule); 6] = [
    (ACKS_BEFORE_SYNC, Rule::AcksBeforeSync),
    (FORGETS_KEYS, Rule::ForgetsKeys),
    (ANSWERS_EARLY, Rule::AnswersEarly),
    (SERVES_OLD_READS, Rule::ServesOldReads),
    (LOSES_NEWS, Rule::LosesNews),
    (MIXES_ACCOUNTS, Rule::MixesAccounts),
];

/// Names of rules.
pub(crate) const ACKS_BEFORE_SYNC: &str = "acks-before-sync";
pub(crate) const FORGETS_KEYS: &str = "forgets-keys";
pub(crate) const ANSWERS_EARLY: &str = "answers-early";
pub(crate) const SERVES_OLD_READS: &str = "serves-old-reads";
pub(crate) const LOSES_NEWS: &str = "loses-news";
pub(crate) const MIXES_ACCOUNTS: &str = "mixes-accounts";

/// The rule of a name.
pub(crate) fn named(name: &str) -> Option<Rule> {
    RULES.iter().find(|(of, _)| *of == name).map(|(_, rule)| *rule)
}

/// What a machine's log does wrong.
pub(crate) fn log(cluster: &Cluster) -> Option<Broken> {
    (cluster.rule == Some(Rule::AcksBeforeSync)).then_some(Broken::AcksBeforeSync)
}

/// A mailstore's service as others find it.
pub(crate) fn mailstore(
    cluster: &Cluster,
    service: Arc<dyn Service<MailstoreProtocol>>,
) -> Arc<dyn Service<MailstoreProtocol>> {
    match cluster.rule {
        None | Some(Rule::AcksBeforeSync | Rule::ForgetsKeys) => service,
        Some(rule) => Arc::new(Mailstore {
            service,
            rule,
            run: Arc::clone(&cluster.run),
            answered: Arc::default(),
            tokens: Mutex::default(),
        }),
    }
}

/// A proxy's way to a mailstore as the proxy uses it.
pub(crate) fn proxy(
    cluster: &Cluster,
    caller: Arc<dyn Caller<MailstoreProtocol>>,
) -> Arc<dyn Caller<MailstoreProtocol>> {
    match cluster.rule {
        Some(Rule::ForgetsKeys) => Arc::new(WithoutKeys(caller)),
        _ => caller,
    }
}

/// A way on which idempotency keys are lost.
struct WithoutKeys(Arc<dyn Caller<MailstoreProtocol>>);

impl Caller<MailstoreProtocol> for WithoutKeys {
    fn call(&self, mut call: rookery_proto::Call<MailstoreProtocol>) -> Replies<MailstoreProtocol> {
        call.request.key = None;
        self.0.call(call)
    }
}

/// Answers by token and request, and when they were given.
type Answered = Mutex<HashMap<(Bytes, String), (u64, Vec<Reply>)>>;

/// A mailstore that breaks a rule.
struct Mailstore {
    service: Arc<dyn Service<MailstoreProtocol>>,
    rule: Rule,
    run: Arc<Run>,
    answered: Arc<Answered>,
    /// The last token of each proxy.
    tokens: Mutex<HashMap<String, Bytes>>,
}

impl Service<MailstoreProtocol> for Mailstore {
    fn serve(
        self: Arc<Self>,
        mut call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        let service = Arc::clone(&self.service);
        match (self.rule, &call.request.call) {
            (Rule::AnswersEarly, Some(Call::Store(_))) => Box::pin(self.answer_early(call, replies)),
            (Rule::ServesOldReads, Some(Call::Fetch(_) | Call::Changes(_))) => {
                Box::pin(self.answer_again(call, replies))
            }
            (Rule::LosesNews, Some(Call::Watch(_))) => {
                let lossy = Lossy {
                    to: replies,
                    run: Arc::clone(&self.run),
                };
                service.serve(call, ReplySink::new(Arc::new(lossy)))
            }
            (Rule::MixesAccounts, Some(Call::Fetch(_) | Call::Append(_))) => {
                self.mix(&call.peer, &mut call.context.token);
                service.serve(call, replies)
            }
            _ => service.serve(call, replies),
        }
    }
}

impl Mailstore {
    async fn answer_early(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let late = Duration::from_millis(self.run.draw(LATE));
        let service = Arc::clone(&self.service);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            // Nobody hears what comes of it.
            let _ = service.serve(call, ReplySink::new(Arc::new(Nowhere))).await;
        });
        let stored = reply::Call::Stored(Stored::default());
        replies.send(Reply { call: Some(stored) }).await
    }

    async fn answer_again(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let asked = Request {
            seen_modseq: 0,
            ..call.request.clone()
        };
        let key = (call.context.token.clone(), format!("{asked:?}"));
        let held = self.answered.lock().get(&key).cloned();
        if let Some((at, answer)) = held.filter(|(at, _)| self.run.now() < at + OLD_MAX) {
            self.run.trace(&format!("an answer of {at} is given again"));
            for reply in answer {
                replies.send(reply).await?;
            }
            return Ok(());
        }
        let noting = Arc::new(Noting {
            to: replies,
            noted: Mutex::default(),
        });
        let at = self.run.now();
        let service = Arc::clone(&self.service);
        let sink = ReplySink::new(Arc::clone(&noting) as _);
        service.serve(call, sink).await?;
        let answer = std::mem::take(&mut *noting.noted.lock());
        self.answered.lock().insert(key, (at, answer));
        Ok(())
    }

    /// Now and then puts the token that came before in the place of this one.
    fn mix(&self, peer: &Peer, token: &mut Bytes) {
        let before = self.tokens.lock().insert(peer.node.clone(), token.clone());
        if let Some(before) = before.filter(|_| self.run.once_in(8)) {
            *token = before;
        }
    }
}

/// Where replies go that nobody wants.
struct Nowhere;

impl SinkTransport<MailstoreProtocol> for Nowhere {
    fn send(&self, _reply: Reply) -> BoxFuture<'_, Result<(), Status>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Loses some of what goes through.
struct Lossy {
    to: ReplySink<MailstoreProtocol>,
    run: Arc<Run>,
}

impl SinkTransport<MailstoreProtocol> for Lossy {
    fn send(&self, reply: Reply) -> BoxFuture<'_, Result<(), Status>> {
        match self.run.once_in(3) {
            true => Box::pin(std::future::ready(Ok(()))),
            false => Box::pin(self.to.send(reply)),
        }
    }
}

/// Notes what goes through.
struct Noting {
    to: ReplySink<MailstoreProtocol>,
    noted: Mutex<Vec<Reply>>,
}

impl SinkTransport<MailstoreProtocol> for Noting {
    fn send(&self, reply: Reply) -> BoxFuture<'_, Result<(), Status>> {
        self.noted.lock().push(reply.clone());
        Box::pin(self.to.send(reply))
    }
}
