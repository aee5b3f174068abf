//! What lets somebody hand in without an account: upload links for people, tokens for machines.
//!
//! Both are secrets of 160 random bits of which only a hash is kept, in a record whose name is the grant's public id. What
//! a link has left is in its record as well, and every change of it is one update of that record: so it is exact with any
//! number of servers over one store, and durable before anything is acknowledged. There is no truth in memory.
//!
//! All calls that take a store may block. Time comes as an argument.

mod account;
mod error;
mod id;
mod json;
mod link;
mod links;
mod media_range;
mod record;
mod scope;
mod secret;
mod tokens;

#[cfg(test)]
mod tests;

pub use account::{Fate, MAX_RESERVATIONS, Refused, Reservation, Usage, What};
pub use error::GrantError;
pub use id::{GrantId, GrantIdError};
pub use link::{Link, LinkPage, LinkState, NewLink};
pub use links::Links;
pub use media_range::{MediaRange, MediaRangeError};
pub use record::Listing;
pub use scope::{Scope, ScopeError, Scopes};
pub use secret::{LinkSecret, SecretError, TokenSecret};
pub use tokens::{Token, TokenName, TokenNameError, TokenState, Tokens};
