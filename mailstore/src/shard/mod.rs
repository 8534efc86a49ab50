//! One shard at work: its writer, its reads, its events.
