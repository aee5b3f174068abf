//! Clients for the server under test: HTTP/1.1 written by hand over rustls, which can do what no library would, and
//! hyper's for HTTP/2.

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXUPPER;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use serde_json::Value;
use tokio_rustls::client::TlsStream;

/// No answer takes this long: a test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a client speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    Http3,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Http3];
}

/// Trusts the authority in `ca` and no other.
pub(crate) fn trusting(
    ca: &Path,
    version: &'static SupportedProtocolVersion,
    protocol: Protocol,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
        Protocol::Http3 => vec![b"h3".to_vec()],
    };
    Arc::new(config)
}

/// An answer, complete.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The receipt of what was created.
    #[track_caller]
    pub(crate) fn receipt(self) -> Value {
        let answer = self.is(201);
        assert_eq!(answer.header("content-type"), "application/json");
        answer.json()
    }

    /// A refusal as programs read it.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
    }
}

/// The socket under TLS. When the server has closed it, nothing more goes out, and what has come can still be read: rustls gets rid of
/// what it has to send first, and would never come to the answer that says why.
struct Socket {
    tcp: TcpStream,
    /// How sending failed.
    broken: Option<io::ErrorKind>,
}

impl Socket {
    /// Takes note of a write that failed because the server has closed the connection.
    fn noted(&mut self, written: io::Result<usize>) -> io::Result<usize> {
        let kind = written.as_ref().err().map(io::Error::kind);
        self.broken = kind.filter(|kind| {
            matches!(
                kind,
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            )
        });
        written
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken.is_some() {
            return Ok(bytes.len());
        }
        let written = self.tcp.write(bytes);
        self.noted(written)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.broken.is_some() {
            return Ok(pieces.iter().map(|piece| piece.len()).sum());
        }
        let written = self.tcp.write_vectored(pieces);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One TLS connection that HTTP/1.1 is written to by hand.
pub(crate) struct Wire(BufReader<StreamOwned<ClientConnection, Socket>>);

impl Wire {
    pub(crate) fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?, address.ip(), config)
    }

    /// On a connection that is there already, to the server with this address.
    pub(crate) fn over(
        tcp: TcpStream,
        server: IpAddr,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::IpAddress(server.into());
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, Socket { tcp, broken: None });
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn handshake_kind(&self) -> HandshakeKind {
        self.0.get_ref().conn.handshake_kind().unwrap()
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream = self.0.get_mut();
        let sent = stream.write_all(bytes.as_ref());
        let sent = sent.and_then(|()| stream.flush());
        // It may have failed where rustls does not tell.
        match stream.sock.broken {
            Some(kind) => Err(kind.into()),
            None => sent,
        }
    }

    /// Sends. Where the server wants no more of it and has closed the connection, its answer tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.try_send(bytes);
        if self.0.get_ref().sock.broken.is_none() {
            sent.unwrap();
        }
    }

    /// The next head, be it `100 Continue` or that of the answer.
    pub(crate) fn try_head(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(line))?;
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "");
                break;
            };
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Ok(Answer {
            status,
            headers,
            body: Vec::new(),
        })
    }

    #[track_caller]
    pub(crate) fn head(&mut self) -> Answer {
        self.try_head().unwrap()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n");
        Ok(line.ok_or(io::ErrorKind::UnexpectedEof)?.to_owned())
    }

    /// The answer to a request of this method. An error where it broke off, with what had arrived of the body.
    pub(crate) fn try_answer(&mut self, method: &Method) -> Result<Answer, (io::Error, Vec<u8>)> {
        let mut head = self.try_head().map_err(|error| (error, Vec::new()))?;
        while head.status < 200 {
            head = self.try_head().map_err(|error| (error, Vec::new()))?;
        }
        self.try_rest(head, method)
    }

    /// The rest of the answer that has this head.
    pub(crate) fn try_rest(
        &mut self,
        mut answer: Answer,
        method: &Method,
    ) -> Result<Answer, (io::Error, Vec<u8>)> {
        if method == Method::HEAD || [204, 304].contains(&answer.status) {
            return Ok(answer);
        }
        let size = answer.header("content-length").parse().unwrap();
        while answer.body.len() < size {
            let mut piece = [0; 16 * 1024];
            let wanted = piece.len().min(size - answer.body.len());
            match self.0.read(&mut piece[..wanted]) {
                Ok(0) => return Err((io::ErrorKind::UnexpectedEof.into(), answer.body)),
                Ok(read) => answer.body.extend_from_slice(&piece[..read]),
                Err(error) => return Err((error, answer.body)),
            }
        }
        Ok(answer)
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(&Method::GET).unwrap()
    }

    /// The answer, which nothing comes before, not even `100 Continue`.
    #[track_caller]
    pub(crate) fn answer_at_once(&mut self) -> Answer {
        assert_ne!(self.0.fill_buf().unwrap().get(9..12), Some(&b"100"[..]));
        self.answer()
    }

    /// Everything that still comes, and whether the connection was ended then.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        let ended = match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        };
        (rest, ended)
    }

    /// Whether the server has ended the connection; waits for it.
    pub(crate) fn is_ended(&mut self) -> bool {
        self.rest().1
    }

    pub(crate) fn set_read_timeout(&self, timeout: Duration) {
        let tcp = &self.0.get_ref().sock.tcp;
        tcp.set_read_timeout(Some(timeout)).unwrap();
    }

    /// Sends no more, properly ended for TLS, and still reads.
    pub(crate) fn end_sending(&mut self) {
        let stream = self.0.get_mut();
        stream.conn.send_close_notify();
        // Where the server has ended the connection already, there is nothing to end.
        let _ = stream.conn.complete_io(&mut stream.sock);
        let _ = stream.sock.tcp.shutdown(Shutdown::Write);
    }

    /// Breaks the connection with a TCP reset.
    pub(crate) fn reset(self) {
        let tcp = self.0.into_inner().sock.tcp;
        tcp.set_nonblocking(true).unwrap();
        let runtime = runtime();
        let _inside = runtime.enter();
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        tcp.set_zero_linger().unwrap();
    }
}

