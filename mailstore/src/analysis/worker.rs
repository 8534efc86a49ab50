//! Worker processes that analyse unusual messages: the worker's side.

use std::io::{self, ErrorKind, Read, Write};

use rookery_mail::mime::{Analysis, Outcome, analyze_guarded};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{ANALYSED_BYTES_MAX, Analyzed};

/// Address space of a worker, in bytes.
const ADDRESS_SPACE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// CPU time of a worker over its life, in seconds. Its parent kills it long before for a single message; this ends one
/// whose parent has died.
const CPU_SECONDS_MAX: u64 = 120;

/// Serves messages from standard input until it ends. To be called first thing in the process, before it starts any threads.
pub fn worker_main() -> io::Result<()> {
    worker_main_with(analyze_guarded)
}

/// The same with another parser; for tests.
pub fn worker_main_with(analyze: impl Fn(&[u8]) -> (Analysis, Outcome)) -> io::Result<()> {
    limit(Resource::As, ADDRESS_SPACE_BYTES_MAX)?;
    limit(Resource::Cpu, CPU_SECONDS_MAX)?;
    limit(Resource::Core, 0)?;
    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    let mut message = Vec::new();
    loop {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > ANALYSED_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        message.resize(length, 0);
        input.read_exact(&mut message)?;
        let stored = Analyzed::new(&analyze(&message).0).stored;
        let answer_length = u32::try_from(stored.len()).map_err(|_| ErrorKind::InvalidData)?;
        output.write_all(&answer_length.to_be_bytes())?;
        output.write_all(&stored)?;
        output.flush()?;
    }
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(
        resource,
        Rlimit {
            current: Some(value),
            maximum: Some(value),
        },
    )?)
}
