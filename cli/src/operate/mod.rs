//! The operator's commands: each asks the directory's admin API and prints a table or JSON.
//!
//! Owns arguments and output alone; every decision is the directory's.

mod account;
mod alias;
mod connect;
mod domain;
mod events;
mod members;
mod node;
pub(crate) mod output;
mod quantity;
mod rebalance;
pub(crate) mod retry;
mod shard;
mod status;

use clap::Subcommand;

pub(crate) use connect::{
    AdminClient, BackupClient, Clients, Connection, RebalanceClient, connect_cluster, connect_with,
};

use crate::backup;

/// What an operator can ask for.
#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Domains that mail is served for
    #[command(subcommand)]
    Domain(domain::Command),
    /// People's mail
    #[command(subcommand)]
    Account(account::Command),
    /// Addresses that stand for others
    #[command(subcommand)]
    Alias(alias::Command),
    /// Processes of the cluster
    #[command(subcommand)]
    Node(node::Command),
    /// Groups of accounts and where they lie
    #[command(subcommand)]
    Shard(shard::Command),
    /// Make shards safe and nodes evenly loaded: plan, ask, apply, and watch
    Rebalance(rebalance::Arguments),
    /// What has happened lately to nodes, shards and rebalances
    Events(events::Command),
    /// The cluster at a glance
    Status(status::Command),
    /// Copies of everything in a folder, and the way back
    #[command(subcommand)]
    Backup(backup::Command),
}

/// Runs one operation against the directory.
pub(crate) async fn run(operation: Operation, connection: &Connection, json: bool) -> anyhow::Result<()> {
    match operation {
        // It connects by itself, as a backup is checked without any cluster.
        Operation::Backup(command) => command.run(connection, json).await,
        Operation::Domain(command) => command.run(&mut connection.connect().await?, json).await,
        Operation::Account(command) => command.run(&mut connection.connect().await?, json).await,
        Operation::Alias(command) => command.run(&mut connection.connect().await?, json).await,
        Operation::Node(command) => command.run(&mut connection.connect_all().await?, json).await,
        Operation::Shard(command) => command.run(&mut connection.connect_all().await?, json).await,
        Operation::Rebalance(arguments) => arguments.run(connection, json).await,
        Operation::Events(command) => command.run(&mut connection.connect().await?, json).await,
        Operation::Status(command) => command.run(&mut connection.connect().await?, json).await,
    }
}
