//! What a profile may not say, and what to say in place of it.

use anyhow::{Result, bail};

use super::{Profile, Workload};

/// Longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 50 * 1024 * 1024;

/// Most sessions of one load tester.
const SESSIONS_MAX: usize = 1_000_000;

/// Most threads of one load tester.
const THREADS_MAX: usize = 256;

/// Most operations a second that are taken as a rate.
const RATE_MAX: f64 = 1e6;

/// Longest time, in seconds: a month.
const SECONDS_MAX: f64 = 31.0 * 86_400.0;

impl Profile {
    /// An error says which key, why, and what to do.
    pub(super) fn check(&self) -> Result<()> {
        within("seconds", self.seconds, 0.001, SECONDS_MAX)?;
        within("warmup_seconds", self.warmup_seconds, 0.0, SECONDS_MAX)?;
        within("sessions", self.sessions as f64, 1.0, SESSIONS_MAX as f64)?;
        within("threads", self.threads as f64, 1.0, THREADS_MAX as f64)?;
        within("rounds", self.rounds() as f64, 1.0, 1_000.0)?;
        within(
            "message_bytes",
            self.message_bytes as f64,
            1.0,
            MESSAGE_BYTES_MAX as f64,
        )?;
        for (key, rate) in [("rate", self.rate), ("open_rate", self.open_rate)] {
            if let Some(rate) = rate {
                within(key, rate, 0.001, RATE_MAX)?;
            }
        }
        within("deliver.recipients", self.deliver.recipients as f64, 1.0, 100.0)?;
        within("append.batch", self.append.batch as f64, 1.0, 1_000.0)?;
        within("append.pipelined", self.append.pipelined as f64, 1.0, 1_000.0)?;
        if self.append.batch > 1 && self.append.pipelined > 1 {
            bail!("append.batch and append.pipelined cannot both be above 1: set one of them");
        }
        within("big_mailbox.batch", self.big_mailbox.batch as f64, 1.0, 1_000.0)?;
        within(
            "big_mailbox.messages",
            f64::from(self.big_mailbox.messages),
            2.0,
            1e8,
        )?;
        within(
            "big_mailbox.repeat",
            f64::from(self.big_mailbox.repeat),
            1.0,
            1_000.0,
        )?;
        within("sync.batch", f64::from(self.sync.batch), 1.0, 1e6)?;
        within("sync.accounts", self.sync.accounts as f64, 1.0, 1e9)?;
        within("search.accounts", self.search.accounts as f64, 1.0, 1e9)?;
        within("search.messages", f64::from(self.search.messages), 1.0, 1e8)?;
        within(
            "long_lived.seconds_between",
            self.long_lived.seconds_between,
            0.001,
            SECONDS_MAX,
        )?;
        within(
            "long_lived.settle_seconds",
            self.long_lived.settle_seconds,
            0.0,
            3_600.0,
        )?;
        within("idle.settle_seconds", self.idle.settle_seconds, 0.0, 3_600.0)?;
        within("idle.notify_rate", self.idle.notify_rate, 0.0, RATE_MAX)?;
        self.check_shares()?;
        self.check_together()
    }

    fn check_shares(&self) -> Result<()> {
        let mixed = &self.mixed;
        let shares = [
            mixed.list,
            mixed.status,
            mixed.select,
            mixed.fetch,
            mixed.fetch_body,
            mixed.store,
            mixed.delete,
            mixed.expunge,
            mixed.append,
            mixed.logout,
        ];
        if shares.iter().any(|share| *share > 100) {
            bail!("the shares of [mixed] are percents, from 0 to 100");
        }
        if mixed.fetch_body_again > 99 || mixed.append_again > 99 {
            bail!(
                "mixed.fetch_body_again and mixed.append_again must be below 100: sessions would never go on"
            );
        }
        if shares.iter().all(|share| *share == 0) {
            bail!("[mixed] holds no command: give one of its keys a share");
        }
        Ok(())
    }

    fn check_together(&self) -> Result<()> {
        if self.oracle
            && !matches!(
                self.workload,
                Workload::Deliver | Workload::Append | Workload::Mixed
            )
        {
            bail!("{} stores no messages: leave oracle out", self.workload.name());
        }
        if self.rate.is_some()
            && matches!(
                self.workload,
                Workload::LongLived | Workload::Idle | Workload::BigMailbox
            )
        {
            bail!(
                "{} takes no rate: set long_lived.seconds_between or idle.notify_rate",
                self.workload.name()
            );
        }
        if self.operations == Some(0) {
            bail!("operations is 0: nothing would be done");
        }
        if self.operations.is_some() && self.warmup_seconds > 0.0 {
            bail!("operations and warmup_seconds exclude each other: set warmup_seconds to 0");
        }
        if self.workload == Workload::Search && self.search.kinds.is_empty() {
            bail!("search.kinds is empty: name what to search for");
        }
        Ok(())
    }
}

fn within(key: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if !(least..=most).contains(&value) {
        bail!("{key} is {value}; it must be from {least} to {most}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Workload, value_of};
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_with_its_key() {
        let cases = [
            (Workload::Deliver, "sessions", "0", "sessions is 0"),
            (Workload::Deliver, "rate", "0", "rate is 0"),
            (Workload::Deliver, "operations", "0", "operations is 0"),
            (Workload::Deliver, "seconds", "nan", "seconds is NaN"),
            (Workload::Login, "oracle", "true", "leave oracle out"),
            (Workload::Idle, "rate", "5", "takes no rate"),
            (Workload::Mixed, "mixed.list", "101", "percents"),
            (Workload::Mixed, "mixed.append_again", "100", "below 100"),
        ];
        for (workload, key, value, expected) in cases {
            let over = vec![(key.to_owned(), value_of(value))];
            let refused = Profile::load(Some(workload), None, over).unwrap_err().to_string();
            assert!(refused.contains(expected), "{key}={value}: {refused}");
        }
    }
}
