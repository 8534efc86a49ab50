//! Which command a client sends next: decides, and does nothing.

use rand::Rng;

use crate::profile::Mixed;

/// After so many commands that are passed over in a row a session asks for a status, so that it does something.
const PASSED_MAX: u32 = 1_000;

/// A command, in the order of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    Login,
    List,
    Status,
    Select,
    Fetch,
    FetchBody,
    Store,
    Delete,
    Expunge,
    Append,
    Logout,
}

/// What a session may do now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    /// It has logged in.
    pub(crate) connected: bool,
    /// It has selected a mailbox.
    pub(crate) selected: bool,
    /// Messages in that.
    pub(crate) exists: u32,
    /// There are more messages than wanted, and some of them are known.
    pub(crate) deletable: bool,
}

impl Command {
    /// What reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::List => "list",
            Self::Status => "status",
            Self::Select => "select",
            Self::Fetch => "fetch",
            Self::FetchBody => "fetch body",
            Self::Store => "store",
            Self::Delete => "delete",
            Self::Expunge => "expunge",
            Self::Append => "append",
            Self::Logout => "logout",
        }
    }

    /// The command after this one.
    pub(crate) fn next(self, state: State, shares: &Mixed, rng: &mut impl Rng) -> Self {
        if !state.connected {
            return Self::Login;
        }
        if self.is_possible(state) && percent(rng) < self.again(shares) {
            return self;
        }
        let mut command = self;
        for _ in 0..PASSED_MAX {
            command = command.following();
            if command.is_possible(state) && percent(rng) < command.share(shares) {
                return command;
            }
        }
        Self::Status
    }

    /// The next in a round. Who does not log out begins again behind the login.
    fn following(self) -> Self {
        match self {
            Self::Login | Self::Logout => Self::List,
            Self::List => Self::Status,
            Self::Status => Self::Select,
            Self::Select => Self::Fetch,
            Self::Fetch => Self::FetchBody,
            Self::FetchBody => Self::Store,
            Self::Store => Self::Delete,
            Self::Delete => Self::Expunge,
            Self::Expunge => Self::Append,
            Self::Append => Self::Logout,
        }
    }

    fn is_possible(self, state: State) -> bool {
        match self {
            Self::Fetch | Self::FetchBody | Self::Store => state.exists > 0,
            Self::Delete => state.deletable,
            Self::Expunge => state.selected,
            Self::Login | Self::List | Self::Status | Self::Select | Self::Append | Self::Logout => true,
        }
    }

    /// Percent of rounds that hold it.
    fn share(self, shares: &Mixed) -> u32 {
        match self {
            Self::Login => 0,
            Self::List => shares.list,
            Self::Status => shares.status,
            Self::Select => shares.select,
            Self::Fetch => shares.fetch,
            Self::FetchBody => shares.fetch_body,
            Self::Store => shares.store,
            Self::Delete => shares.delete,
            Self::Expunge => shares.expunge,
            Self::Append => shares.append,
            Self::Logout => shares.logout,
        }
    }

    /// Percent of times that it comes once more, right after.
    fn again(self, shares: &Mixed) -> u32 {
        match self {
            Self::FetchBody => shares.fetch_body_again,
            Self::Append => shares.append_again,
            _ => 0,
        }
    }
}

fn percent(rng: &mut impl Rng) -> u32 {
    rng.random_range(0..100)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn counts(shares: &Mixed, steps: u32) -> BTreeMap<Command, u32> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut state = State {
            connected: true,
            selected: true,
            exists: 30,
            deletable: true,
        };
        let (mut command, mut counts) = (Command::Login, BTreeMap::new());
        for _ in 0..steps {
            command = command.next(state, shares, &mut rng);
            state.connected = command != Command::Logout;
            *counts.entry(command).or_default() += 1;
        }
        counts
    }

    #[test]
    fn a_round_holds_commands_in_their_shares() {
        let counts = counts(&Mixed::default(), 100_000);
        let rounds = counts[&Command::Logout];
        let share = |command| f64::from(counts[&command]) / f64::from(rounds);
        assert!((share(Command::Login) - 1.0).abs() < 0.01);
        assert!((share(Command::List) - 0.5).abs() < 0.02);
        assert!((share(Command::Fetch) - 1.0).abs() < 0.01);
        // 30 % come once more, and 30 % of these again.
        assert!(
            (share(Command::FetchBody) - 1.0 / 0.7).abs() < 0.03,
            "{}",
            share(Command::FetchBody)
        );
        assert!((share(Command::Append) - 1.0 / 0.95).abs() < 0.02);
    }

    #[test]
    fn who_never_logs_out_goes_round_behind_the_login() {
        let shares = Mixed {
            logout: 0,
            ..Mixed::default()
        };
        let counts = counts(&shares, 1_000);
        assert!(!counts.contains_key(&Command::Login) && !counts.contains_key(&Command::Logout));
        assert!(counts[&Command::Select] > 50);
    }

    #[test]
    fn nothing_is_fetched_where_nothing_is_and_no_session_hangs() {
        let shares = Mixed {
            list: 0,
            status: 0,
            select: 0,
            append: 0,
            logout: 0,
            expunge: 0,
            ..Mixed::default()
        };
        let state = State {
            connected: true,
            selected: false,
            exists: 0,
            deletable: false,
        };
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(Command::List.next(state, &shares, &mut rng), Command::Status);
        let away = State {
            connected: false,
            ..state
        };
        assert_eq!(Command::Fetch.next(away, &shares, &mut rng), Command::Login);
    }
}
