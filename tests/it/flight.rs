//! A request in flight: its head is sent, its body comes piece by piece, and may break off.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use h3::error::Code;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use rustls::version::TLS13;
use tokio::runtime::Runtime;

use crate::client::{Answer, PATIENCE, Protocol, Wire, connect_http2, trusting};
use crate::http3::{self, Http3};
use crate::server::Server;

/// How a body breaks off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Break {
    /// The connection is closed.
    Close,
    /// HTTP/1.1: the connection is reset. HTTP/2 and HTTP/3: the stream is.
    Reset,
    /// What may be taken for an end. HTTP/1.1: TLS is closed in order. HTTP/2 and HTTP/3: the stream is reset without an error.
    Quiet,
}

impl Break {
    pub(crate) const ALL: [Self; 3] = [Self::Close, Self::Reset, Self::Quiet];
}

/// A request whose body has not ended.
pub(crate) enum Flight {
    Http1 { wire: Box<Wire>, chunked: bool },
    Http2(Box<Stream>),
    Http3(Box<Http3Stream>),
    Broken,
}

/// A stream on an HTTP/2 connection of its own, which a thread of its own keeps going.
pub(crate) struct Stream {
    runtime: Runtime,
    connection: SendRequest<Bytes>,
    pub(crate) sending: SendStream<Bytes>,
    response: ResponseFuture,
}

/// A stream on an HTTP/3 connection of its own, which a thread of its own keeps going.
pub(crate) struct Http3Stream {
    runtime: Runtime,
    connection: Http3,
    stream: http3::Stream,
}

impl Flight {
    /// Sends the head. Where that has no `Content-Length`, the body says nothing of its length beforehand.
    pub(crate) fn begin(
        server: &Server<'_>,
        protocol: Protocol,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
    ) -> Self {
        match protocol {
            Protocol::Http1 => {
                let chunked = !headers.iter().any(|(name, _)| *name == "content-length");
                let lines = headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"));
                let mut lines: Vec<_> = lines.collect();
                if chunked {
                    lines.push("transfer-encoding: chunked".to_owned());
                }
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                let wire = Box::new(server.begin(method, path, &lines));
                Self::Http1 { wire, chunked }
            }
            Protocol::Http2 => {
                let uri = format!("https://{}{path}", server.address);
                let mut request = Request::builder().method(method).uri(uri);
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                Self::Http2(Box::new(Stream::begin(server, request.body(()).unwrap())))
            }
            Protocol::Http3 => {
                let uri = format!("https://{}{path}", server.address);
                let mut request = Request::builder().method(method).uri(uri);
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let stream = Http3Stream::begin(server, request.body(()).unwrap());
                Self::Http3(Box::new(stream))
            }
        }
    }

    /// Sends the next piece of the body.
    pub(crate) fn send(&mut self, piece: &[u8]) {
        match self {
            Self::Http1 {
                wire,
                chunked: false,
            } => wire.send(piece),
            Self::Http1 {
                wire,
                chunked: true,
            } => {
                let size = format!("{:x}\r\n", piece.len());
                wire.send([size.as_bytes(), piece, b"\r\n"].concat());
            }
            Self::Http2(stream) => {
                let piece = Bytes::copy_from_slice(piece);
                // What the server wants no more of may be reset already; its answer tells.
                let _ = stream.sending.send_data(piece, false);
            }
            Self::Http3(flight) => {
                let piece = Bytes::copy_from_slice(piece);
                let _ = flight.runtime.block_on(flight.stream.send_data(piece));
            }
            Self::Broken => unreachable!(),
        }
    }

    /// Ends the body.
    #[track_caller]
    pub(crate) fn finish(self) -> Answer {
        self.finish_with_trailers(&[])
    }

    #[track_caller]
    pub(crate) fn finish_with_trailers(mut self, trailers: &[(&str, &str)]) -> Answer {
        self.end(trailers);
        self.answer().expect("an answer")
    }

    /// Ends the body; gives the interim answers too.
    #[track_caller]
    pub(crate) fn finish_with_interims(mut self) -> (Vec<Answer>, Answer) {
        self.end(&[]);
        self.answers().expect("an answer")
    }

    /// Ends the sending, though more was announced.
    pub(crate) fn end_early(mut self) -> Option<Answer> {
        match &mut self {
            Self::Http1 { wire, .. } => wire.end_sending(),
            Self::Http2(stream) => {
                let _ = stream.sending.send_data(Bytes::new(), true);
            }
            Self::Http3(flight) => {
                let _ = flight.runtime.block_on(flight.stream.finish());
            }
            Self::Broken => unreachable!(),
        }
        self.answer()
    }

    fn end(&mut self, trailers: &[(&str, &str)]) {
        match self {
            Self::Http1 { chunked: false, .. } => assert!(trailers.is_empty()),
            Self::Http1 {
                wire,
                chunked: true,
            } => {
                let lines = trailers.iter();
                let lines = lines.map(|(name, value)| format!("{name}: {value}\r\n"));
                wire.send(format!("0\r\n{}\r\n", lines.collect::<String>()));
            }
            Self::Http2(stream) if trailers.is_empty() => {
                let _ = stream.sending.send_data(Bytes::new(), true);
            }
            Self::Http2(stream) => {
                let fields = trailers.iter().map(|(name, value)| {
                    let name: HeaderName = name.parse().unwrap();
                    (name, HeaderValue::from_str(value).unwrap())
                });
                let fields: HeaderMap = fields.collect();
                let _ = stream.sending.send_trailers(fields);
            }
            Self::Http3(flight) => {
                let fields = trailers.iter().map(|(name, value)| {
                    let name: HeaderName = name.parse().unwrap();
                    (name, HeaderValue::from_str(value).unwrap())
                });
                let fields: HeaderMap = fields.collect();
                let stream = &mut flight.stream;
                // The server may have wanted no more of it; its answer tells.
                let _ = flight.runtime.block_on(async {
                    if !fields.is_empty() {
                        stream.send_trailers(fields).await?;
                    }
                    stream.finish().await
                });
            }
            Self::Broken => unreachable!(),
        }
    }

