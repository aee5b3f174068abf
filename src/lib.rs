//! Sealslot: a mail slot for files.
//!
//! Modules by domain, dependencies one way: `cli, config, server -> http, tls -> upload -> grant -> seal, keys,
//! store`.
//! `ARCHITECTURE.md` is the map.

pub mod acme;
pub mod audit;
pub mod cli;
pub mod config;
pub mod grant;
pub mod http;
pub mod keys;
mod memory;
pub mod seal;
pub mod server;
pub mod store;
pub mod tls;
pub mod upload;
pub mod webhook;
