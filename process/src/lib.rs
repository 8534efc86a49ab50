//! What every process needs: configuration, logs, metrics, TLS, health, shutdown.

pub mod token;
