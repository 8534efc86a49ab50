//! The standard library's clocks on a simulated machine show its runtime's time, and those of other threads the system's.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rookery_simulation::machine::{self, Boot};
use rookery_simulation::{Machine, Run, entropy};

/// What the clocks of a machine say, in seconds: that which only goes on, and the wall's.
type Shown = Arc<parking_lot::Mutex<Vec<(f64, f64)>>>;

fn now() -> (Instant, Duration) {
    (
        Instant::now(),
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a later time"),
    )
}

/// What a machine shows each second for three of its own seconds.
fn shown(rate: f64, ahead_millis: i64) -> (f64, Vec<(f64, f64)>) {
    entropy::seed(1);
    let run = Run::new(1, false);
    let shown = Shown::default();
    let noted = Arc::clone(&shown);
    let boot: Boot<()> = Box::new(move |_, _| {
        let noted = Arc::clone(&noted);
        tokio::spawn(async move {
            let (began, wall) = now();
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let (monotonic, at) = now();
                let passed = monotonic.duration_since(began).as_secs_f64();
                noted.lock().push((passed, (at - wall).as_secs_f64()));
            }
            noted.lock().push((0.0, wall.as_secs_f64()));
        });
        Some(())
    });
    let mut machines = [Machine::new("a", rate, None, boot)];
    machines[0].ahead_millis = ahead_millis;
    machines[0].start(&run);
    while shown.lock().len() < 4 {
        machine::step(&run, &mut machines, machine::STEP);
    }
    let seconds = shown.lock().clone();
    (run.now() as f64 / 1000.0, seconds)
}

#[test]
fn clocks_show_the_time_of_the_machine() {
    let on_time = std::thread::spawn(|| shown(1.0, 0)).join().unwrap();
    let fast = std::thread::spawn(|| shown(1.5, 60_000)).join().unwrap();
    for (_, seconds) in [&on_time, &fast] {
        for (at, (monotonic, wall)) in seconds[..3].iter().enumerate() {
            let due = at as f64 + 1.0;
            assert!((monotonic - due).abs() < 0.01, "{seconds:?}");
            assert!((wall - due).abs() < 0.01, "{seconds:?}");
        }
    }
    assert!((on_time.0 - 3.0).abs() < 0.02, "{on_time:?}");
    assert!((fast.0 - 2.0).abs() < 0.02, "{fast:?}");
    // The wall's clock of the second is a minute ahead.
    assert!((fast.1[3].1 - on_time.1[3].1 - 60.0).abs() < 0.01);
}

#[test]
fn a_thread_without_a_seed_asks_the_system() {
    let shown = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a later time");
    let system = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    assert!((system.tv_sec - shown.as_secs() as i64).abs() < 60);
}
