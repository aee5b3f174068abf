//! Serving connections: accepted, watched and drained.
//!
//! The accept loop waits for nothing but a permit and the next connection. TLS handshakes run inside the task of
//! their connection, under a deadline; a slow client holds up only itself.

mod traffic;
pub mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::{App, Peer, Surface, respond};
use crate::tls::ServerTls;
use traffic::Traffic;
use transport::{Backpressure, Buffered};

/// How long the accept loop rests when the system has no more sockets to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How long the uploads that were cut at the very end may take to be removed.
const CLEAN_UP: Duration = Duration::from_secs(10);
/// How often a connection's watchdog looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// What an upload over HTTP/2 may have under way, for one stream and for a connection, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
const MAX_STREAMS: u32 = 64;
/// Bytes of request headers over HTTP/2.
const MAX_HEADERS: u32 = 64 * 1024;
/// The buffer that HTTP/1.1 is read through, which request headers must fit, in bytes.
const MAX_BUFFER: usize = 256 * 1024;

/// How connections are bounded. Every field has a setting of the same name.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections at the same time; more wait in the system's queue.
    pub max_connections: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long the headers of a request may take, and how long a connection may idle between requests.
    pub header_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub write_timeout: Duration,
    /// How long requests may go on after the server was told to stop.
    pub grace: Duration,
}

/// What all connections of a listener share.
struct Shared {
    app: Arc<App>,
    surface: Surface,
    tls: Arc<ServerTls>,
    limits: ConnectionLimits,
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
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    let grace = limits.grace;
    let cut = CancellationToken::new();
    let shared = Arc::new(Shared {
        app,
        surface,
        tls,
        limits,
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
                let peer = Peer {
                    address: address.ip().to_canonical(),
                };
                connections.spawn(connection(Arc::clone(&shared), stream, peer, permit));
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
    shared.app.draining.store(true, Ordering::Relaxed);
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

/// One connection, from its handshake to its end.
async fn connection(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
) {
    let _open = Open::count(&shared.app);
    let traffic = Traffic::new();
    // Answers are small and complete when they are written: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let stream = Buffered::new(stream);
    let backpressure = stream.backpressure();
    let acceptor = TlsAcceptor::from(shared.tls.config());
    let handshake = timeout(shared.limits.handshake_timeout, acceptor.accept(stream));
    let stream = tokio::select! {
        () = shared.stop.cancelled() => return,
        stream = handshake => match stream {
            Ok(Ok(stream)) => stream,
            failed => {
                shared.app.metrics.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                let error = failed.ok().and_then(Result::err);
                tracing::debug!(error = error.as_ref().map(tracing::field::display), "no handshake");
                return;
            }
        },
    };
    speak_http(&shared, stream, &Arc::new(peer), &backpressure, &traffic).await;
}

async fn speak_http(
    shared: &Arc<Shared>,
    stream: tokio_rustls::server::TlsStream<Buffered<TcpStream>>,
    peer: &Arc<Peer>,
    backpressure: &Backpressure,
    traffic: &Arc<Traffic>,
) {
    let service = service_fn(|request| {
        let (app, surface) = (Arc::clone(&shared.app), shared.surface);
        let peer = Arc::clone(peer);
        let exchange = traffic.begin();
        async move {
            let response = respond(app, surface, &peer, request).await;
            Ok::<_, std::convert::Infallible>(response.map(|body| exchange.answer(body)))
        }
    });
    let http = protocol(&shared.limits);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut watch = interval(WATCH_INTERVAL.min(shared.limits.header_timeout));
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection broke");
                }
                return;
            }
            () = shared.cut.cancelled() => return,
            () = shared.stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = watch.tick() => {
                let limit = shared.limits.write_timeout;
                let unread = backpressure.write_blocked_for().is_some_and(|time| time > limit)
                    || traffic.answer_stuck_for().is_some_and(|time| time > limit);
                if unread {
                    tracing::debug!("a client left its answer unread");
                    return;
                }
                if traffic.idle_for().is_some_and(|time| time > shared.limits.header_timeout) {
                    if stopping {
                        return;
                    }
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// HTTP/1.1 and HTTP/2 with their bounds.
fn protocol(limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        // Without a timer the header timeout would do nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_BUFFER)
        .keep_alive(true);
    http.http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.write_timeout);
    http
}

/// Counts a connection while it is open.
struct Open(Arc<App>);

impl Open {
    fn count(app: &Arc<App>) -> Self {
        app.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(app))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Binds an address for [`serve`]. Gives the listener with the address that it got, which differs for port 0.
pub async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
