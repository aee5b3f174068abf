//! HTTPS to a certificate authority: a connection for each request, all of it under deadlines, and answers of a bounded size.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::renewal::LONGEST_ASKED;

/// For finding the authority, connecting and the handshake.
const CONNECT: Duration = Duration::from_secs(15);
/// For all of a request and its answer.
const WHOLE: Duration = Duration::from_mins(1);
/// The largest answer, in bytes. The largest that is meant to come is a chain of certificates.
const MAX_ANSWER: usize = 256 << 10;
/// What the authority is told of who asks (RFC 8555, section 6.1).
const AGENT: &str = concat!("sealslot/", env!("CARGO_PKG_VERSION"), " instant-acme/0.8");

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// A URL of the authority is not one of HTTPS.
    #[error("the authority gave {:?}, which is no https URL", super::shortened(.0))]
    Url(String),
    /// Nobody is there, or somebody else.
    #[error("cannot connect to {0}")]
    Connect(String, #[source] io::Error),
    /// Nothing happened for too long.
    #[error("{0} took too long to answer")]
    TimedOut(String),
    /// The connection did not last.
    #[error("the connection to {0} broke")]
    Broken(String, #[source] hyper::Error),
    /// The answer did not come to its end.
    #[error("the answer of {0} cannot be read")]
    Answer(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// It may answer later.
    #[error("{0} answered {status}", status = .1.as_u16())]
    Unwell(String, StatusCode),
}

/// When an authority that refuses asks to be asked again, from the last such answer.
#[derive(Clone, Default)]
pub(super) struct RetryAfter(Arc<Mutex<Option<SystemTime>>>);

impl RetryAfter {
    /// Gives it, and forgets it.
    pub(super) fn take(&self) -> Option<SystemTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<T>(&self, response: &Response<T>) {
        if response.status().is_client_error() || response.status().is_server_error() {
            let asked = parse_retry_after(response.headers().get(RETRY_AFTER), SystemTime::now());
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        }
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3) as a point in time.
fn parse_retry_after(value: Option<&HeaderValue>, now: SystemTime) -> Option<SystemTime> {
    let text = value?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => now.checked_add(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok(),
    }
}

/// Leaves of `Retry-After` what may be reckoned with: instant-acme adds it to the clock, which has an end.
fn bound_retry_after<T>(response: &mut Response<T>, now: SystemTime) {
    let headers = response.headers_mut();
    let Some(asked) = headers.remove(RETRY_AFTER) else {
        return;
    };
    if let Some(asked) = parse_retry_after(Some(&asked), now) {
        let wait = asked.duration_since(now).unwrap_or_default();
        headers.insert(RETRY_AFTER, wait.min(LONGEST_ASKED).as_secs().into());
    }
}

/// Asks an authority.
pub(super) struct AuthorityClient {
    tls: Arc<ClientConfig>,
    retry_after: RetryAfter,
}

impl AuthorityClient {
    pub(super) fn new(tls: Arc<ClientConfig>, retry_after: RetryAfter) -> Self {
        Self { tls, retry_after }
    }
}

impl HttpClient for AuthorityClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (tls, retry_after) = (Arc::clone(&self.tls), self.retry_after.clone());
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let answer = timeout(WHOLE, send(tls, request)).await;
            let answer = answer.unwrap_or_else(|_| Err(RequestError::TimedOut(host.clone())));
            let mut answer = answer.map_err(|error| Error::Other(error.into()))?;
            retry_after.note(&answer);
            bound_retry_after(&mut answer, SystemTime::now());
            // What is no problem document would be told as malformed JSON.
            if answer.status().is_server_error() {
                let error = RequestError::Unwell(host, answer.status());
                return Err(Error::Other(error.into()));
            }
            Ok(answer.into())
        })
    }
}

