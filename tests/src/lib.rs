//! Whole-cluster, tidy and real-client tests.