/// The request as HTTP/1.1 sends it.
pub(crate) fn head_of(request: &Request<Vec<u8>>, address: SocketAddr) -> String {
    let path = request.uri().path_and_query().unwrap();
    let first = format!("{} {path} HTTP/1.1\r\nHost: {address}", request.method());
    let mut lines = vec![first];
    for (name, value) in request.headers() {
        lines.push(format!("{name}: {}", value.to_str().unwrap()));
    }
    let bodiless = request.body().is_empty() && request.method().is_safe();
    if !bodiless {
        lines.push(format!("Content-Length: {}", request.body().len()));
    }
    lines.join("\r\n") + "\r\n\r\n"
}

/// Every byte as a URL or a urlencoded form may carry it.
pub(crate) fn percent_encoded(bytes: &[u8]) -> String {
    let digits = HEXUPPER.encode(bytes);
    let pairs = digits.as_bytes().chunks(2);
    pairs.fold(String::new(), |encoded, pair| {
        encoded + "%" + std::str::from_utf8(pair).unwrap()
    })
}

/// Sends over HTTP/2, each request on a connection of its own.
pub(crate) fn send_http2(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    request: Request<Vec<u8>>,
) -> Result<Answer, (hyper::Error, Vec<u8>)> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().unwrap();
    head.uri = format!("https://{address}{path}").parse().unwrap();
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let request = Request::from_parts(head, body);
    let exchange = async {
        let response = begin_http2(address, config, request).await;
        let (head, mut incoming) = response.map_err(|error| (error, Vec::new()))?.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap()),
                Err(error) => return Err((error, body)),
            }
        }
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    };
    let exchange = async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() };
    runtime().block_on(exchange)
}

/// Sends a request on a new HTTP/2 connection, and waits for the head of its answer.
pub(crate) async fn begin_http2<B>(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    request: Request<B>,
) -> hyper::Result<http::Response<Incoming>>
where
    B: Body<Data = Bytes, Error = io::Error> + Send + Unpin + 'static,
{
    let tls = connect_http2(address, config).await;
    let http2 = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls));
    let (mut sender, connection) = http2.await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// A connection that speaks HTTP/2.
pub(crate) async fn connect_http2(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> TlsStream<tokio::net::TcpStream> {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::IpAddress(address.ip().into());
    let connector = tokio_rustls::TlsConnector::from(config);
    let tls = connector.connect(name, tcp).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    tls
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

/// A `multipart/form-data` body in the making.
pub(crate) struct Multipart(Vec<u8>);

impl Multipart {
    pub(crate) const TYPE: &str = "multipart/form-data; boundary=----a-boundary";

    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn text(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.part(
            &format!("Content-Disposition: form-data; name=\"{name}\""),
            value,
        )
    }

    pub(crate) fn file(self, name: &str, media_type: &str, content: impl AsRef<[u8]>) -> Self {
        let disposition = "Content-Disposition: form-data; name=\"file\"";
        let headers = format!("{disposition}; filename=\"{name}\"\r\nContent-Type: {media_type}");
        self.part(&headers, content)
    }

    pub(crate) fn part(mut self, headers: &str, content: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(b"------a-boundary\r\n");
        self.0.extend_from_slice(headers.as_bytes());
        self.0.extend_from_slice(b"\r\n\r\n");
        self.0.extend_from_slice(content.as_ref());
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Without the closing delimiter.
    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"------a-boundary--\r\n");
        self.0
    }
}
