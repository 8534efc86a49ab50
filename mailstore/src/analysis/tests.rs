//! Messages on which the parser panics or loops, beside ordinary ones.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Far more than any of these messages takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// What a loop costs a test; ordinary messages must not take so long.
const SHORT: Duration = Duration::from_millis(400);

/// Loops until told to stop, panics or works, as the message says.
fn hostile(stop: Arc<AtomicBool>) -> Analyze {
    Arc::new(move |message| {
        if message.starts_with(b"loop") {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
        assert!(!message.starts_with(b"panic"), "as the message wants");
        analyze_guarded(message)
    })
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn analyser(worker_command: &[&str], deadline: Duration) -> (Analyser, StopOnDrop) {
    let stop = Arc::new(AtomicBool::new(false));
    let settings = AnalysisSettings {
        thread_deadline: deadline,
        worker_deadline: deadline,
        worker_command: worker_command.iter().map(ToString::to_string).collect(),
        analyze: hostile(Arc::clone(&stop)),
        ..AnalysisSettings::default()
    };
    (Analyser::start(settings), StopOnDrop(stop))
}

async fn analyze(analyser: &Analyser, message: &str) -> Analyzed {
    let message = Bytes::copy_from_slice(message.as_bytes());
    analyser.analyze(&BodyHash::of(&message), &message).await
}

fn parsed(message: &str) -> Analyzed {
    Analyzed::new(&analyze_guarded(message.as_bytes()).0)
}

#[tokio::test]
async fn in_place_no_thread_is_needed() {
    let analyser = Analyser::start(AnalysisSettings {
        in_place: true,
        ..AnalysisSettings::default()
    });
    let message = "Subject: a\r\n\r\nbody\r\n";
    let mut analyzing = std::pin::pin!(analyze(&analyser, message));
    // Done as soon as it is asked for.
    let done = futures_util::poll!(&mut analyzing);
    assert_eq!(done, std::task::Poll::Ready(parsed(message)));
}

#[tokio::test]
async fn a_panic_makes_its_message_opaque_and_no_other() {
    let (analyser, _stop) = analyser(&[], LONG);
    for round in 0..10 {
        let bad = format!("panic {round}\r\nSubject: a\r\n\r\nb");
        assert_eq!(analyze(&analyser, &bad).await, Analyzed::opaque(bad.as_bytes()));
        let good = format!("Subject: {round}\r\n\r\nbody\r\n");
        assert_eq!(analyze(&analyser, &good).await, parsed(&good));
    }
}

#[tokio::test]
async fn loops_are_left_behind_while_other_messages_pass() {
    let (analyser, stop) = analyser(&[], SHORT);
    // Two may loop and are replaced, a third takes one of the last threads.
    for round in 0..3 {
        let good = format!("Subject: {round}\r\n\r\nbody\r\n");
        let bad = format!("loop {round}\r\n\r\n");
        let (bad_result, good_result) = tokio::join!(analyze(&analyser, &bad), analyze(&analyser, &good));
        assert_eq!(bad_result, Analyzed::opaque(bad.as_bytes()));
        assert_eq!(good_result, parsed(&good));
    }
    let last = "loop last\r\n\r\n";
    assert_eq!(analyze(&analyser, last).await, Analyzed::opaque(last.as_bytes()));
    // Nobody is left: without worker processes mail is opaque, at once.
    let late = "Subject: late\r\n\r\n";
    assert_eq!(analyze(&analyser, late).await, Analyzed::opaque(late.as_bytes()));
    // Threads that come back serve again.
    stop.0.store(true, Ordering::Relaxed);
    let mut round = 0;
    loop {
        round += 1;
        let good = format!("Subject: again {round}\r\n\r\n");
        if analyze(&analyser, &good).await == parsed(&good) {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn equal_messages_at_the_same_time_are_looked_at_once() {
    let (analyser, _stop) = analyser(&[], SHORT);
    let bad = "loop\r\n\r\n";
    let results = futures_util::future::join_all((0..20).map(|_| analyze(&analyser, bad))).await;
    assert!(
        results
            .iter()
            .all(|result| *result == Analyzed::opaque(bad.as_bytes()))
    );
    let good = "Subject: x\r\n\r\n";
    assert_eq!(analyze(&analyser, good).await, parsed(good));
}

#[tokio::test]
async fn a_worker_that_hangs_or_dies_makes_its_message_opaque() {
    let unusual = format!("Subject: x\r\n\r\n{}", "--a\r\n".repeat(10_000));
    for command in [
        &["sleep", "1000"][..],
        &["false"],
        &["cat"],
        &["/no/such/program"],
    ] {
        let (analyser, _stop) = analyser(command, SHORT);
        assert_eq!(
            analyze(&analyser, &unusual).await,
            Analyzed::opaque(unusual.as_bytes()),
            "{command:?}"
        );
    }
}
