//! The keys of session tickets (RFC 8446, section 4.6.1), which do not stay.

use std::sync::Arc;
use std::time::Duration;

use rustls::Error;
use rustls::crypto::{GetRandomFailed, aws_lc_rs};
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;

/// How long a key makes tickets. It opens those it made for as long again, then it is gone: whoever takes the server's memory
/// can resume, and of TLS 1.2 read, no session that is older than twice this time.
const LIFETIME: Duration = Duration::from_hours(1);

/// Makes and opens tickets with keys that exist in memory alone and are replaced every hour.
pub(super) fn rotating() -> Result<Arc<dyn ProducesTickets>, Error> {
    rotating_every(LIFETIME)
}

pub(super) fn rotating_every(lifetime: Duration) -> Result<Arc<dyn ProducesTickets>, Error> {
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    Ok(Arc::new(TicketRotator::new(seconds, || {
        let key = aws_lc_rs::Ticketer::new().map_err(|_| GetRandomFailed)?;
        Ok(Box::new(TicketKey(key)))
    })?))
}

/// rustls makes single keys only inside a rotation of its own, every six hours: it ends before it would turn once.
#[derive(Debug)]
struct TicketKey(Arc<dyn ProducesTickets>);

impl ProducesTickets for TicketKey {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}
