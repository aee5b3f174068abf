//! The requests of one connection, over HTTP/1.1 or HTTP/2.
//!
//! Between two requests over HTTP/1.1 nothing is kept of hyper, whose buffers and state are more than all the rest of a connection: it
//! is taken apart when a request has been answered, and put together again when the next one begins.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::Request;
use http::header::ALT_SVC;
use http_body::Body;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::watchdog::{Order, Watchdog};
use super::{CONNECTION_WINDOW, Established, MAX_HEADERS, MAX_STREAMS, STREAM_WINDOW};
use crate::http::{Incoming, Peer, respond};
use crate::server::client_address::client_address;
use crate::server::client_scopes::identify;
use crate::server::guard::Guarded;
use crate::server::traffic::Traffic;
use crate::server::transport::Backpressure;
use crate::server::{ConnectionLimits, Shared};

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
/// The buffer that HTTP/1.1 is read through, which request headers must fit, in bytes. hyper lets it grow to as much, and somewhat more, where
/// a client sends fast, and keeps it for as long as the request goes on, however slow that becomes. With less of it a fast upload would wake its task for every
/// few records of TLS: 32 KiB cost four times as many wake-ups.
const MAX_BUFFER: usize = 256 * 1024;

/// Answers the requests of a connection until it ends.
pub(super) async fn speak_http(
    shared: &Arc<Shared>,
    established: Established,
    backpressure: &Backpressure,
) {
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
            // On its own: over HTTP/2 hyper keeps room for all of this future also while a connection is idle.
            let mut response =
                Box::pin(respond(app, surface, &peer, request.map(Incoming::from))).await;
            if let Some(alt_svc) = alt_svc {
                response.headers_mut().insert(ALT_SVC, alt_svc);
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| exchange.answer(body)))
        }
    });
    let mut watchdog = Watchdog::new(shared, &traffic, backpressure, certificate);
    // What was agreed on is spoken, and nothing else: what watches over one protocol knows nothing of the other.
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let stream = TokioIo::new(Guarded::http2(stream, traffic.answered()));
        let connection = http2_of(&shared.limits).serve_connection(stream, service);
        return until_it_ends(Box::pin(connection), &mut watchdog).await;
    }
    let http = http1_of(&shared.limits);
    let mut stream = Guarded::http1(stream, Arc::clone(&traffic));
    while begins(shared, &mut stream, &mut watchdog).await {
        // In a place of its own, so that the task is small while there is none.
        let connection = Box::new(http.serve_connection(TokioIo::new(stream), service));
        match until_it_rests(connection, &traffic, &mut watchdog).await {
            Some(rested) => stream = rested,
            None => return,
        }
    }
}

type Http2<S, T> = http2::Connection<TokioIo<Guarded<S>>, T, TokioExecutor>;

/// Answers requests over HTTP/2 until the connection ends.
async fn until_it_ends<S, T, B>(mut connection: Pin<Box<Http2<S, T>>>, watchdog: &mut Watchdog<'_>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: HttpService<hyper::body::Incoming, ResBody = B>,
    T::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    TokioExecutor: Http2ServerConnExec<T::Future, B>,
{
    loop {
        tokio::select! {
            ended = connection.as_mut() => return told(ended),
            order = watchdog.order() => match order {
                Order::Cut => return,
                Order::Finish => connection.as_mut().graceful_shutdown(),
            }
        }
    }
}

/// Waits for the next request over HTTP/1.1, or for the client to end. False: there will be none, and the connection was closed.
async fn begins<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    stream: &mut Guarded<S>,
    watchdog: &mut Watchdog<'_>,
) -> bool {
    tokio::select! {
        first = stream.first() => return first.is_ok(),
        () = sleep(shared.limits.header_timeout) => {}
        order = watchdog.order() => if matches!(order, Order::Cut) {
            return false;
        }
    }
    // Without this a client could not tell the end from somebody having cut the connection.
    let _ = timeout(shared.limits.write_timeout, stream.shutdown()).await;
    false
}

/// Answers requests over HTTP/1.1 until there is nothing to do, and gives the stream back. `None`: the connection has ended.
async fn until_it_rests<S, T, B>(
    mut connection: Box<http1::Connection<TokioIo<Guarded<S>>, T>>,
    traffic: &Traffic,
    watchdog: &mut Watchdog<'_>,
) -> Option<Guarded<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: HttpService<hyper::body::Incoming, ResBody = B>,
    T::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    loop {
        let may_rest = !watchdog.is_finishing();
        let running = poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if may_rest && traffic.rests() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            ended = running => match ended {
                Some(ended) => {
                    told(ended);
                    return None;
                }
                None => break,
            },
            order = watchdog.order() => match order {
                Order::Cut => return None,
                Order::Finish => Pin::new(&mut *connection).graceful_shutdown(),
            }
        }
    }
    let parts = connection.into_parts();
    // All requests are over, and none has begun. What hyper has of one, read to its end and never asked for, must not become another.
    parts.read_buf.is_empty().then(|| parts.io.into_inner())
}

fn told(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn Error, "a connection broke");
    }
}

/// HTTP/1.1 with its bounds.
fn http1_of(limits: &ConnectionLimits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Without a timer the header timeout would do nothing.
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_BUFFER)
        .keep_alive(true);
    http
}

/// HTTP/2 with its bounds.
fn http2_of(limits: &ConnectionLimits) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
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
