//! One connection: who is at its other end, its handshake, its requests and its watchdog.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Request;
use http::header::ALT_SVC;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::client_address::client_address;
use super::client_scopes::identify;
use super::guard::Guarded;
use super::handshakes::Place;
use super::proxy_protocol::{ProxyProtocolError, Source, read_header};
use super::standing::{Open, Standing, watch};
use super::traffic::Traffic;
use super::transport::{Backpressure, Buffered};
use super::{ConnectionLimits, Shared};
use crate::http::{ClientNetwork, Incoming, Peer, Surface, respond};
use crate::tls::{Audience, ClientCertificate, HandshakeError, ServerTls};

/// What an upload over HTTP/2 or HTTP/3 may have under way, for one stream and for a connection, in bytes. One stream alone gets 20 MB/s
/// through 50 ms of delay. A connection holds as much in memory as its window is, while no handler reads.
pub(super) const STREAM_WINDOW: u32 = 1 << 20;
pub(super) const CONNECTION_WINDOW: u32 = 2 << 20;
/// Requests at the same time on one connection over HTTP/2 or HTTP/3: a browser sends a handful of uploads at once.
pub(super) const MAX_STREAMS: u32 = 64;
/// Bytes of request headers over HTTP/2 or HTTP/3, as they are after decompression.
pub(super) const MAX_HEADERS: u32 = 64 * 1024;
/// What a frame may hold: the least that can be offered (RFC 9113, section 6.5.2). Larger ones would be buffered whole.
const MAX_FRAME: u32 = 16 * 1024;
/// What of an answer waits for the client's window, in bytes for each stream: hyper's 400 KiB for each of so many streams are a
/// lot for clients who do not read.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client opened and reset before they were looked at ("rapid reset", CVE-2023-44487). h2's own number, here
/// so that it does not change unseen.
const MAX_RESET_STREAMS: usize = 20;
/// Streams that the server reset because of what the client did ("made you reset", CVE-2025-8671), on a connection as long as it
/// lasts. An honest client has no such errors at all; hyper would bear 1024.
const MAX_ERROR_RESETS: usize = 100;
/// The buffer that HTTP/1.1 is read through, which request headers must fit, in bytes.
const MAX_BUFFER: usize = 256 * 1024;

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
    stream: TlsStream<Buffered<TcpStream>>,
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
    // One after the other, and nothing of the first is kept: the task is as large as the larger of them, for as long as the
    // connection lasts.
    match handshake(&shared, stream, address).await {
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
    let stream = handshake.complete().await?;
    drop(place);
    let certificate = shared.tls.client_certificate(stream.get_ref().1)?;
    Ok(Established {
        stream,
        address,
        unknown,
        certificate,
    })
}

async fn speak_http(shared: &Arc<Shared>, established: Established, backpressure: &Backpressure) {
    let Established {
        stream,
        address,
        unknown,
        certificate,
    } = established;
    let traffic = Traffic::new();
    let identity = certificate
        .as_ref()
        .map(|certificate| identify(certificate, &shared.peers.client_scopes));
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let (app, surface) = (Arc::clone(&shared.app), shared.surface);
        let peer = Peer {
            address: if unknown {
                address
            } else {
                client_address(request.headers(), address, &shared.peers.proxies)
            },
            certificate: identity.clone(),
        };
        let exchange = traffic.begin();
        let alt_svc = shared.alt_svc.clone();
        async move {
            // On its own: hyper keeps room for all of this future also while a connection is idle.
            let mut response =
                Box::pin(respond(app, surface, &peer, request.map(Incoming::from))).await;
            if let Some(alt_svc) = alt_svc {
                response.headers_mut().insert(ALT_SVC, alt_svc);
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| exchange.answer(body)))
        }
    });
    let mut standing = Standing::new(certificate);
    let mut http = protocol(&shared.limits);
    // What was agreed on is spoken, and nothing else: what watches over one protocol knows nothing of the other.
    let stream = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http = http.http2_only();
        Guarded::http2(stream, traffic.answered())
    } else {
        http = http.http1_only();
        let mut stream = Guarded::http1(stream);
        if !says_something(shared, &mut stream).await {
            return;
        }
        stream
    };
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut watch = watch(shared);
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
                if standing.is_over(shared, &traffic, backpressure.write_blocked_for()) {
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

/// Waits for a client's first request: hyper would have a buffer of 8 KiB for it before it comes. False: there will be none.
async fn says_something<S: AsyncRead + Unpin>(shared: &Shared, stream: &mut Guarded<S>) -> bool {
    tokio::select! {
        () = shared.stop.cancelled() => false,
        () = sleep(shared.limits.header_timeout) => false,
        first = stream.first() => first.is_ok(),
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
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.write_timeout);
    http
}
