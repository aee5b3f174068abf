//! Drives the real binary, from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod accounting;
mod answers;
mod audit;
mod broken_off;
mod cli;
mod client;
mod client_certificates;
mod client_sealed;
mod crypt;
mod digest_fields;
mod downloads;
mod draft;
mod flight;
mod forms;
mod http2_resets;
mod joined;
mod layout;
mod life;
mod lifecycle;
mod limits;
mod link_command;
mod links;
mod matrix;
mod page;
mod page_answers;
mod page_settings;
mod program;
mod promises;
mod proxies;
mod quota;
mod rates;
mod resumable;
mod serve_settings;
mod server;
mod tokens;
mod tus;
mod upload_command;
mod upload_faults;
mod upload_folders;
mod uploads;
mod webhooks;
mod welcome;
mod who_can_read;
