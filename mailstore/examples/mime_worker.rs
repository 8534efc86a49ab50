//! A process that analyses messages as `rookery mime-worker` does; with the argument `defective`, one whose parser panics,
//! loops or allocates without end when the message's subject says so. For tests of what becomes of such messages.

use rookery_mail::mime::analyze_guarded;
use rookery_mailstore::analysis::{worker_main, worker_main_with};

fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).as_deref() != Some("defective") {
        return worker_main();
    }
    worker_main_with(|message| {
        if message.starts_with(b"Subject: loop") {
            loop {
                std::hint::spin_loop();
            }
        }
        if message.starts_with(b"Subject: allocate") {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 64 * 1024 * 1024]);
            }
        }
        assert!(!message.starts_with(b"Subject: panic"), "told to");
        analyze_guarded(message)
    })
}
