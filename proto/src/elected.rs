//! A caller of a service with several members of which one leads: it finds the leader, and finds it again when it changes.
//!
//! Each call goes to whoever answered last; one that any member may answer goes to each in turn. A member that cannot be
//! reached, says nothing or does not lead is followed by the one that it names, else by the next, round after round with
//! growing pauses. So only for calls that may be made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::{Call, Caller, LOCAL_WINDOW, Protocol, Replies, cancelled, deadline_exceeded};
use crate::status::{Reason, Status};

/// How long a leader is looked for, at most until the call's deadline.
pub const SEARCH_MAX: Duration = Duration::from_secs(5);

/// A member that says nothing to a call for so long is given up. A stream must say something more often.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Pause after the first round without a leader; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause between rounds.
const PAUSE_MAX: Duration = Duration::from_millis(400);

/// A member that did not answer what any may answer is left out of the turns for so long. Then one call tries it.
const LEFT_OUT: Duration = Duration::from_secs(5);

/// A member.
pub struct Candidate<P: Protocol> {
    /// Its address, as other members name it in hints.
    pub address: String,
    /// The way to it. It should fail at once when there is no connection.
    pub caller: Arc<dyn Caller<P>>,
}

/// Calls the member that leads.
pub struct Elected<P: Protocol> {
    shared: Arc<Shared<P>>,
}

struct Shared<P: Protocol> {
    candidates: Vec<Candidate<P>>,
    /// Who is asked first.
    current: AtomicUsize,
    turns: Turns,
}

/// Whose turn it is to answer what any member may answer.
struct Turns {
    next: AtomicUsize,
    /// For each member until when it is left out.
    left_out: Vec<Mutex<Option<Instant>>>,
}

impl Turns {
    fn new(members: usize) -> Self {
        Self {
            next: AtomicUsize::new(0),
            left_out: std::iter::repeat_with(Mutex::default).take(members).collect(),
        }
    }

    /// The next member, if there is one that is not left out.
    fn take(&self) -> Option<usize> {
        let members = self.left_out.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        (0..members)
            .map(|step| first.wrapping_add(step) % members)
            .find(|index| {
                let mut left_out = self.left_out[*index].lock();
                let is_due = left_out.is_none_or(|until| until <= now);
                // Others wait until this call has tried it.
                if is_due && left_out.is_some() {
                    *left_out = Some(now + LEFT_OUT);
                }
                is_due
            })
    }

    fn note(&self, index: usize, has_answered: bool) {
        *self.left_out[index].lock() = (!has_answered).then(|| Instant::now() + LEFT_OUT);
    }
}

impl<P: Protocol> Elected<P> {
    /// Of these members, of which the first is asked first.
    pub fn new(candidates: Vec<Candidate<P>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                turns: Turns::new(candidates.len()),
                candidates,
                current: AtomicUsize::new(0),
            }),
        }
    }
}

impl<P: Protocol> Caller<P> for Elected<P> {
    fn call(&self, call: Call<P>) -> Replies<P> {
        if call.body.is_some() {
            return Replies::failed(Status::internal("a call with a body cannot be made again"));
        }
        let (sender, items) = mpsc::channel(LOCAL_WINDOW);
        let token = CancellationToken::new();
        let guard: DropGuard = token.clone().drop_guard();
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let result = tokio::select! {
                biased;
                () = token.cancelled() => return,
                result = shared.run(call, &sender) => result,
            };
            if let Err(status) = result {
                // Who has gone needs no word.
                let _ = sender.send(Err(status)).await;
            }
        });
        Replies::new(items, Some(Box::new(guard)))
    }
}

type Sender<P> = mpsc::Sender<Result<<P as Protocol>::Reply, Status>>;

