//! `sealslot serve` as a process of its own, on a port of its own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request};
use rustix::process::{Pid, Signal, kill_process};
use rustls::version::TLS13;
use sealslot::upload::OpenUpload;
use serde_json::Value;

use crate::client::{Answer, Multipart, PATIENCE, Protocol, Wire, head_of, send_http2, trusting};
use crate::http3::send_http3;
use crate::program::{Bench, Ran};
use crate::store::{A_PART, ENOUGH_TO_STAGE, in_bucket};

/// Waits for something that is about to become true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running server; killed when it is dropped.
pub(crate) struct Server<'a> {
    pub(crate) bench: &'a Bench,
    child: Child,
    pub(crate) address: SocketAddr,
}

impl<'a> Server<'a> {
    /// Seals to the bench's recipient; holds no private key.
    pub(crate) fn sealing(bench: &'a Bench, args: &[&str]) -> Self {
        let recipient = Bench::recipient_text();
        Self::start(bench, &[&["--recipient", &recipient], args].concat(), &[])
    }

    /// Seals to the bench's recipient, and holds its private key.
    pub(crate) fn opening(bench: &'a Bench, args: &[&str]) -> Self {
        Self::start(bench, &[&["--identity", "key"], args].concat(), &[])
    }

    pub(crate) fn start(bench: &'a Bench, args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_command(bench, bench.command(["serve"]), args, environment)
    }

