//! Drives the real binary, from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken_off;
mod cli;
mod client;
mod client_sealed;
mod forms;
mod program;
mod server;
mod upload_folders;
mod uploads;
