//! Shards of mailboxes: planners, commit, bodies, fetch, search, change feed.
