//! Serving connections: accepted, watched and drained.
//!
//! The accept loop waits for nothing but a permit and the next connection. TLS handshakes run inside the task of
//! their connection, under a deadline; a slow client holds up only itself.

pub mod client_address;
mod client_scopes;
mod connection;
mod guard;
mod handshakes;
mod plain;
mod proxies;
pub mod proxy_protocol;
mod traffic;
pub mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

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
}

/// Serves until `stop`, then drains: requests under way may finish within the grace period, and what is then still
/// going on is cut and cleaned up.
pub async fn serve(
    listener: TcpListener,
    surface: Surface,
    tls: Arc<ServerTls>,
    app: Arc<App>,
    limits: ConnectionLimits,
    peers: Peers,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    let grace = limits.grace;
    let cut = CancellationToken::new();
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
    });
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((permit, stream, address)) => {
                failing = false;
                let address = address.ip().to_canonical();
                connections.spawn(connection::run(
                    Arc::clone(&shared),
                    stream,
                    address,
                    permit,
                ));
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
    drop(listener);
    shared.app.draining.cancel();
    connections.close();
    if timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "the grace period is over: cutting connections"
        );
        shared.cut.cancel();
        connections.wait().await;
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

/// Binds an address for [`serve`]. Gives the listener with the address that it got, which differs for port 0.
pub async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
