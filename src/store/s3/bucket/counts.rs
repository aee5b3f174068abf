//! What was asked of an engine, and how much.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use object_store::client::HttpRequest;

use super::RequestCounts;

/// Counts requests, from many threads.
#[derive(Debug, Default)]
pub(super) struct Counts {
    put: AtomicU64,
    get: AtomicU64,
    head: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    part: AtomicU64,
    other: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Get,
    Head,
    List,
    Delete,
    Part,
    /// Many deletions, the beginning and end of a multipart upload, copies, temporary credentials: these take their time.
    Slow,
}

impl Kind {
    /// What a request is for.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| {
            let mut names = query.split('&').map(|pair| pair.split('=').next());
            names.any(|known| known == Some(name))
        };
        match *request.method() {
            Method::PUT if has("partNumber") => Self::Part,
            Method::PUT if request.headers().contains_key("x-amz-copy-source") => Self::Slow,
            Method::PUT => Self::Put,
            Method::GET if has("list-type") => Self::List,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::DELETE => Self::Delete,
            Method::POST if has("delete") => Self::Delete,
            _ => Self::Slow,
        }
    }

    /// Whether all that is asked for is an answer, which most often comes at once.
    pub(super) fn only_asks(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::List)
    }
}

impl Counts {
    pub(super) fn request(&self, kind: Kind, bytes: u64, again: bool) {
        let counter = match kind {
            Kind::Put => &self.put,
            Kind::Get => &self.get,
            Kind::Head => &self.head,
            Kind::List => &self.list,
            Kind::Delete => &self.delete,
            Kind::Part => &self.part,
            Kind::Slow => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        self.retried.fetch_add(u64::from(again), Ordering::Relaxed);
    }

    pub(super) fn answer(&self, bytes: u64, fine: bool) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(!fine), Ordering::Relaxed);
    }

    pub(super) fn so_far(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            put: read(&self.put),
            get: read(&self.get),
            head: read(&self.head),
            list: read(&self.list),
            delete: read(&self.delete),
            part: read(&self.part),
            other: read(&self.other),
            bytes_out: read(&self.bytes_out),
            bytes_in: read(&self.bytes_in),
            failed: read(&self.failed),
            retried: read(&self.retried),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    #[test]
    fn what_a_request_is_for_is_told_by_its_head() {
        for (method, uri, kind) in [
            (Method::PUT, "/b/partNumber", Kind::Put),
            (Method::PUT, "/b/k?partNumber=1&uploadId=x", Kind::Part),
            (Method::GET, "/b/k", Kind::Get),
            (Method::GET, "/b?list-type=2&prefix=delete", Kind::List),
            (Method::HEAD, "/b/k", Kind::Head),
            (Method::DELETE, "/b/k?uploadId=x", Kind::Delete),
            (Method::POST, "/b?delete", Kind::Delete),
            (Method::POST, "/b/k?uploads=", Kind::Slow),
            (Method::POST, "/b/delete?uploadId=x", Kind::Slow),
        ] {
            let mut request = HttpRequest::new(HttpRequestBody::empty());
            *request.method_mut() = method;
            *request.uri_mut() = uri.parse().unwrap();
            assert_eq!(Kind::of(&request), kind, "{uri}");
        }
        let mut copy = HttpRequest::new(HttpRequestBody::empty());
        *copy.method_mut() = Method::PUT;
        let source = "b/k".parse().unwrap();
        copy.headers_mut().insert("x-amz-copy-source", source);
        assert_eq!(Kind::of(&copy), Kind::Slow);
    }
}