    /// Starts a command that becomes `sealslot serve` with the arguments that follow.
    pub(crate) fn start_command(
        bench: &'a Bench,
        mut command: Command,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let log = bench.path("server.log");
        let said_before = fs::read(&log).map_or(0, |log| log.len());
        let output = OpenOptions::new().create(true).append(true).open(&log);
        let output: File = output.unwrap();
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let settled = environment
            .iter()
            .any(|(name, _)| *name == "SEALSLOT_HTTP3");
        if !settled && !args.contains(&"--proxy-protocol") {
            command.arg("--http3");
        }
        if !args.contains(&"--failure-delay") {
            // Many tests show what is not known on purpose.
            command.args(["--failure-delay", "0s"]);
        }
        command.args(args).envs(environment.iter().copied());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let mut child = command.spawn().unwrap();
        let mut address = None;
        wait_until("the server listens", || {
            let said = String::from_utf8(fs::read(&log).unwrap().split_off(said_before)).unwrap();
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "{said}");
            // Its last line has been written with the first, in one piece.
            let line = said.split_once("listening on https://");
            address = line.and_then(|(_, rest)| rest.lines().next()?.parse().ok());
            address.is_some()
        });
        Self {
            bench,
            child,
            address: address.unwrap(),
        }
    }

    /// Everything that it and those before it in this bench have written to stdout and stderr.
    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.bench.read("server.log")).unwrap()
    }

    /// Where it serves operations.
    pub(crate) fn operations(&self) -> SocketAddr {
        // It is said after the other address, so perhaps not yet.
        let mut address = None;
        wait_until("operations are served", || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("serving health"));
            let said = line.and_then(|line| line.split("address=").nth(1));
            address = said.and_then(|address| address.trim().parse().ok());
            address.is_some()
        });
        address.unwrap()
    }

    pub(crate) fn token(&self) -> String {
        let token = String::from_utf8(self.bench.read("data/admin.token")).unwrap();
        token.trim_end().to_owned()
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.bench.path("certs/ca.pem")
    }

    pub(crate) fn wire(&self) -> Wire {
        self.try_wire().unwrap()
    }

    pub(crate) fn try_wire(&self) -> io::Result<Wire> {
        Wire::connect(self.address, trusting(&self.ca(), &TLS13, Protocol::Http1))
    }

    /// A connection on which the head of a request has been sent, with `Content-Length` or whatever the headers say.
    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[&str]) -> Wire {
        let mut wire = self.wire();
        let first = format!("{method} {path} HTTP/1.1\r\nHost: {}", self.address);
        let lines = [&[&first[..]], headers, &["\r\n"]].concat();
        wire.send(lines.join("\r\n"));
        wire
    }

    /// An upload that the server has admitted and whose body it waits for.
    pub(crate) fn begin_admitted(&self, path: &str, headers: &[&str]) -> Wire {
        let headers = [headers, &["Expect: 100-continue"]].concat();
        let mut wire = self.begin("PUT", path, &headers);
        assert_eq!(wire.head().status, 100);
        wire
    }

    #[track_caller]
    pub(crate) fn send(&self, request: Request<Vec<u8>>) -> Answer {
        self.send_over(Protocol::Http1, &TLS13, request)
    }

    #[track_caller]
    pub(crate) fn send_over(
        &self,
        protocol: Protocol,
        version: &'static rustls::SupportedProtocolVersion,
        request: Request<Vec<u8>>,
    ) -> Answer {
        self.try_send_over(protocol, version, request).unwrap()
    }

    /// The answer, or what had arrived of its body when it broke off.
    pub(crate) fn try_send_over(
        &self,
        protocol: Protocol,
        version: &'static rustls::SupportedProtocolVersion,
        request: Request<Vec<u8>>,
    ) -> Result<Answer, Vec<u8>> {
        let config = trusting(&self.ca(), version, protocol);
        match protocol {
            Protocol::Http1 => {
                let mut wire = Wire::connect(self.address, Arc::clone(&config)).unwrap();
                wire.send(head_of(&request, self.address));
                wire.send(request.body());
                wire.try_answer(request.method()).map_err(|(_, body)| body)
            }
            Protocol::Http2 => send_http2(self.address, config, request).map_err(|(_, body)| body),
            Protocol::Http3 => send_http3(self.address, config, request).map_err(|(_, body)| body),
        }
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Vec::new()).unwrap())
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(Request::put(path).body(body.into()).unwrap())
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = Request::post(path).header("content-type", content_type);
        self.send(request.body(body.into()).unwrap())
    }

    #[track_caller]
    pub(crate) fn post_form(&self, form: Multipart) -> Answer {
        self.post("/uploads", Multipart::TYPE, form.finish())
    }

    /// A request with the admin's token.
    pub(crate) fn as_admin(&self, method: Method, path: &str) -> http::request::Builder {
        let bearer = format!("Bearer {}", self.token());
        let request = Request::builder().method(method).uri(path);
        request.header("authorization", bearer)
    }

    #[track_caller]
    pub(crate) fn admin(&self, method: Method, path: &str) -> Answer {
        self.send(self.as_admin(method, path).body(Vec::new()).unwrap())
    }

    /// What `/metrics` says under this name.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let metrics = self.admin(Method::GET, "/metrics").is(200).text();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect(name).parse().unwrap()
    }

    /// Sends so much of a body by `send` that something of it is stored before it comes to its end, and waits until it is.
    #[track_caller]
    pub(crate) fn stage(&self, send: impl FnOnce(&[u8])) {
        // A bucket shows nothing of a segment before it is whole.
        let so_far = || self.count("sealslot_store_bytes_total{direction=\"out\"}");
        let before = if in_bucket() { so_far() } else { 0 };
        send(&content(ENOUGH_TO_STAGE));
        wait_until("a part is staged", || {
            if in_bucket() {
                so_far() >= before + A_PART
            } else {
                self.bench.is_anything_staged()
            }
        });
    }

    /// The ids of what is listed, in order.
    #[track_caller]
    pub(crate) fn listed(&self) -> Vec<String> {
        let page = self.admin(Method::GET, "/uploads").is(200).json();
        let uploads = page["uploads"].as_array().unwrap().iter();
        uploads.map(|upload| text(&upload["id"])).collect()
    }

    /// Soon nothing is staged any more, and nothing is listed in its place.
    #[track_caller]
    pub(crate) fn kept_nothing(&self) {
        wait_until("what was staged is removed", || {
            !self.bench.is_anything_staged()
        });
        assert!(self.listed().is_empty());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stored upload, opened with the bench's identity, without the server.
pub(crate) struct Opened {
    /// As it is in `meta.age`.
    pub(crate) manifest: Value,
    pub(crate) content: Vec<u8>,
}

impl Bench {
    /// Runs a command on what a server keeps: through it, as the admin, or in its data folder.
    pub(crate) fn at_place(
        &self,
        command: &str,
        server: Option<&Server<'_>>,
        args: &[&str],
    ) -> Ran {
        let mut words = vec![command];
        let url = server.map(|server| format!("https://{}/", server.address));
        match &url {
            Some(url) => words.extend(["--cacert", "certs/ca.pem", url]),
            None => words.extend(self.place()),
        }
        let mut command = self.command([&words[..], args].concat());
        if server.is_some() {
            command.env("SEALSLOT_TOKEN_FILE", self.path("data/admin.token"));
        }
        Ran::of(command)
    }

    #[track_caller]
    pub(crate) fn open_stored(&self, id: &Value) -> Opened {
        let id = text(id);
        let sealed = self.sealed_upload(&id);
        let id = id.parse().unwrap();
        let upload = OpenUpload::open(sealed, Some(&id), &[Self::identity()]);
        let upload = Arc::new(upload.map_err(|error| error.to_string()).unwrap());
        let mut content = Vec::new();
        let copied = upload.copy_to(|piece| {
            content.extend_from_slice(piece);
            Ok::<_, sealslot::upload::ReadError>(())
        });
        copied.unwrap();
        Opened {
            manifest: serde_json::to_value(upload.manifest()).unwrap(),
            content,
        }
    }
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Bytes without a pattern that a chunk or a buffer could share.
pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    bytes.take(size).collect()
}
