//! Plain HTTP, for one thing: to send browsers on to HTTPS. It also answers certificate authorities that look whether a name leads
//! here (http-01). It reads no body and knows no upload.

use std::convert::Infallible;
use std::fmt;
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ACCEPT_REST;
use super::handshakes::Handshakes;
use crate::acme::HttpChallenges;
use crate::http::ClientNetwork;

/// Where authorities look (RFC 8555, section 8.3).
const CHALLENGE: &str = "/.well-known/acme-challenge/";
/// Connections at the same time, half of them from one address; where there are more, the one that has been there longest gives way. A
/// connection is for one request, and short.
const MAX_CONNECTIONS: usize = 256;
/// How long a request's headers may take, and all of a connection.
const HEADERS: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);
/// The most headers of a request, and the most bytes that they may have: the least that hyper can do.
const MAX_HEADERS: usize = 64;
const MAX_BUFFER: usize = 8 << 10;
/// How long, and for how many bytes, what a client still sends is thrown away, so that it gets to see the answer. Where more is on its way
/// when the connection is closed, the client is cut off, and many do not look then whether there was an answer.
const LINGER: Duration = Duration::from_secs(5);
const MAX_LINGER: usize = 16 << 20;

/// Whether a host, without its port, is a name of this server.
pub type Covers = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What plain HTTP is answered with.
#[derive(Clone)]
pub struct Plain {
    /// The port of HTTPS.
    pub port: u16,
    /// The name that is sent on to where a request names none of this server's.
    pub name: Option<String>,
    /// What the names of this server are.
    pub covers: Covers,
    /// What authorities are answered.
    pub challenges: HttpChallenges,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").finish_non_exhaustive()
    }
}

