//! The node's one RocksDB.
