//! Sealslot: a mail slot for files.
#![forbid(unsafe_code)]

pub mod seal;