/// Serves plain HTTP until `stop`. Connections that are open then are soon over by themselves.
pub async fn serve_plain(listener: TcpListener, plain: Plain, stop: CancellationToken) {
    let plain = Arc::new(plain);
    // The rules for who gives way are those of handshakes; nothing here takes turns.
    let places = Handshakes::new(MAX_CONNECTIONS, 1);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let plain = Arc::clone(&plain);
                let (place, lost) = places.enter();
                place.belongs_to(ClientNetwork::of(address.ip().to_canonical()));
                connections.spawn(async move {
                    let _place = place;
                    tokio::select! {
                        _ = timeout(WHOLE, answer_one(stream, &plain)) => {}
                        () = lost.happens() => {}
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a plain connection");
                sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Answers the one request of a connection.
async fn answer_one(stream: TcpStream, plain: &Plain) {
    let service =
        service_fn(|request: Request<Incoming>| ready(Ok::<_, Infallible>(plain.answer(&request))));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Nothing of what goes wrong is logged: it may hold what was asked for.
    let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    // A client that still sends would be cut off before it reads why.
    let mut stream = connection.into_parts().io.into_inner();
    if stream.shutdown().await.is_ok() {
        let _ = timeout(LINGER, discard(&mut stream)).await;
    }
}

async fn discard(stream: &mut TcpStream) {
    let (mut piece, mut left) = ([0; 4096], MAX_LINGER);
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}

impl Plain {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let reading = [Method::GET, Method::HEAD].contains(request.method());
        let path = request.uri().path();
        if let Some(token) = path.strip_prefix(CHALLENGE).filter(|_| reading) {
            return match self.challenges.answer(token) {
                Some(answer) => text(StatusCode::OK, answer),
                None => text(StatusCode::NOT_FOUND, "no such challenge\n".into()),
            };
        }
        if !reading {
            let refusal = "This is plain HTTP: nothing is taken here. Use https://. What was sent has crossed the network in the \
                           clear: consider it seen, and change what was secret in it, tokens and links too.\n";
            return text(StatusCode::FORBIDDEN, refusal.to_owned());
        }
        self.location(request).map_or_else(
            || text(StatusCode::BAD_REQUEST, "Use https://.\n".to_owned()),
            |location| {
                let mut response = text(StatusCode::PERMANENT_REDIRECT, String::new());
                response.headers_mut().insert(LOCATION, location);
                response
            },
        )
    }

    /// The same over HTTPS: at the host that was asked for where it is one of ours, and never anywhere else.
    fn location<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let asked = hosts.next().filter(|_| hosts.next().is_none());
        let asked = asked.and_then(|host| host.to_str().ok());
        let asked = asked.map(|host| without_port(host).to_ascii_lowercase());
        let host = asked.filter(|host| (self.covers)(unbracketed(host)));
        let host = match host {
            Some(host) => host,
            None => bracketed(self.name.as_deref()?),
        };
        let path = request.uri().path_and_query()?.as_str();
        if !path.starts_with('/') {
            return None;
        }
        let location = match self.port {
            443 => format!("https://{host}{path}"),
            port => format!("https://{host}:{port}{path}"),
        };
        location.parse().ok()
    }
}

/// `Host` without its port (RFC 9110, section 7.2).
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

fn unbracketed(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

fn bracketed(name: &str) -> String {
    if name.contains(':') {
        format!("[{name}]")
    } else {
        name.to_owned()
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    // A redirect that a browser kept would outlive another setting of ports and names.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(port: u16, names: &'static [&'static str]) -> Plain {
        Plain {
            port,
            name: names.first().map(|name| (*name).to_owned()),
            covers: Arc::new(move |host| names.contains(&host)),
            challenges: HttpChallenges::default(),
        }
    }

    fn location(plain: &Plain, host: Option<&str>, target: &str) -> Option<String> {
        let mut request = Request::get(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let response = plain.answer(&request.body(()).unwrap());
        let location = response.headers().get(LOCATION)?;
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        Some(location.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_request_is_sent_on_to_the_same_place_over_https() {
        let names = &["a.example.org", "b.example.org", "2001:db8::1"];
        let ours = plain(443, names);
        let to = |host, target| location(&ours, Some(host), target).unwrap();
        assert_eq!(
            to("b.example.org", "/d/x?y=z"),
            "https://b.example.org/d/x?y=z"
        );
        assert_eq!(to("B.Example.ORG:80", "/"), "https://b.example.org/");
        assert_eq!(to("[2001:db8::1]:80", "/"), "https://[2001:db8::1]/");
        let elsewhere = plain(8443, names);
        let to = location(&elsewhere, Some("a.example.org:8080"), "/p");
        assert_eq!(to.unwrap(), "https://a.example.org:8443/p");
    }

    #[test]
    fn nobody_is_sent_to_a_host_of_somebody_elses_choice() {
        let ours = plain(443, &["a.example.org"]);
        for host in [
            Some("evil.example"),
            Some("a.example.org.evil.example"),
            Some("a.example.org@evil.example"),
            Some("evil.example#a.example.org"),
            Some("a.example.org:80:80"),
            Some("a.example.org/"),
            Some("[a.example.org"),
            Some(""),
            None,
        ] {
            let to = location(&ours, host, "/p").unwrap();
            assert_eq!(to, "https://a.example.org/p", "{host:?}");
        }
        // The form for proxies (RFC 9112, section 3.2.2).
        let to = location(&ours, Some("a.example.org"), "http://evil.example/p");
        assert_eq!(to.unwrap(), "https://a.example.org/p");
        let to = location(&ours, Some("a.example.org"), "//evil.example/p");
        assert_eq!(to.unwrap(), "https://a.example.org//evil.example/p");
        let nameless = plain(443, &[]);
        assert_eq!(location(&nameless, Some("evil.example"), "/"), None);
    }

    #[test]
    fn two_hosts_are_none() {
        let ours = plain(443, &["a.example.org", "b.example.org"]);
        let request = Request::get("/").header(HOST, "b.example.org");
        let request = request.header(HOST, "evil.example").body(()).unwrap();
        let response = ours.answer(&request);
        assert_eq!(response.headers()[LOCATION], "https://a.example.org/");
    }

    #[test]
    fn whatever_would_bring_something_is_refused() {
        let ours = plain(443, &["a.example.org"]);
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            for path in ["/uploads", "/.well-known/acme-challenge/token"] {
                let request = Request::builder().method(method).uri(path);
                let response = ours.answer(&request.body(()).unwrap());
                assert_eq!(response.status(), StatusCode::FORBIDDEN, "{method} {path}");
                assert!(!response.headers().contains_key(LOCATION));
            }
        }
        let unknown = Request::get("/.well-known/acme-challenge/token").body(());
        let response = ours.answer(&unknown.unwrap());
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}
