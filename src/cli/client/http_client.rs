//! HTTP/1.1 over TLS to one server, a request at a time: an upload fills its connection alone, so there is nothing that
//! HTTP/2 could share it with.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::body::{Body, Pace};
use super::endpoint::Endpoint;

/// For finding the server and connecting, and again for the handshake.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a body may stand still. A slow line takes a while for what the system holds of it.
const STALL: Duration = Duration::from_mins(2);
/// How long the server may think.
const ANSWER: Duration = Duration::from_mins(1);
/// The same once it has been sent something: all of it has to reach the disk first.
const ANSWER_TO_BODY: Duration = Duration::from_mins(5);
/// How long all of the body of an answer may take that is kept in memory: a server that gives a byte now and then holds
/// nobody for ever.
const WHOLE_ANSWER: Duration = Duration::from_mins(5);
/// The largest body of an answer, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Why there was no answer. Holds nothing of what was asked.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum HttpError {
    /// Neither a DNS name nor an address.
    #[error("{0} is not the name of a host")]
    Name(String),
    /// The name is unknown, or nobody answers there.
    #[error("cannot connect to {server}")]
    Connect {
        /// Where.
        server: String,
        /// What the system said.
        source: io::Error,
    },
    /// It could be anybody.
    #[error(
        "the certificate of {server} cannot be trusted; name the authority that vouches for it with --cacert FILE"
    )]
    Certificate {
        /// Where.
        server: String,
        /// Why not.
        source: rustls::Error,
    },
    /// Something else than TLS, or another kind of it.
    #[error("{server} does not speak TLS as it should; look at the port")]
    NotTls {
        /// Where.
        server: String,
        /// What came instead.
        source: rustls::Error,
    },
    /// The connection did not come about, or did not last.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing happened for too long.
    #[error("{0} took too long")]
    TimedOut(&'static str),
    /// It ended where the server said, and that was too early.
    #[error("the answer ended before all of it had come")]
    Short,
    /// No answer of a Sealslot server is that long.
    #[error("the answer is larger than {MAX_ANSWER} bytes: no Sealslot server sends such")]
    AnswerTooLarge,
}

impl HttpError {
    /// Whether the same may well work later.
    pub(in crate::cli) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Broken(_) | Self::TimedOut(_) | Self::Short
        )
    }

    fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Broken(Box::new(error))
    }
}

/// An answer, complete.
pub(in crate::cli) struct Answer {
    pub(in crate::cli) status: StatusCode,
    pub(in crate::cli) headers: HeaderMap,
    pub(in crate::cli) body: Vec<u8>,
}

/// An answer whose body is still to come, and the connection that it comes over. Dropped before its end, it ends that too.
pub(in crate::cli) struct Download {
    pub(in crate::cli) status: StatusCode,
    pub(in crate::cli) headers: HeaderMap,
    incoming: Incoming,
    pace: Pace,
    connection: Connection,
}

