//! HTTP: what clients send, and what they are answered.

pub mod disposition;
pub mod form;
pub mod multipart;
