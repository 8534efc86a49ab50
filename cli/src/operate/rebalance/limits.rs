//! How much at a time: the limits of a job on the command line.

use clap::Args;
use rookery_proto::admin::v1::Limits;

use super::super::quantity::parse_rate;

/// Limits that an operator gives; what is not given is as usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub(crate) struct LimitArguments {
    /// Transfers that a node has a part in at one time; 2 when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_transfers: Option<u32>,
    /// What a node fetches at most, such as 50MB/s; as its configuration says when not given
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    throttle: Option<u64>,
}

impl LimitArguments {
    /// As they go to the directory, for which 0 is as usual.
    pub(crate) fn to_limits(self) -> Limits {
        self.over(Limits::default())
    }

    /// These, and those of `held` that are not given.
    pub(super) fn over(self, held: Limits) -> Limits {
        Limits {
            transfers_max: self.max_transfers.unwrap_or(held.transfers_max),
            bytes_per_second: self.throttle.unwrap_or(held.bytes_per_second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let held = Limits {
            transfers_max: 4,
            bytes_per_second: 7,
        };
        let given = LimitArguments {
            max_transfers: None,
            throttle: Some(9),
        };
        assert_eq!(
            given.over(held),
            Limits {
                transfers_max: 4,
                bytes_per_second: 9
            }
        );
        assert_eq!(LimitArguments::default().to_limits(), Limits::default());
    }
}