impl<P: Protocol> Shared<P> {
    async fn run(&self, call: Call<P>, replies: &Sender<P>) -> Result<(), Status> {
        let deadline = Instant::from_std(call.context.deadline);
        let until = deadline.min(Instant::now() + SEARCH_MAX);
        let mut pause = PAUSE_MIN;
        let is_for_any = P::is_for_any_member(&call.request);
        loop {
            let mut why = Status::unavailable("there are no members");
            let mut asked = vec![false; self.candidates.len()];
            let turn = if is_for_any { self.turns.take() } else { None };
            let first = turn.unwrap_or_else(|| self.current.load(Ordering::Relaxed));
            let mut next = Some(first).filter(|first| *first < asked.len());
            while let Some(index) = next {
                asked[index] = true;
                let result = self.ask(index, &call, deadline, replies).await;
                let is_elsewhere = matches!(&result, Err(status) if self.is_elsewhere(index, status));
                if is_for_any {
                    self.turns.note(index, !is_elsewhere && !is_late(&result));
                }
                match result {
                    Err(status) if is_elsewhere => {
                        let is_left = |index: &usize| !asked[*index];
                        let named = self.position(&status.leader).filter(is_left);
                        next = named.or_else(|| (0..asked.len()).find(is_left));
                        why = status;
                    }
                    result => return result,
                }
            }
            if Instant::now() + pause >= until {
                let message = format!("nobody is known to lead the {}: {}", P::NAME, why.message);
                return Err(Status::unavailable(message));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn position(&self, address: &str) -> Option<usize> {
        self.candidates
            .iter()
            .position(|candidate| candidate.address == address)
    }

    /// Whether another member may answer what this one has not.
    fn is_elsewhere(&self, index: usize, status: &Status) -> bool {
        match status.reason {
            Reason::NotLeader => true,
            Reason::Unavailable => status.leader != self.candidates[index].address,
            _ => false,
        }
    }

    /// Makes the call on one member and passes on what it says. An error as of [`Shared::is_elsewhere`] comes only
    /// before the first reply; after it, the next call begins with another member.
    async fn ask(
        &self,
        index: usize,
        call: &Call<P>,
        deadline: Instant,
        replies: &Sender<P>,
    ) -> Result<(), Status> {
        let mut answered = self.candidates[index].caller.call(Call {
            context: call.context.clone(),
            request: call.request.clone(),
            body: None,
        });
        let mut silence_max = SILENCE_MAX;
        if P::is_for_any_member(&call.request) {
            // One that stands still must leave others the time to answer.
            silence_max = silence_max.min(deadline.saturating_duration_since(Instant::now()) / 2);
        }
        let Some(first) = next(&mut answered, deadline, silence_max).await? else {
            return Ok(());
        };
        // What any member answers says nothing of who leads.
        if !P::is_for_any_member(&call.request) {
            self.current.store(index, Ordering::Relaxed);
        }
        replies.send(Ok(first)).await.map_err(|_| cancelled())?;
        loop {
            match next(&mut answered, deadline, SILENCE_MAX).await {
                Ok(None) => return Ok(()),
                Ok(Some(reply)) => replies.send(Ok(reply)).await.map_err(|_| cancelled())?,
                Err(status) => {
                    if self.is_elsewhere(index, &status) {
                        let other = (index + 1) % self.candidates.len();
                        let other = self.position(&status.leader).unwrap_or(other);
                        self.current.store(other, Ordering::Relaxed);
                    }
                    // Reported as it is: the caller has had a part of the answer and begins anew by itself.
                    return match replies.send(Err(status)).await {
                        Ok(()) => Ok(()),
                        Err(_) => Err(cancelled()),
                    };
                }
            }
        }
    }
}

fn is_late(result: &Result<(), Status>) -> bool {
    matches!(result, Err(status) if status.reason == Reason::DeadlineExceeded)
}

/// The next reply, unless there is silence for too long.
async fn next<P: Protocol>(
    replies: &mut Replies<P>,
    deadline: Instant,
    silence_max: Duration,
) -> Result<Option<P::Reply>, Status> {
    let left = deadline.saturating_duration_since(Instant::now());
    match timeout(left.min(silence_max), replies.next()).await {
        Ok(reply) => reply.transpose(),
        Err(_) if left <= silence_max => Err(deadline_exceeded()),
        Err(_) => Err(Status::unavailable("the member says nothing")),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use parking_lot::Mutex;

    use super::*;
    use crate::DirectoryProtocol;
    use crate::call::{CallContext, Incoming, Peer, ReplySink, Role, Service};
    use crate::directory::v1::{RegisteredNode, Reply, Request, ResolveRecipient, reply, request};
    use crate::local::Local;

    /// What a member answers.
    #[derive(Clone)]
    enum Says {
        Leads,
        Status(Status),
        /// One reply, then this.
        Breaks(Status),
        Nothing,
    }

    struct Scripted {
        says: Mutex<Says>,
        calls: AtomicUsize,
    }

    impl Scripted {
        fn say(&self, says: Says) {
            *self.says.lock() = says;
        }

        fn calls(&self) -> usize {
            self.calls.load(Ordering::Relaxed)
        }
    }

    impl Service<DirectoryProtocol> for Scripted {
        fn serve(
            self: Arc<Self>,
            _call: Incoming<DirectoryProtocol>,
            replies: ReplySink<DirectoryProtocol>,
        ) -> BoxFuture<'static, Result<(), Status>> {
            Box::pin(async move {
                self.calls.fetch_add(1, Ordering::Relaxed);
                let says = self.says.lock().clone();
                let version = 1;
                let reply = Reply {
                    call: Some(reply::Call::RegisteredNode(RegisteredNode {
                        version,
                        ..RegisteredNode::default()
                    })),
                };
                match says {
                    Says::Leads => replies.send(reply).await,
                    Says::Status(status) => Err(status),
                    Says::Breaks(status) => {
                        replies.send(reply).await?;
                        Err(status)
                    }
                    Says::Nothing => std::future::pending().await,
                }
            })
        }
    }

    fn three(says: [Says; 3]) -> (Elected<DirectoryProtocol>, Vec<Arc<Scripted>>) {
        let members: Vec<Arc<Scripted>> = says
            .into_iter()
            .map(|says| {
                Arc::new(Scripted {
                    says: Mutex::new(says),
                    calls: AtomicUsize::new(0),
                })
            })
            .collect();
        let peer = Peer {
            role: Role::Proxy,
            node: "proxy-1".to_owned(),
            certificate: bytes::Bytes::new(),
        };
        let candidates = members.iter().enumerate().map(|(index, member)| Candidate {
            address: address(index),
            caller: Arc::new(Local::new(Arc::clone(member) as _, peer.clone())) as _,
        });
        (Elected::new(candidates.collect()), members)
    }

    fn address(index: usize) -> String {
        format!("d{index}:1")
    }

    fn not_leader(leader: &str) -> Says {
        Says::Status(Status {
            leader: leader.to_owned(),
            ..Status::new(Reason::NotLeader, "another leads")
        })
    }

    fn away() -> Says {
        Says::Status(Status::unavailable("away"))
    }

    async fn call(elected: &Elected<DirectoryProtocol>, patience: Duration) -> Result<Reply, Status> {
        make(elected, Request::default(), patience).await
    }

    /// What any member may answer.
    async fn look_up(elected: &Elected<DirectoryProtocol>, patience: Duration) -> Result<Reply, Status> {
        let lookup = request::Call::ResolveRecipient(ResolveRecipient::default());
        let request = Request {
            call: Some(lookup),
            ..Request::default()
        };
        make(elected, request, patience).await
    }

    async fn make(
        elected: &Elected<DirectoryProtocol>,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, Status> {
        elected
            .call(Call {
                context: CallContext::with_timeout(patience),
                request,
                body: None,
            })
            .single()
            .await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn goes_to_whom_the_hint_names_and_stays_there() {
        let (elected, members) = three([not_leader(&address(2)), not_leader(""), Says::Leads]);
        for _ in 0..3 {
            assert!(call(&elected, LONG).await.is_ok());
        }
        let calls: Vec<usize> = members.iter().map(|member| member.calls()).collect();
        assert_eq!(calls, [1, 0, 3]);
    }

    #[tokio::test]
    async fn goes_round_while_nobody_leads_and_finds_who_does_then() {
        let (elected, members) = three([away(), not_leader(&address(0)), not_leader("")]);
        let late = Arc::clone(&members[1]);
        let leads = tokio::spawn(async move {
            while late.calls() < 3 {
                tokio::task::yield_now().await;
            }
            late.say(Says::Leads);
        });
        assert!(call(&elected, LONG).await.is_ok());
        leads.await.unwrap();
        assert!(members[0].calls() >= 3 && members[2].calls() >= 3);
    }

    #[tokio::test]
    async fn what_the_leader_says_counts() {
        let itself = Status {
            leader: address(0),
            ..Status::unavailable("too much to do")
        };
        for said in [itself, Status::new(Reason::BadCredentials, "wrong")] {
            let (elected, members) = three([Says::Status(said.clone()), Says::Leads, Says::Leads]);
            assert_eq!(call(&elected, LONG).await.unwrap_err(), said);
            assert_eq!(members[1].calls(), 0);
        }
    }

    #[tokio::test]
    async fn gives_up_in_time() {
        let (elected, _) = three([away(), away(), away()]);
        let began = Instant::now();
        let patience = Duration::from_millis(300);
        assert_eq!(
            call(&elected, patience).await.unwrap_err().reason,
            Reason::Unavailable
        );
        assert!(began.elapsed() <= patience);
        let (elected, _) = three([Says::Nothing, Says::Leads, Says::Leads]);
        assert_eq!(
            call(&elected, patience).await.unwrap_err().reason,
            Reason::DeadlineExceeded
        );
        // Given more time, another is asked.
        assert!(call(&elected, LONG).await.is_ok());
    }

    #[tokio::test]
    async fn a_stream_that_breaks_begins_anew_elsewhere() {
        let moved = Status {
            leader: address(2),
            ..Status::new(Reason::NotLeader, "another leads")
        };
        let (elected, members) = three([Says::Breaks(moved.clone()), Says::Leads, Says::Leads]);
        let mut replies = elected.call(Call {
            context: CallContext::with_timeout(LONG),
            request: Request::default(),
            body: None,
        });
        assert!(replies.next().await.unwrap().is_ok());
        assert_eq!(replies.next().await.unwrap().unwrap_err(), moved);
        assert!(replies.next().await.is_none());
        assert!(call(&elected, LONG).await.is_ok());
        assert_eq!((members[1].calls(), members[2].calls()), (0, 1));
    }

    #[tokio::test]
    async fn what_any_member_answers_goes_round_and_says_nothing_of_who_leads() {
        let (elected, members) = three([Says::Leads, Says::Leads, Says::Leads]);
        for _ in 0..6 {
            assert!(look_up(&elected, LONG).await.is_ok());
        }
        let calls = |members: &[Arc<Scripted>]| -> Vec<usize> {
            members.iter().map(|member| member.calls()).collect()
        };
        assert_eq!(calls(&members), [2, 2, 2]);
        assert!(call(&elected, LONG).await.is_ok());
        assert_eq!(calls(&members), [3, 2, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_left_out_of_the_turns_for_a_while() {
        let (elected, members) = three([Says::Leads, not_leader(&address(0)), Says::Nothing]);
        for _ in 0..9 {
            assert!(look_up(&elected, LONG).await.is_ok());
        }
        assert_eq!((members[1].calls(), members[2].calls()), (1, 1));
        for member in &members[1..] {
            member.say(Says::Leads);
        }
        tokio::time::advance(LEFT_OUT).await;
        let before = members[0].calls();
        for _ in 0..9 {
            assert!(look_up(&elected, LONG).await.is_ok());
        }
        assert_eq!(members[0].calls() - before, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stands_still_leaves_others_the_time_to_answer() {
        let (elected, members) = three([Says::Nothing, Says::Leads, Says::Leads]);
        assert!(look_up(&elected, SILENCE_MAX).await.is_ok());
        assert_eq!(members[0].calls(), 1);
    }
}
