//! What tests of resumable uploads have in common, and what both protocols promise.

mod capability;
mod cors;
mod interrupted;
mod restarted;
mod visibility;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::Request;
use rustix::process::Signal;
use rustls::version::TLS13;
use serde_json::Value;

use crate::client::{Answer, Protocol};
use crate::flight::Flight;
use crate::program::Bench;
use crate::server::{Opened, Server, wait_until};
use crate::store::in_bucket;

/// More than both buffers of an upload hold, so that something is staged while more is still to come.
pub(crate) const PART: usize = 768 * 1024;
/// So much of a [`PART`] is on disk at some time, whether the body ends or not.
pub(crate) const STAGED: usize = 256 * 1024;

/// Runs a test over every version of HTTP, against one server.
pub(crate) fn over_both(args: &[&str], test: impl Fn(&mut Client<'_>)) {
    let bench = Bench::new();
    let mut client = Client {
        bench: &bench,
        server: Server::sealing(&bench, args),
        args,
        protocol: Protocol::Http1,
        entries: AtomicU32::new(0),
    };
    for protocol in Protocol::ALL {
        // Shown where the test fails.
        println!("over {protocol:?}");
        client.protocol = protocol;
        test(&mut client);
    }
}

/// Speaks one protocol with a server.
pub(crate) struct Client<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) server: Server<'a>,
    args: &'a [&'a str],
    pub(crate) protocol: Protocol,
    /// Those of the upload in the bucket whose body began last, before it did.
    entries: AtomicU32,
}

impl Client<'_> {
    #[track_caller]
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = self.try_request(method, path, headers, body);
        answer.expect("an answer")
    }

    /// None where there is no answer.
    pub(crate) fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_vec()).unwrap();
        let answer = self.server.try_send_over(self.protocol, &TLS13, request);
        answer.ok()
    }

    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Flight {
        if in_bucket() && path.starts_with("/uploads/") {
            self.entries.store(self.bench.entries(id_of(path)), Relaxed);
        }
        Flight::begin(&self.server, self.protocol, (method, path), headers)
    }

    /// Ends the server in this way, and starts it again on the same folders.
    pub(crate) fn restart(&mut self, signal: Signal) {
        self.server.signal(signal);
        self.server.ended();
        self.server = Server::sealing(self.bench, self.args);
    }

    /// What an upload URL's upload has become, opened without the server.
    #[track_caller]
    pub(crate) fn opened(&self, url: &str) -> Opened {
        self.bench.open_stored(&Value::from(id_of(url)))
    }

    pub(crate) fn is_listed(&self, url: &str) -> bool {
        self.server.listed().iter().any(|id| id == id_of(url))
    }

    /// How many sealed bytes are staged for an upload, in a folder.
    fn staged(&self, url: &str) -> u64 {
        let folder = self.bench.path("data/staging").join(id_of(url));
        let files = fs::read_dir(folder).into_iter().flatten();
        let sizes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
        sizes.sum()
    }

    /// Waits until enough of a [`PART`] has arrived, beyond this offset, of the body that began last.
    #[track_caller]
    pub(crate) fn wait_staged(&self, url: &str, offset: usize) {
        if in_bucket() {
            // An object is there only when it is whole. Its key is noted when a first buffer is sealed, and more is to come.
            return wait_until("a segment has begun", || {
                self.bench.entries(id_of(url)) > self.entries.load(Relaxed)
            });
        }
        let enough = u64::try_from(offset + STAGED).unwrap();
        wait_until("a part is staged", || self.staged(url) >= enough);
    }

    /// The files that the server holds for an upload that is not finished.
    pub(crate) fn unfinished_files(&self, url: &str) -> Vec<String> {
        if in_bucket() {
            let mut sessions = self.bench.sessions();
            sessions.retain(|id| id == id_of(url));
            return sessions;
        }
        ["data/staging", "data/sessions"]
            .into_iter()
            .flat_map(|folder| fs::read_dir(self.bench.path(folder)).into_iter().flatten())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(id_of(url)))
            .collect()
    }

    /// Soon nothing is left of an upload that was not finished, and nothing is listed in its place.
    #[track_caller]
    pub(crate) fn wait_gone(&self, url: &str) {
        wait_until("the upload is removed", || {
            self.unfinished_files(url).is_empty()
        });
        assert!(!self.is_listed(url));
    }
}

/// The id in an upload URL.
#[track_caller]
pub(crate) fn id_of(url: &str) -> &str {
    let name = url.strip_prefix("/uploads/").expect(url);
    name.split('.').next().unwrap()
}

/// An `Upload-Limit`, each value an integer (RFC 9651, section 3.2).
#[track_caller]
pub(crate) fn limits(answer: &Answer) -> BTreeMap<String, u64> {
    let limits = answer.header("upload-limit").split(',').map(|limit| {
        let (key, value) = limit.trim().split_once('=').expect("a value");
        (key.to_owned(), value.parse().expect("an integer"))
    });
    limits.collect()
}
