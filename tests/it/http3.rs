//! A client that speaks HTTP/3.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
use http::Request;
use http::header::CONTENT_LENGTH;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, VarInt};
use rustls::ClientConfig;

use crate::client::{Answer, PATIENCE, runtime};

pub(crate) const DATA: u64 = 0;
pub(crate) const HEADERS: u64 = 1;
pub(crate) const SETTINGS: u64 = 4;
/// One that is reserved to mean nothing (RFC 9114, section 7.2.8).
pub(crate) const RESERVED: u64 = 0x21;

/// An integer of QUIC, in as many bytes as there are.
pub(crate) fn long(value: u64) -> [u8; 8] {
    (value | 0xc0 << 56).to_be_bytes()
}

pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [&long(kind)[..], &long(payload.len() as u64), payload].concat()
}

/// Header fields, each a literal with a literal name (RFC 9204, section 4.5.6).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        match u8::try_from(name.len()).unwrap() {
            short @ 0..7 => section.push(0x20 | short),
            longer => section.extend([0x27, longer - 7]),
        }
        section.extend(name.as_bytes());
        section.push(u8::try_from(value.len()).unwrap());
        section.extend(value.as_bytes());
    }
    frame(HEADERS, &section)
}

pub(crate) const PUT: [(&str, &str); 4] = [
    (":method", "PUT"),
    (":scheme", "https"),
    (":authority", "localhost"),
    (":path", "/uploads/x"),
];

pub(crate) fn put(path: &str) -> http::request::Builder {
    Request::put(format!("https://localhost{path}"))
}

/// A request whose answer has not come.
pub(crate) type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

/// A connection.
#[derive(Clone)]
pub(crate) struct Http3 {
    endpoint: Endpoint,
    pub(crate) quic: quinn::Connection,
    pub(crate) requests: SendRequest<OpenStreams, Bytes>,
}

impl Http3 {
    pub(crate) async fn connect(
        address: SocketAddr,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let (endpoint, quic) = connect(address, config).await?;
        let connection = h3_quinn::Connection::new(quic.clone());
        let begun = h3::client::new(connection).await;
        let (mut driver, requests) = begun.map_err(io::Error::other)?;
        tokio::spawn(async move { driver.wait_idle().await });
        Ok(Self {
            endpoint,
            quic,
            requests,
        })
    }

    /// Sends the head of a request.
    pub(crate) async fn begin(&mut self, request: Request<()>) -> io::Result<Stream> {
        let begun = self.requests.send_request(request).await;
        begun.map_err(io::Error::other)
    }

    /// Sends a request, and gives its answer, or what had come of its body when it broke off.
    pub(crate) async fn send(
        &mut self,
        request: Request<Vec<u8>>,
    ) -> Result<Answer, (io::Error, Vec<u8>)> {
        let (mut head, body) = request.into_parts();
        if !body.is_empty() {
            // As the other clients do.
            let length = head.headers.entry(CONTENT_LENGTH);
            length.or_insert_with(|| body.len().into());
        }
        let stream = self.begin(Request::from_parts(head, ())).await;
        let mut stream = stream.map_err(|error| (error, Vec::new()))?;
        // The server may want no more of it, and answers all the same. Then h3-quinn takes it for a fault to go on.
        if body.is_empty() || stream.send_data(body.into()).await.is_ok() {
            let _ = stream.finish().await;
        }
        answer(&mut stream).await
    }

    /// Goes on from another socket.
    pub(crate) fn rebind(&self, socket: std::net::UdpSocket) {
        self.endpoint.rebind(socket).unwrap();
    }

    /// Ends the connection, and waits until the server was told.
    pub(crate) async fn close(self) {
        self.quic.close(VarInt::from_u32(0x100), b"");
        self.endpoint.wait_idle().await;
    }
}

/// A connection without HTTP.
pub(crate) async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<(Endpoint, quinn::Connection)> {
    let local = SocketAddr::new(address.ip(), 0);
    let endpoint = Endpoint::client(local)?;
    let config = QuicClientConfig::try_from(config).map_err(io::Error::other)?;
    let config = quinn::ClientConfig::new(Arc::new(config));
    let name = address.ip().to_string();
    let connecting = endpoint.connect_with(config, address, &name);
    let quic = connecting.map_err(io::Error::other)?.await?;
    Ok((endpoint, quic))
}

/// The answer on a stream, without what is interim.
pub(crate) async fn answer(stream: &mut Stream) -> Result<Answer, (io::Error, Vec<u8>)> {
    let head = loop {
        let head = stream.recv_response().await;
        let head = head.map_err(|error| (io::Error::other(error), Vec::new()))?;
        if !head.status().is_informational() {
            break head;
        }
    };
    let mut body = Vec::new();
    loop {
        match stream.recv_data().await {
            Ok(None) => break,
            Ok(Some(mut piece)) => {
                body.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
            }
            Err(error) => return Err((io::Error::other(error), body)),
        }
    }
    let (head, ()) = head.into_parts();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

/// Sends one request on a connection of its own.
pub(crate) fn send_http3(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    request: Request<Vec<u8>>,
) -> Result<Answer, (io::Error, Vec<u8>)> {
    let (mut head, body) = request.into_parts();
    head.uri = format!("https://{address}{}", head.uri).parse().unwrap();
    let exchange = async {
        let connected = Http3::connect(address, config).await;
        let mut connection = connected.map_err(|error| (error, Vec::new()))?;
        let answer = connection.send(Request::from_parts(head, body)).await;
        connection.close().await;
        answer
    };
    let exchange = async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() };
    runtime().block_on(exchange)
}
