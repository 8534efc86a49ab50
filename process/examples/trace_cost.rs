//! What tracing costs a command: `trace_cost off|unsampled|sampled [COMMANDS]` does what a message's way through a proxy does with traces, so
//! many times, and prints the time that one takes. With `perf stat -e instructions:u`, or under callgrind, it tells instructions as well.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for measuring")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use rookery_process::logs::{self, LogConfig};
use rookery_process::traces::{self, Origin, TracesConfig};

/// Commands, unless said otherwise.
const COMMANDS: u32 = 100_000;

/// A transaction with one recipient: its steps, and the calls that they make.
async fn command(origin: &Origin) {
    let transaction = origin.begin("transaction");
    for (step, service, method) in [
        ("RCPT", "directory", "resolve_recipient"),
        ("deliver", "mailstore", "deliver"),
    ] {
        let step = transaction.step(step);
        step.run(async {
            let call = traces::call(service, method);
            call.count("rookery.shard", 7);
            black_box(call.traceparent());
            call.run(std::future::ready(())).await;
            call.ended(None);
        })
        .await;
    }
    transaction.outcome("stored");
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let sample = match arguments.next().as_deref() {
        Some("off") => None,
        Some("unsampled") => Some(0.0),
        Some("sampled") => Some(1.0),
        _ => panic!("usage: trace_cost off|unsampled|sampled [COMMANDS]"),
    };
    let commands = arguments.next().map_or(COMMANDS, |count| count.parse().unwrap());
    let config = TracesConfig {
        // Nobody listens there: what is measured is what commands wait for.
        endpoint: sample.map(|_| "http://127.0.0.1:9".to_owned()),
        sample: sample.unwrap_or_default(),
        ..TracesConfig::default()
    };
    let log = LogConfig {
        level: "error".to_owned(),
        ..LogConfig::default()
    };
    // Held, so that spans go into a queue; it is full after a while, as when no collector is there.
    let _exporting = logs::init(&log, &config, "proxy-1", "c").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let took = runtime.block_on(async {
        let began = Instant::now();
        for _ in 0..commands {
            let origin = Origin::new("smtp", IpAddr::V4(Ipv4Addr::LOCALHOST));
            command(black_box(&origin)).await;
        }
        began.elapsed()
    });
    println!("{} ns a command", took.as_nanos() / u128::from(commands));
}
