//! One connection: who is at its other end, its handshake, and then its requests.

mod requests;
mod watchdog;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::handshakes::Place;
use super::proxy_protocol::{ProxyProtocolError, Source, read_header};
use super::standing::Open;
use super::transport::Buffered;
use crate::http::{ClientNetwork, Surface};
use crate::tls::{Audience, ClientCertificate, HandshakeError, ServerTls};
use requests::speak_http;

/// What an upload over HTTP/2 or HTTP/3 may have under way, for one stream and for a connection, in bytes. One stream alone gets 20 MB/s
/// through 50 ms of delay. A connection holds as much in memory as its window is, while no handler reads.
pub(super) const STREAM_WINDOW: u32 = 1 << 20;
pub(super) const CONNECTION_WINDOW: u32 = 2 << 20;
/// Requests at the same time on one connection over HTTP/2 or HTTP/3: a browser sends a handful of uploads at once.
pub(super) const MAX_STREAMS: u32 = 64;
/// Bytes of request headers over HTTP/2 or HTTP/3, as they are after decompression.
pub(super) const MAX_HEADERS: u32 = 64 * 1024;

/// Why a connection does not come about.
#[derive(Debug, thiserror::Error)]
enum RefusedConnection {
    #[error("it took too long")]
    Late,
    #[error("too many are without a handshake, and it has been for longest")]
    Crowded,
    #[error(transparent)]
    Proxy(#[from] ProxyProtocolError),
    #[error("no TLS: {0}")]
    Tls(#[from] HandshakeError),
    #[error("the certificate is no longer good: {0}")]
    Certificate(#[from] tokio_rustls::rustls::Error),
}

/// A connection after its handshake.
struct Established {
    /// Boxed: else each future that it is handed on to would have room for it, one inside the other.
    stream: Box<TlsStream<Buffered<TcpStream>>>,
    /// Where it comes from; behind a trusted proxy, what that says.
    address: IpAddr,
    /// Whether it came through a proxy that passes connections on and does not know from where: what its requests say of that is
    /// the client's own word.
    unknown: bool,
    certificate: Option<ClientCertificate>,
}

/// Runs a connection from its handshake to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    stream: TcpStream,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
) {
    let _open = Open::count(&shared.app);
    // Answers are small and complete when they are written: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let stream = Buffered::new(stream);
    let backpressure = stream.backpressure();
    // In a place of its own, which is let go: the task would have room for it as long as the connection lasts.
    match Box::pin(handshake(&shared, stream, address)).await {
        Some(Ok(established)) => speak_http(&shared, established, &backpressure).await,
        Some(Err(refused)) => tell(&shared, address, &refused),
        None => {}
    }
}

/// Does the handshake, within its time and as long as there is room for it. `None`: the server is stopping.
async fn handshake(
    shared: &Shared,
    stream: Buffered<TcpStream>,
    address: IpAddr,
) -> Option<Result<Established, RefusedConnection>> {
    let (place, lost) = shared.handshakes.enter();
    let limit = shared.limits.handshake_timeout;
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => None,
        established = timeout(limit, establish(shared, stream, address, place)) => {
            Some(established.unwrap_or(Err(RefusedConnection::Late)))
        }
        () = lost.happens() => Some(Err(RefusedConnection::Crowded)),
    }
}

/// Counts and logs a connection that did not come about.
fn tell(shared: &Shared, address: IpAddr, refused: &RefusedConnection) {
    let failed = &shared.app.metrics.handshakes_failed;
    failed.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%address, reason = %refused, "no connection");
    // Somebody would look long for a proxy that is set up otherwise. One that only looks whether we live closes at once.
    let odd = matches!(
        refused,
        RefusedConnection::Proxy(ProxyProtocolError::Missing | ProxyProtocolError::Malformed)
    );
    if odd && !shared.told_of_proxy.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %address,
            "a trusted proxy passes connections on without a PROXY header, as --proxy-protocol has it; they are closed"
        );
    }
}

/// Reads what a proxy says in front, and does the handshake. Operations are for the operator's own machines, which come
/// without proxy and without certificate.
async fn establish(
    shared: &Shared,
    mut stream: Buffered<TcpStream>,
    mut address: IpAddr,
    place: Place,
) -> Result<Established, RefusedConnection> {
    let public = shared.surface == Surface::Public;
    let proxies = &shared.peers.proxies;
    let mut unknown = false;
    if public && proxies.protocol && proxies.trust(address) {
        match read_header(&mut stream).await? {
            Source::Client(client) => address = client,
            Source::Proxy => unknown = true,
        }
    }
    // All clients of a proxy come from its address.
    if !proxies.trust(address) {
        place.belongs_to(ClientNetwork::of(address));
    }
    let audience = if public {
        Audience::Everyone
    } else {
        Audience::Operators
    };
    let greeting = ServerTls::begin(stream).await?;
    shared.tls.settle().await;
    let turn = shared.handshakes.turn().await;
    let handshake = greeting.answer(&shared.tls, audience);
    drop(turn);
    let stream = Box::new(handshake.complete().await?);
    drop(place);
    let certificate = shared.tls.client_certificate(stream.get_ref().1)?;
    Ok(Established {
        stream,
        address,
        unknown,
        certificate,
    })
}
