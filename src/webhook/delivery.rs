//! One message, sent once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::endpoint::Endpoint;
use super::message::{Message, unix};
use super::signature::SigningKeys;

/// For finding the receiver and connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// For all of it.
const WHOLE: Duration = Duration::from_secs(30);
/// How much of an answer is read. Nothing in it matters, but a receiver may think it failed where nobody reads.
const MAX_ANSWER: usize = 4096;

/// Why a message was not taken. Holds nothing of the URL but its host.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    /// Nobody is there.
    #[error("cannot connect to {0}")]
    Connect(String, #[source] io::Error),
    /// Neither a name nor an address.
    #[error("{0} is not the name of a host")]
    Name(String),
    /// The connection did not last.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    /// Nothing happened for too long.
    #[error("it took too long")]
    TimedOut,
    /// The receiver did not say that it took it.
    #[error("the receiver answered {}", .0.as_u16())]
    Answered(StatusCode),
    /// Sealslot's own mistake.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

impl DeliveryError {
    /// Whether the receiver never wants it.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Answered(StatusCode::GONE))
    }
}

/// Sends a message to an endpoint on a connection of its own, and waits for a 2xx. No redirect is followed: whom a message goes
/// to is configured.
pub(super) async fn deliver(
    endpoint: &Endpoint,
    tls: &Arc<ClientConfig>,
    keys: &SigningKeys,
    message: &Message,
) -> Result<(), DeliveryError> {
    let request = request(endpoint, keys, message)?;
    let whole = timeout(WHOLE, send(endpoint, tls, request)).await;
    let status = whole.map_err(|_| DeliveryError::TimedOut)??;
    if status.is_success() {
        Ok(())
    } else {
        Err(DeliveryError::Answered(status))
    }
}

fn request(
    endpoint: &Endpoint,
    keys: &SigningKeys,
    message: &Message,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let (id, body) = (message.id(), message.body());
    let timestamp = unix(SystemTime::now());
    Request::post(endpoint.path())
        .header(HOST, endpoint.authority())
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, body.len())
        .header(USER_AGENT, concat!("sealslot/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", &id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", keys.sign(&id, timestamp, &body))
        .body(Full::new(body.into()))
}

async fn send(
    endpoint: &Endpoint,
    tls: &Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, DeliveryError> {
    let connected = timeout(CONNECT, connect(endpoint, tls)).await;
    let stream = connected.map_err(|_| DeliveryError::TimedOut)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Both at once: the connection moves only while it is polled, and it is over when the answer is.
    let exchange = async {
        let mut response = sender.send_request(request).await?;
        let mut read = 0;
        while let Some(Ok(frame)) = response.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read >= MAX_ANSWER {
                break;
            }
        }
        Ok(response.status())
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        status = &mut exchange => status,
        // An answer that came before the end is still there to be read.
        _ = connection => exchange.await,
    }
}

async fn connect(endpoint: &Endpoint, tls: &Arc<ClientConfig>) -> Result<MaybeTls, DeliveryError> {
    let failed = |error| DeliveryError::Connect(endpoint.authority(), error);
    let tcp = TcpStream::connect((endpoint.host(), endpoint.port()));
    let tcp = tcp.await.map_err(failed)?;
    if !endpoint.is_tls() {
        return Ok(MaybeTls::Plain(tcp));
    }
    let name = ServerName::try_from(endpoint.host().to_owned())
        .map_err(|_| DeliveryError::Name(endpoint.authority()))?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp);
    Ok(MaybeTls::Tls(Box::new(stream.await.map_err(failed)?)))
}

/// A connection to a receiver.
enum MaybeTls {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for MaybeTls {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