async fn send(
    tls: Arc<ClientConfig>,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, RequestError> {
    let url = request.uri().clone();
    let not_https = || RequestError::Url(url.to_string());
    let host = url.authority().ok_or_else(not_https)?.clone();
    if url.scheme() != Some(&Scheme::HTTPS) {
        return Err(not_https());
    }
    let server = host.host().to_owned();
    let stream = timeout(
        CONNECT,
        connect(tls, &server, host.port_u16().unwrap_or(443)),
    )
    .await;
    let stream = stream.map_err(|_| RequestError::TimedOut(server.clone()))??;
    let request = directed(request, host.as_str()).map_err(|_| not_https())?;
    let broken = |error| RequestError::Broken(server.clone(), error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Both at once: the connection moves only while it is polled, and it is over when the answer is.
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| {
            let error = match error.downcast::<LengthLimitError>() {
                Ok(_) => format!("it is larger than {MAX_ANSWER} bytes").into(),
                Err(error) => error,
            };
            RequestError::Answer(server.clone(), error)
        })?;
        Ok(Response::from_parts(head, Full::new(body.to_bytes())))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // An answer that came before the end is still there to be read.
        _ = connection => exchange.await,
    }
}

/// The request as it goes over a connection to its host.
fn directed(
    request: Request<BodyWrapper<Bytes>>,
    host: &str,
) -> Result<Request<BodyWrapper<Bytes>>, http::Error> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse::<Uri>()?;
    head.headers.insert(HOST, HeaderValue::from_str(host)?);
    head.headers
        .insert(USER_AGENT, HeaderValue::from_static(AGENT));
    Ok(Request::from_parts(head, body))
}

async fn connect(
    tls: Arc<ClientConfig>,
    host: &str,
    port: u16,
) -> Result<TlsStream<TcpStream>, RequestError> {
    let failed = |error| RequestError::Connect(host.to_owned(), error);
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let bare = bare.unwrap_or(host);
    let name = ServerName::try_from(bare.to_owned());
    let name = name.map_err(|_| RequestError::Url(host.to_owned()))?;
    let tcp = TcpStream::connect((bare, port)).await.map_err(failed)?;
    TlsConnector::from(tls)
        .connect(name, tcp)
        .await
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_ask_again_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let read = |text| parse_retry_after(Some(&HeaderValue::from_static(text)), now);
        assert_eq!(read("120"), Some(now + Duration::from_mins(2)));
        assert_eq!(
            read("Mon, 12 Jan 1970 13:46:41 GMT"),
            Some(now + Duration::from_secs(1))
        );
        for text in [
            "",
            "soon",
            "-1",
            "18446744073709551616",
            "18446744073709551615",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(parse_retry_after(None, now), None);
    }

    #[test]
    fn what_is_asked_for_is_bounded_before_anybody_reckons_with_it() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (asked, left) in [
            ("120", Some("120")),
            ("Mon, 12 Jan 1970 13:46:45 GMT", Some("5")),
            ("Mon, 12 Jan 1970 13:00:00 GMT", Some("0")),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some("86400")),
            ("99999999999", Some("86400")),
            ("18446744073709551615", None),
            ("soon", None),
        ] {
            let mut response = Response::new(());
            let asked = HeaderValue::from_static(asked);
            response.headers_mut().insert(RETRY_AFTER, asked.clone());
            bound_retry_after(&mut response, now);
            let bounded = response.headers().get(RETRY_AFTER);
            assert_eq!(
                bounded.map(|value| value.to_str().unwrap()),
                left,
                "{asked:?}"
            );
        }
    }

    #[test]
    fn a_request_names_its_host_and_only_its_path() {
        let request =
            Request::get("https://ca.example.org:14000/dir?x=1").body(BodyWrapper::default());
        let request = directed(request.unwrap(), "ca.example.org:14000").unwrap();
        assert_eq!(request.uri(), "/dir?x=1");
        assert_eq!(request.headers()[HOST], "ca.example.org:14000");
    }
}
