//! Domains, accounts, addresses, credentials, nodes and the shard map.
