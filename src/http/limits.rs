//! How much callers may ask of the server, and what is counted to hold them to it. All of it is bounded, and forgotten when the
//! server stops.

mod failures;
mod network;
mod places;
mod rate;
mod recent;

use std::sync::Arc;
use std::time::{Duration, Instant};

use core::net::IpAddr;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
pub(super) use failures::Failures;
pub use network::Network as ClientNetwork;
use network::Network;
use places::{Place, Places};
use rate::Rates;
pub use rate::{Rate, RateError};

/// How much one request may ask of the server. Every field has a setting of the same name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes in the body of one request that brings uploads.
    pub max_size: u64,
    /// Files and fields in one form.
    pub max_parts: usize,
    /// Bytes in the headers of one part of a form.
    pub max_part_headers: usize,
    /// Bytes in a file's or a field's name.
    pub max_name: usize,
    /// Bytes in all text fields of one form.
    pub max_fields: usize,
    /// Bytes in the body of `/encrypt` or `/decrypt`, which are worked on in memory.
    pub max_data: usize,
    /// Requests that bring uploads at the same time.
    pub max_uploads: usize,
    /// The same from one address: an IPv4 address, or the 64 bits that name an IPv6 network.
    pub max_uploads_per_address: usize,
    /// The same of one token or client certificate.
    pub max_uploads_per_token: usize,
    /// How often one address may begin an upload.
    pub address_rate: Option<Rate>,
    /// The same for one token or client certificate.
    pub token_rate: Option<Rate>,
    /// How long a finished upload is kept at the most; `None`: until somebody deletes it.
    pub keep: Option<Duration>,
    /// How long its uploader may take a finished upload back; `None`: not at all.
    pub withdraw_for: Option<Duration>,
    /// How long a body may stand still.
    pub body_timeout: Duration,
    /// Bytes that a body must bring for each second that it is waited for, over any `body_timeout` of waiting. 0: none.
    pub min_speed: u64,
    /// How long a request's body may take in all.
    pub request_timeout: Duration,
    /// How long the first wrong credential of an address waits for its answer. Zero: none does.
    pub failure_delay: Duration,
}

/// The right to bring an upload, for as long as it lives: a place among all uploads, one among those of the same address, and one
/// among those of the same token, where there is one.
pub(super) struct Permit {
    _among_all: OwnedSemaphorePermit,
    _of_address: Place<Network>,
    of_token: Option<Place<String>>,
    /// Where the request comes from.
    pub(super) from: IpAddr,
}

/// What is counted of requests that bring uploads.
pub(super) struct Uploaders {
    all: Arc<Semaphore>,
    addresses: Arc<Places<Network>>,
    tokens: Arc<Places<String>>,
    address_rate: Option<Rates<Network>>,
    token_rate: Option<Rates<String>>,
}

impl Uploaders {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.max_uploads)),
            addresses: Arc::new(Places::new(limits.max_uploads_per_address)),
            tokens: Arc::new(Places::new(limits.max_uploads_per_token)),
            address_rate: limits.address_rate.map(Rates::new),
            token_rate: limits.token_rate.map(Rates::new),
        }
    }

    /// A place for a request from this address, where there is one left.
    pub(super) fn permit(&self, address: IpAddr) -> Result<Permit, Problem> {
        let among_all = Arc::clone(&self.all).try_acquire_owned();
        let of_address = Places::take(&self.addresses, Network::of(address));
        Ok(Permit {
            _among_all: among_all.map_err(|_| Problem::busy())?,
            _of_address: of_address.ok_or_else(Problem::too_many_uploads)?,
            of_token: None,
            from: address,
        })
    }

    /// The permit, with a place among the uploads of whoever brings it, as [`Terms::by`](crate::upload::Terms::by) calls them.
    pub(super) fn permit_for(&self, mut permit: Permit, by: &str) -> Result<Permit, Problem> {
        if permit.of_token.is_none() && has_credential(by) {
            let place = Places::take(&self.tokens, by.to_owned());
            permit.of_token = Some(place.ok_or_else(Problem::too_many_uploads)?);
        }
        Ok(permit)
    }

    /// Counts an upload that is about to be created: comes after all else that may refuse it.
    pub(super) fn count_creation(&self, address: IpAddr, by: &str) -> Result<(), Problem> {
        let now = Instant::now();
        let of_token = self.token_rate.as_ref().filter(|_| has_credential(by));
        if let Some(rates) = of_token {
            let taken = rates.take(by.to_owned(), now);
            taken.map_err(Problem::too_many_requests)?;
        }
        let of_address = self.address_rate.as_ref();
        let taken = of_address.map_or(Ok(()), |rates| rates.take(Network::of(address), now));
        taken.map_err(|wait| {
            // What is refused costs nothing.
            if let Some(rates) = of_token {
                rates.give_back(by.to_owned());
            }
            Problem::too_many_requests(wait)
        })
    }
}

/// Whether it is a token or a certificate. A link has bounds of its own, and may be known to many people.
fn has_credential(by: &str) -> bool {
    by != "anonymous" && !by.starts_with("link:")
}
