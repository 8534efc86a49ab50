//! `idle`: sessions in IDLE, what they cost, and how soon they hear of new messages.
//!
//! An operation is a message that a session heard of; its latency counts from when the message should have been sent. Each
//! session of the message's account must hear of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{INBOX, deliver, logged_in};
use crate::imap::Imap;
use crate::run::Run;
use crate::session::{Session, close, open_measured};

/// How long a session may take to hear of a message after the last one was sent.
const HEARD_MAX: Duration = Duration::from_secs(10);

/// Messages that are being sent at a time, at most.
const SENDERS: usize = 8;

/// A session that idles.
struct Idler {
    imap: Imap,
    account: u64,
    /// Messages in the mailbox when it began to idle.
    before: u32,
}

impl Session for Idler {
    async fn open(run: &Arc<Run>, index: usize) -> Result<Self> {
        let account = index as u64 % run.target.accounts.count;
        let mut imap = logged_in(run, account, index).await?;
        let before = imap.select(INBOX).await?;
        imap.idle().await?;
        imap.rest();
        Ok(Self {
            imap,
            account,
            before,
        })
    }

    async fn step(&mut self, _run: &Arc<Run>, _intended: Instant) -> Result<()> {
        Err(anyhow!("a session that idles does nothing else"))
    }

    async fn close(mut self) {
        // The run is over: a server that does not answer any more has been told of before.
        if self.imap.done().await.is_ok() {
            let _ = self.imap.logout().await;
        }
    }
}

/// When each message of an account was to be sent, in the order in which they were.
struct Sent {
    accounts: Vec<Mutex<Vec<Instant>>>,
    /// Becomes true when no more will be.
    ended: watch::Sender<bool>,
    unheard: AtomicU64,
}

impl Sent {
    fn add(&self, account: u64, at: Instant) {
        self.of(account, |sent| sent.push(at));
    }

    fn at(&self, account: u64, number: usize) -> Option<Instant> {
        self.of(account, |sent| sent.get(number).copied())
    }

    fn count(&self, account: u64) -> usize {
        self.of(account, |sent| sent.len())
    }

    fn of<T>(&self, account: u64, look: impl FnOnce(&mut Vec<Instant>) -> T) -> T {
        // A list with one entry more or less is whole, whoever has panicked.
        let mut sent = self.accounts[account as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        look(&mut sent)
    }
}

/// Opens the sessions, measures their memory, and lets them hear of messages.
pub(crate) async fn work(run: &Arc<Run>) -> Result<()> {
    let sessions = open_measured::<Idler>(run).await?;
    let accounts = run.target.accounts.count.min(run.profile.sessions as u64);
    let sent = Arc::new(Sent {
        accounts: (0..accounts).map(|_| Mutex::default()).collect(),
        ended: watch::Sender::new(false),
        unheard: AtomicU64::new(0),
    });
    run.schedule.begin(Instant::now());
    run.begin_measuring()?;
    let mut listening = JoinSet::new();
    for session in sessions.into_iter().filter_map(|(_, session)| session) {
        listening.spawn(listen(Arc::clone(run), session, Arc::clone(&sent)));
    }
    let sending = send_all(run, &sent, accounts).await;
    sent.ended.send_replace(true);
    let mut ended = Vec::new();
    while let Some(session) = listening.join_next().await {
        ended.extend(session?);
    }
    run.end_measuring()?;
    close(ended).await;
    let unheard = sent.unheard.load(Ordering::Relaxed);
    if unheard > 0 {
        run.recorder
            .failed(&anyhow!("{unheard} times a session did not hear of a message"));
    }
    sending
}

/// Sends messages as the schedule has them, or waits as long where there are none to send.
async fn send_all(run: &Arc<Run>, sent: &Arc<Sent>, accounts: u64) -> Result<()> {
    if run.profile.idle.notify_rate == 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(run.profile.seconds)).await;
        return Ok(());
    }
    let mut senders = JoinSet::new();
    // An account's messages are sent one after the other, so that their order is known.
    for sender in 0..SENDERS.min(usize::try_from(accounts)?) {
        let (run, sent) = (Arc::clone(run), Arc::clone(sent));
        senders.spawn(async move {
            let mut smtp = deliver::connect(&run, sender).await?;
            let mut message = Vec::new();
            let mut round = 0;
            while let Some(intended) = run.schedule.next().await {
                let own = (accounts - sender as u64).div_ceil(SENDERS as u64);
                let account = sender as u64 + round % own * SENDERS as u64;
                round += 1;
                sent.add(account, intended);
                let id = run.next_message();
                deliver::send(&run, &mut smtp, id, &[account], &mut message)
                    .await
                    .context("send what sessions are to hear of")?;
            }
            // All was answered.
            let _ = smtp.quit().await;
            anyhow::Ok(())
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

/// Hears of messages until all were sent and heard of.
async fn listen(run: Arc<Run>, mut idler: Idler, sent: Arc<Sent>) -> Option<Idler> {
    let mut heard = 0;
    let mut ended = sent.ended.subscribe();
    loop {
        let until = async {
            // An error means that nobody sends any more.
            let _ = ended.wait_for(|ended| *ended).await;
            if heard < sent.count(idler.account) {
                tokio::time::sleep(HEARD_MAX).await;
            }
        };
        let exists = tokio::select! {
            biased;
            exists = idler.imap.hear() => exists,
            () = until => break,
        };
        match exists {
            Ok(exists) => {
                let new = exists.saturating_sub(idler.before) as usize;
                while heard < new {
                    if let Some(at) = sent.at(idler.account, heard) {
                        run.recorder.done("notify", at.elapsed());
                    }
                    heard += 1;
                }
            }
            Err(error) => {
                run.recorder.failed(&error.context("a session that idles"));
                return None;
            }
        }
    }
    let unheard = sent.count(idler.account).saturating_sub(heard);
    sent.unheard.fetch_add(unheard as u64, Ordering::Relaxed);
    Some(idler)
}