    /// The answer, whether the body has ended or not. None where the server cut the connection or reset the stream.
    pub(crate) fn answer(self) -> Option<Answer> {
        Some(self.answers()?.1)
    }

    fn answers(self) -> Option<(Vec<Answer>, Answer)> {
        match self {
            Self::Http1 { mut wire, .. } => {
                let mut interims = Vec::new();
                let mut head = wire.try_head().ok()?;
                while head.status < 200 {
                    interims.push(head);
                    head = wire.try_head().ok()?;
                }
                let answer = wire.try_rest(head, &Method::PATCH).ok()?;
                Some((interims, answer))
            }
            Self::Http2(stream) => stream.answers(),
            Self::Http3(flight) => flight.answers(),
            Self::Broken => unreachable!(),
        }
    }

    /// Breaks the body off. For a reset stream its connection stays until this is dropped.
    pub(crate) fn break_off(&mut self, how: Break) {
        match (how, self) {
            (Break::Reset, Self::Http2(stream)) => stream.sending.send_reset(Reason::CANCEL),
            (Break::Quiet, Self::Http2(stream)) => stream.sending.send_reset(Reason::NO_ERROR),
            (Break::Reset, Self::Http3(flight)) => flight.reset(Code::H3_REQUEST_CANCELLED),
            (Break::Quiet, Self::Http3(flight)) => flight.reset(Code::H3_NO_ERROR),
            (Break::Quiet, Self::Http1 { wire, .. }) => wire.end_sending(),
            (how, flight) => match (how, std::mem::replace(flight, Self::Broken)) {
                (Break::Reset, Self::Http1 { wire, .. }) => wire.reset(),
                (_, Self::Http3(flight)) => flight.close(),
                (_, flight) => drop(flight),
            },
        }
    }
}

impl Http3Stream {
    fn begin(server: &Server<'_>, request: Request<()>) -> Self {
        let config = trusting(&server.ca(), &TLS13, Protocol::Http3);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let (connection, stream) = runtime.block_on(async {
            let mut connection = Http3::connect(server.address, config).await.unwrap();
            let stream = connection.begin(request).await.unwrap();
            (connection, stream)
        });
        Self {
            runtime,
            connection,
            stream,
        }
    }

    fn answers(mut self) -> Option<(Vec<Answer>, Answer)> {
        let answer = http3::answer(&mut self.stream);
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, answer).await });
        let answer = answer.unwrap().ok()?;
        self.runtime.block_on(self.connection.close());
        Some((Vec::new(), answer))
    }

    /// Goes on from another socket.
    pub(crate) fn rebind(&self, socket: std::net::UdpSocket) {
        let _in_it = self.runtime.enter();
        self.connection.rebind(socket);
    }

    fn reset(&mut self, code: Code) {
        let _in_it = self.runtime.enter();
        self.stream.stop_stream(code);
    }

    fn close(self) {
        self.runtime.block_on(self.connection.close());
    }
}

impl Stream {
    fn begin(server: &Server<'_>, request: Request<()>) -> Self {
        let config = trusting(&server.ca(), &TLS13, Protocol::Http2);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let (connection, (response, sending)) = runtime.block_on(async {
            let tls = connect_http2(server.address, config).await;
            let (mut sender, connection) = h2::client::handshake(tls).await.unwrap();
            tokio::spawn(connection);
            let begun = sender.send_request(request, false).unwrap();
            (sender, begun)
        });
        Self {
            runtime,
            connection,
            sending,
            response,
        }
    }

    fn answers(self) -> Option<(Vec<Answer>, Answer)> {
        let Self {
            runtime,
            response,
            // Dropped before its time, the one would reset the stream, the other end the connection.
            sending: _sending,
            connection: _connection,
        } = self;
        answers_to(&runtime, response)
    }

    /// Sends another request on the same connection, without a body.
    pub(crate) fn beside(
        &mut self,
        server: &Server<'_>,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        let uri = format!("https://{}{path}", server.address);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (response, _) = self.connection.send_request(request, true).ok()?;
        Some(answers_to(&self.runtime, response)?.1)
    }
}

fn answers_to(runtime: &Runtime, mut response: ResponseFuture) -> Option<(Vec<Answer>, Answer)> {
    let mut interims = Vec::new();
    let answers = async {
        let response = poll_fn(|cx| {
            while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                interims.push(Answer {
                    status: interim.status().as_u16(),
                    headers: interim.into_parts().0.headers,
                    body: Vec::new(),
                });
            }
            Pin::new(&mut response).poll(cx)
        });
        let (head, mut incoming) = response.await.ok()?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = incoming.data().await {
            let piece = piece.ok()?;
            body.extend_from_slice(&piece);
            let _ = incoming.flow_control().release_capacity(piece.len());
        }
        let answer = Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        };
        Some(answer)
    };
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, answers).await });
    Some((interims, answer.unwrap()?))
}
