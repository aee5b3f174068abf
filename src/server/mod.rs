//! Serving connections: accepted, watched and drained.
//!
//! The accept loop waits for nothing but a permit and the next connection. TLS handshakes run inside the task of
//! their connection, under a deadline; a slow client holds up only itself.

pub mod client_address;
mod client_scopes;
mod connection;
pub mod guard;
mod handshakes;
mod plain;
mod proxies;
pub mod proxy_protocol;
pub mod quic;
mod standing;
mod traffic;
pub mod transport;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::HeaderValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::{App, Surface};
use crate::tls::ServerTls;
pub use client_address::{ForwardedHeader, ForwardedHeaderError};
pub use client_scopes::{ClientScope, ClientScopeError};
use handshakes::Handshakes;
pub use plain::{Covers, Plain, serve_plain};
pub use proxies::{Network, NetworkError, Proxies};

/// How long the accept loop rests when the system has no more sockets to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How many ports are tried where the system may choose one and it has to be free for UDP too.
const PORT_TRIES: usize = 16;
/// How long the uploads that were cut at the very end may take to be removed.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// How connections are bounded. Every field has a setting of the same name.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections at the same time; more wait in the system's queue.
    pub max_connections: usize,
    /// Connections at the same time whose handshake is not over; half as many of one address.
    pub max_handshakes: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long the headers of a request may take, and how long a connection may idle between requests.
    pub header_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub write_timeout: Duration,
    /// How long requests may go on after the server was told to stop.
    pub grace: Duration,
}

/// What tells who is at the other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// The proxies in front.
    pub proxies: Proxies,
    /// What certificates let do.
    pub client_scopes: Vec<ClientScope>,
}

/// What all connections of a listener share.
struct Shared {
    app: Arc<App>,
    surface: Surface,
    tls: Arc<ServerTls>,
    limits: ConnectionLimits,
    handshakes: Arc<Handshakes>,
    peers: Peers,
    /// Whether it was said that a trusted proxy does not speak the PROXY protocol.
    told_of_proxy: AtomicBool,
    /// Told to stop: no new requests.
    stop: CancellationToken,
    /// Out of time: connections are cut.
    cut: CancellationToken,
    /// What answers over TCP say of HTTP/3, where it is served.
    alt_svc: Option<HeaderValue>,
}

/// The sockets of one address.
pub struct Listener {
    tcp: TcpListener,
    /// For HTTP/3.
    udp: Option<UdpSocket>,
}

impl Listener {
    /// Binds an address, for HTTP/3 too where that is wanted. Gives the address that it got, which differs for port 0.
    pub async fn bind(address: SocketAddr, http3: bool) -> std::io::Result<(Self, SocketAddr)> {
        let mut left = PORT_TRIES;
        loop {
            let tcp = TcpListener::bind(address).await?;
            let bound = tcp.local_addr()?;
            let udp = http3.then(|| UdpSocket::bind(bound)).transpose();
            left -= 1;
            match udp {
                Ok(udp) => return Ok((Self { tcp, udp }, bound)),
                // The system chose a port that is free for TCP alone.
                Err(_) if address.port() == 0 && left > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `Alt-Svc` (RFC 7838): HTTP/3 is at the same port.
    fn alt_svc(&self) -> Option<HeaderValue> {
        let port = self.udp.as_ref()?.local_addr().ok()?.port();
        HeaderValue::from_str(&format!("h3=\":{port}\"; ma=86400")).ok()
    }
}

/// Serves until `stop`, then drains: requests under way may finish within the grace period, and what is then still
/// going on is cut and cleaned up.
pub async fn serve(
    listener: Listener,
    surface: Surface,
    tls: Arc<ServerTls>,
    app: Arc<App>,
    limits: ConnectionLimits,
    peers: Peers,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let alt_svc = listener.alt_svc();
    let Listener { tcp, udp } = listener;
    let threads = tokio::runtime::Handle::current().metrics().num_workers();
    let handshakes = Handshakes::new(limits.max_handshakes, threads);
    let shared = Arc::new(Shared {
        app,
        surface,
        tls,
        limits,
        handshakes,
        peers,
        told_of_proxy: AtomicBool::new(false),
        stop,
        cut,
        alt_svc,
    });
    let quic = udp.and_then(|socket| quic::open(socket, &shared));
    let accepting_quic = quic.clone().map(|endpoint| {
        let (shared, permits) = (Arc::clone(&shared), Arc::clone(&permits));
        tokio::spawn(quic::accept(endpoint, shared, permits, connections.clone()))
    });
    accept_until_stopped(tcp, &shared, &permits, &connections).await;
    if let Some(accepting) = accepting_quic {
        // It ends with `stop`, too: after it, no connection is added.
        let _ = accepting.await;
    }
    drain(&shared, &connections, quic.as_ref()).await;
}

/// Takes in connections until the server stops.
async fn accept_until_stopped(
    listener: TcpListener,
    shared: &Arc<Shared>,
    permits: &Arc<Semaphore>,
    connections: &TaskTracker,
) {
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = accept(&listener, permits) => accepted,
        };
        match accepted {
            Ok((permit, stream, address)) => {
                failing = false;
                let address = address.ip().to_canonical();
                connections.spawn(connection::run(Arc::clone(shared), stream, address, permit));
            }
            Err(error) => {
                // Once, not at every try: it may go on for long.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot accept connections"
                    );
                }
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Lets what is under way come to its end, within its time.
async fn drain(shared: &Shared, connections: &TaskTracker, quic: Option<&quinn::Endpoint>) {
    shared.app.draining.cancel();
    connections.close();
    let grace = shared.limits.grace;
    if timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "the grace period is over: cutting connections"
        );
        shared.cut.cancel();
        connections.wait().await;
    }
    if let Some(endpoint) = quic {
        quic::close(endpoint).await;
    }
    // An upload whose connection was cut ends by itself, and then what it had staged is removed.
    let clean_up = async {
        shared.app.tasks.close();
        shared.app.tasks.wait().await;
        shared.app.uploads.settled().await;
    };
    if timeout(CLEAN_UP, clean_up).await.is_err() {
        tracing::warn!("broken-off uploads could not be removed in time; the next start will");
    }
}

/// A permit, then a connection.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let permit = Arc::clone(permits).acquire_owned().await;
    let permit = permit.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((permit, stream, address))
}
