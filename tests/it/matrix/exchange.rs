//! Requests and their answers, on connections that are kept: one for each certificate.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h3::error::Code;
use http::uri::{self, Scheme};
use http::{Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::version::TLS13;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::callers::Certificates;
use crate::client::{Answer, PATIENCE, Protocol, Wire, connect_http2, head_of, runtime, trusting};
use crate::http3::{Http3, answer};

/// Connections to one address.
pub(super) struct Lines {
    address: SocketAddr,
    protocol: Protocol,
    configs: BTreeMap<&'static str, Arc<ClientConfig>>,
    http1: BTreeMap<&'static str, Wire>,
    http2: BTreeMap<&'static str, SendRequest<Content>>,
    http3: BTreeMap<&'static str, Http3>,
    runtime: Runtime,
}

impl Lines {
    pub(super) fn new(
        address: SocketAddr,
        ca: &Path,
        certificates: &Certificates,
        protocol: Protocol,
    ) -> Self {
        let nobody = trusting(ca, &TLS13, protocol);
        let mut configs = BTreeMap::from([("", Arc::clone(&nobody))]);
        for (name, client) in &certificates.clients {
            let mut config = (*client.config(ca, &TLS13)).clone();
            config.alpn_protocols.clone_from(&nobody.alpn_protocols);
            configs.insert(*name, Arc::new(config));
        }
        Self {
            address,
            protocol,
            configs,
            http1: BTreeMap::new(),
            http2: BTreeMap::new(),
            http3: BTreeMap::new(),
            runtime: runtime(),
        }
    }

    /// Asks. The body is sent only where it is asked for: by `100 Continue`, and over HTTP/2 and HTTP/3, where that is `welcome`.
    ///
    /// # Errors
    /// No answer came.
    pub(super) fn ask(
        &mut self,
        certificate: &'static str,
        request: Request<Vec<u8>>,
        welcome: bool,
    ) -> Result<Said, String> {
        match self.protocol {
            Protocol::Http1 => self
                .ask_http1(certificate, request)
                .map_err(|error| error.to_string()),
            Protocol::Http2 => self.ask_http2(certificate, request, welcome),
            Protocol::Http3 => self.ask_http3(certificate, request, welcome),
        }
    }

    fn ask_http1(
        &mut self,
        certificate: &'static str,
        mut request: Request<Vec<u8>>,
    ) -> io::Result<Said> {
        let mut wire = match self.http1.remove(certificate) {
            Some(wire) => wire,
            None => Wire::connect(self.address, Arc::clone(&self.configs[certificate]))?,
        };
        let has_body = !request.body().is_empty();
        if has_body {
            request
                .headers_mut()
                .insert("expect", "100-continue".parse().unwrap());
        }
        wire.try_send(head_of(&request, self.address))?;
        let mut head = wire.try_head()?;
        let asked_for = head.status == 100;
        if asked_for {
            wire.try_send(request.body())?;
            head = wire.try_head()?;
        }
        let answer = wire.try_rest(head, request.method());
        let answer = answer.map_err(|(error, _)| error)?;
        let ends = answer
            .headers
            .get("connection")
            .is_some_and(|value| value == "close");
        if !ends && asked_for == has_body {
            self.http1.insert(certificate, wire);
        }
        Ok(Said { answer, asked_for })
    }

    /// The whole URL of a request's path.
    fn url(&self, path: &Uri) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.address.to_string().parse().unwrap());
        parts.path_and_query = path.path_and_query().cloned();
        Uri::from_parts(parts).unwrap()
    }

    fn ask_http3(
        &mut self,
        certificate: &'static str,
        request: Request<Vec<u8>>,
        welcome: bool,
    ) -> Result<Said, String> {
        let (mut head, body) = request.into_parts();
        head.uri = self.url(&head.uri);
        let asked_for = welcome && !body.is_empty();
        let ends = welcome || body.is_empty();
        let (address, config) = (self.address, Arc::clone(&self.configs[certificate]));
        let kept = self.http3.get(certificate).cloned();
        let exchange = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => Http3::connect(address, config).await?,
            };
            let mut stream = connection.begin(Request::from_parts(head, ())).await?;
            if asked_for {
                let sent = stream.send_data(body.into()).await;
                sent.map_err(io::Error::other)?;
            }
            if ends {
                stream.finish().await.map_err(io::Error::other)?;
            }
            let answer = answer(&mut stream).await.map_err(|(error, _)| error)?;
            // What was not asked for never goes out.
            stream.stop_stream(Code::H3_REQUEST_CANCELLED);
            Ok::<_, io::Error>((answer, connection))
        };
        let in_time = async { tokio::time::timeout(PATIENCE, exchange).await };
        let said = self.runtime.block_on(in_time);
        let said = said.map_err(|_| "no answer came: it waits for a body".to_owned())?;
        let (answer, connection) = said.map_err(|error| error.to_string())?;
        self.http3.insert(certificate, connection);
        Ok(Said { answer, asked_for })
    }

    fn ask_http2(
        &mut self,
        certificate: &'static str,
        request: Request<Vec<u8>>,
        welcome: bool,
    ) -> Result<Said, String> {
        let (mut head, body) = request.into_parts();
        head.uri = self.url(&head.uri);
        let asked_for = welcome && !body.is_empty();
        let (release, held_back) = oneshot::channel::<()>();
        let content = Content {
            held_back: (!welcome).then_some(held_back),
            left: (!body.is_empty()).then(|| body.into()),
        };
        let request = Request::from_parts(head, content);
        let (address, config) = (self.address, Arc::clone(&self.configs[certificate]));
        let kept = self.http2.get(certificate).cloned();
        let exchange = async {
            let mut sender = if let Some(sender) = kept {
                sender
            } else {
                let tls = TokioIo::new(connect_http2(address, config).await);
                let http2 = hyper::client::conn::http2::handshake(TokioExecutor::new(), tls);
                let (sender, connection) = http2.await?;
                tokio::spawn(connection);
                sender
            };
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            // What was not asked for goes out now, so that the stream is over.
            drop(release);
            let body = body.collect().await?.to_bytes().into();
            let answer = Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            };
            Ok::<_, hyper::Error>((answer, sender))
        };
        let in_time = async { tokio::time::timeout(PATIENCE, exchange).await };
        let said = self.runtime.block_on(in_time);
        let said = said.map_err(|_| "no answer came: it waits for a body".to_owned())?;
        let (answer, sender) = said.map_err(|error| format!("{error:?}"))?;
        self.http2.insert(certificate, sender);
        Ok(Said { answer, asked_for })
    }
}

/// What came of a request.
pub(super) struct Said {
    pub(super) answer: Answer,
    /// Whether the server asked for its body.
    pub(super) asked_for: bool,
}

/// A request's body, which may be held back.
struct Content {
    /// Until this ends.
    held_back: Option<oneshot::Receiver<()>>,
    left: Option<Bytes>,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(held_back) = &mut self.held_back
            && Pin::new(held_back).poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        self.held_back = None;
        Poll::Ready(self.left.take().map(|content| Ok(Frame::data(content))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.as_ref().map_or(0, |content| content.len() as u64))
    }
}