impl Download {
    /// The next piece; `None` at the end, which is where the server said it is. A connection that breaks before is an error.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let frame = timeout(STALL, self.incoming.frame()).await;
            let frame = frame.map_err(|_| HttpError::TimedOut("the next part"))?;
            let Some(frame) = frame.transpose().map_err(HttpError::broken)? else {
                return Ok(None);
            };
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// One server, and a connection to it while there is one.
pub(in crate::cli) struct HttpClient {
    endpoint: Endpoint,
    tls: TlsConnector,
    name: ServerName<'static>,
    connection: Option<Connection>,
}

/// Ended when it is dropped, whatever is still under way on it.
struct Connection {
    sender: SendRequest<Body>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpClient {
    pub(in crate::cli) fn new(
        endpoint: Endpoint,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, HttpError> {
        let name = ServerName::try_from(endpoint.host().to_owned());
        let name = name.map_err(|_| HttpError::Name(endpoint.host().to_owned()))?;
        Ok(Self {
            endpoint,
            tls: tls.into(),
            name,
            connection: None,
        })
    }

    /// Sends one request, for a path on this server, and waits for the whole answer.
    pub(in crate::cli) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Answer, HttpError> {
        let download = self.fetch(request).await?;
        let answer = timeout(ANSWER, self.read(download)).await;
        answer.map_err(|_| HttpError::TimedOut("the answer"))?
    }

    /// Sends one request, for a path on this server, and waits for the head of the answer.
    pub(in crate::cli) async fn fetch(
        &mut self,
        mut request: Request<Body>,
    ) -> Result<Download, HttpError> {
        let mut connection = self.connection().await?;
        self.add_framing(&mut request)?;
        let pace = request.body().pace();
        let patience = match *request.method() {
            Method::PATCH | Method::PUT => ANSWER_TO_BODY,
            _ => ANSWER,
        };
        let sending = connection.sender.send_request(request);
        let response = answer_in_time(sending, &pace, patience).await?;
        let (head, incoming) = response.into_parts();
        Ok(Download {
            status: head.status,
            headers: head.headers,
            incoming,
            pace,
            connection,
        })
    }

    /// The whole answer, where it has the size of one that is kept in memory.
    pub(in crate::cli) async fn read(
        &mut self,
        mut download: Download,
    ) -> Result<Answer, HttpError> {
        let body = timeout(WHOLE_ANSWER, collect(&mut download)).await;
        let body = body.map_err(|_| HttpError::TimedOut("the answer"))??;
        let (status, headers) = (download.status, download.headers.clone());
        self.keep(download);
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Takes the connection back from an answer that has come to its end, for the next request.
    pub(in crate::cli) fn keep(&mut self, download: Download) {
        // Where the server answered early, what is left of the body would go on for nothing.
        if download.pace.left() == 0 {
            self.connection = Some(download.connection);
        }
    }

    /// The one that is there, where the server has left it open, or a new one.
    async fn connection(&mut self) -> Result<Connection, HttpError> {
        if let Some(mut idle) = self.connection.take()
            && let Ok(Ok(())) = timeout(CONNECT, idle.sender.ready()).await
        {
            return Ok(idle);
        }
        self.connect().await
    }

    /// What hyper leaves to whoever drives a connection by hand.
    fn add_framing(&self, request: &mut Request<Body>) -> Result<(), HttpError> {
        let size = request.body().pace().left();
        let host = HeaderValue::from_str(&self.endpoint.authority());
        let host = host.map_err(|_| HttpError::Name(self.endpoint.host().to_owned()))?;
        let takes_body = matches!(
            *request.method(),
            Method::POST | Method::PUT | Method::PATCH
        );
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        if takes_body {
            headers.insert(CONTENT_LENGTH, size.into());
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        let tls = self.handshake(self.tcp().await?).await?;
        let made = http1::handshake(TokioIo::new(tls)).await;
        let (sender, connection) = made.map_err(HttpError::broken)?;
        // How it ends, the request that it ends under says.
        let task = tokio::spawn(connection).abort_handle();
        Ok(Connection { sender, task })
    }

    async fn tcp(&self) -> Result<TcpStream, HttpError> {
        let address = (self.endpoint.host(), self.endpoint.port());
        let failed = |source| HttpError::Connect {
            server: self.endpoint.authority(),
            source,
        };
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let tcp = connected.map_err(|_| HttpError::TimedOut("connecting"))?;
        let tcp = tcp.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        Ok(tcp)
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, HttpError> {
        let handshake = self.tls.connect(self.name.clone(), tcp);
        let shaken = timeout(CONNECT, handshake).await;
        let shaken = shaken.map_err(|_| HttpError::TimedOut("the TLS handshake"))?;
        shaken.map_err(|error| {
            let server = self.endpoint.authority();
            let tls = error.get_ref().and_then(|error| error.downcast_ref());
            match tls.cloned() {
                Some(source @ rustls::Error::InvalidCertificate(_)) => {
                    HttpError::Certificate { server, source }
                }
                Some(
                    source
                    @ (rustls::Error::InvalidMessage(_) | rustls::Error::PeerIncompatible(_)),
                ) => HttpError::NotTls { server, source },
                _ => HttpError::broken(error),
            }
        })
    }
}

/// The whole body, where it has the size of one that is kept in memory.
async fn collect(download: &mut Download) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(data) = download.next().await? {
        if body.len() + data.len() > MAX_ANSWER {
            return Err(HttpError::AnswerTooLarge);
        }
        body.extend_from_slice(&data);
    }
    Ok(body)
}

/// Waits for the head of the answer: as long as the body moves, and for `patience` after it.
async fn answer_in_time(
    sending: impl Future<Output = hyper::Result<Response<Incoming>>>,
    pace: &Pace,
    patience: Duration,
) -> Result<Response<Incoming>, HttpError> {
    let mut sending = pin!(sending);
    loop {
        let left = pace.left();
        let (patience, what) = match left {
            0 => (patience, "the answer"),
            _ => (STALL, "the next part"),
        };
        match timeout(patience, &mut sending).await {
            Ok(answer) => return answer.map_err(HttpError::broken),
            Err(_) if pace.left() != left => {}
            Err(_) => return Err(HttpError::TimedOut(what)),
        }
    }
}
