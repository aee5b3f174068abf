//! Serving connections: how they are accepted, watched and drained.

pub mod transport;
