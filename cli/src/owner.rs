//! A process that must not outlive the one that started it: a playground's node, whose playground may be killed.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Lets the system tell this process to stop when its owner, which has started it, has ended, however it did.
pub(crate) fn stop_with(owner: u32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot be told when the owner ends")?;
    // It may have ended before the system knew that this matters.
    if !is_owned_by(owner, getppid()) {
        bail!("process {owner} is not the one that started this: leave --owner out");
    }
    Ok(())
}

fn is_owned_by(owner: u32, parent: Option<Pid>) -> bool {
    parent.is_some_and(|parent| u32::try_from(parent.as_raw_nonzero().get()) == Ok(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parent_is_the_owner() {
        let parent = getppid();
        let number = parent.map_or(0, |parent| parent.as_raw_nonzero().get().unsigned_abs());
        assert!(is_owned_by(number, parent));
        assert!(!is_owned_by(number + 1, parent));
        assert!(
            !is_owned_by(number, None),
            "whose parent is in another namespace has none"
        );
    }
}
