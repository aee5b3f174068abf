//! One request, with where it came from.

use core::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;

use super::App;
use super::audit::Facts;
use crate::grant::Scopes;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address: the other end of the connection, or what a trusted proxy says of it.
    pub address: IpAddr,
    /// Whose certificate it has shown, if it has.
    pub certificate: Option<ClientIdentity>,
}

/// Whom a client's certificate, found genuine, names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// What the certificate is known by.
    pub name: String,
    /// What it lets do. A certificate that nobody gave any scope has none.
    pub scopes: Scopes,
}

/// One request on its way to an answer.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// What answering takes.
    pub(super) app: &'a Arc<App>,
    /// Where it came from.
    pub(super) peer: &'a Peer,
    /// All of it but the body.
    pub(super) head: &'a Parts,
    /// What is found out of it, for the audit log.
    pub(super) facts: &'a Facts,
}
