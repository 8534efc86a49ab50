//! What every process needs: configuration, logs, metrics, traces, TLS, health, shutdown, and a data folder of its own.
//!
//! Knows nothing of mail, of roles' state or of the calls between them.

pub mod certificates;
pub mod config;
pub mod data_folder;
pub mod health;
pub mod http;
pub mod logs;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod traces;
