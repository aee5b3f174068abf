//! `sealslot upload` against a server that speaks the draft and goes wrong as told.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::PATIENCE;
use crate::program::{Bench, Ran};
use crate::server::content;

/// Stands in every upload URL.
const SECRET: &str = "a-part-that-nobody-may-see";
const ID: &str = "0123456789abcdefghijklmnopqrstuv";

/// What goes wrong with a request.
#[derive(Clone)]
enum Fault {
    /// This is all that is answered.
    Answer(u16, String),
    /// So much of the body is taken, then the connection is cut.
    CutAfter(usize),
    /// All is done, and nothing answered.
    LoseAnswer,
    /// All is done, and it is refused as if another request had done it.
    RefuseDone,
    /// The upload is not known any more.
    Forget,
    /// The receipt is for something else.
    WrongDigest,
    /// Something is appended to this file before the body is read.
    Append(PathBuf),
}

/// The one upload that the server has.
#[derive(Default)]
struct Upload {
    known: bool,
    complete: bool,
    content: Vec<u8>,
    faults: VecDeque<(&'static str, Fault)>,
    /// Every request: the method, and where it has one the offset.
    requests: Vec<String>,
    wrong: bool,
}

struct Faulty<'a> {
    bench: &'a Bench,
    address: SocketAddr,
    upload: Arc<Mutex<Upload>>,
}

impl<'a> Faulty<'a> {
    /// A server where the next request with this method goes wrong in this way, and so on.
    fn with(bench: &'a Bench, faults: &[(&'static str, Fault)]) -> Self {
        if !bench.path("certs").exists() {
            bench.run(&["certs"]).ok();
        }
        let chain = CertificateDer::pem_file_iter(bench.path("certs/server.pem")).unwrap();
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(bench.path("certs/server.key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            bench,
            address: listener.local_addr().unwrap(),
            upload: Arc::default(),
        };
        server.upload.lock().unwrap().faults = faults.to_vec().into();
        let upload = Arc::clone(&server.upload);
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (config, upload) = (Arc::clone(&config), Arc::clone(&upload));
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    let mut stream = BufReader::new(StreamOwned::new(connection, tcp));
                    while answer_one(&mut stream, &upload).is_ok() {}
                });
            }
        });
        server
    }

    fn upload(&self, args: &[&str]) -> Ran {
        self.upload_with(args, b"")
    }

    /// Runs `sealslot upload`. Whatever comes of it, nothing secret is told.
    fn upload_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let url = format!("https://{}/", self.address);
        let fixed = ["upload", "--cacert", "certs/ca.pem", "--json", &url];
        let mut command = self.bench.command([&fixed[..], args].concat());
        command.env("SEALSLOT_TOKEN", format!("token-{SECRET}"));
        let ran = Ran::with_stdin(command, input);
        assert!(!ran.stderr().contains(SECRET), "{}", ran.stderr());
        assert!(!String::from_utf8_lossy(ran.stdout()).contains(SECRET));
        ran
    }

    fn requests(&self) -> Vec<String> {
        self.upload.lock().unwrap().requests.clone()
    }

    fn kept(&self) -> usize {
        let folder = self.bench.path("state/sealslot/uploads");
        folder.read_dir().map_or(0, Iterator::count)
    }

    #[track_caller]
    fn has(&self, content: &[u8]) {
        let upload = self.upload.lock().unwrap();
        assert!(upload.complete && upload.content == content);
    }
}

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// Reads a request and answers it. An error where the connection has ended, or is to end.
fn answer_one(stream: &mut Stream, upload: &Mutex<Upload>) -> io::Result<()> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        lines.iter().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    assert_eq!(header("upload-draft-interop-version").as_deref(), Some("8"));
    let mut words = lines[0].split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    assert_eq!(header("authorization").is_some(), method == "POST");
    assert_eq!(path.contains(SECRET), method != "POST", "{path}");
    let size = header("content-length").map_or(0, |size| size.parse().unwrap());
    let offset = header("upload-offset").map(|offset| offset.parse::<usize>().unwrap());
    let last = header("upload-complete").as_deref() == Some("?1");

    let mut upload = upload.lock().unwrap();
    let named = offset.map_or(method.to_owned(), |offset| format!("{method} {offset}"));
    upload.requests.push(named);
    let fault = match upload.faults.front() {
        Some((of, _)) if *of == method => upload.faults.pop_front().map(|(_, fault)| fault),
        _ => None,
    };
    if let Some(Fault::Append(path)) = &fault {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"x").unwrap();
    }
    let taken = match fault {
        Some(Fault::CutAfter(bytes)) => bytes,
        _ => size,
    };
    let mut body = vec![0; taken];
    stream.read_exact(&mut body)?;
    let answer = match &fault {
        Some(Fault::Answer(status, rest)) => format!("HTTP/1.1 {status} X\r\n{rest}"),
        _ => upload.answer(method, offset, last, &body, fault.as_ref()),
    };
    let answer = match &fault {
        Some(Fault::RefuseDone) => "HTTP/1.1 400 X\r\n".to_owned(),
        _ => answer,
    };
    if matches!(fault, Some(Fault::CutAfter(_) | Fault::LoseAnswer)) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let answer = if answer.contains("\r\n\r\n") {
        answer
    } else {
        format!("{answer}Content-Length: 0\r\n\r\n")
    };
    stream.get_mut().write_all(answer.as_bytes())?;
    stream.get_mut().flush()
}

impl Upload {
    fn answer(
        &mut self,
        method: &str,
        offset: Option<usize>,
        last: bool,
        body: &[u8],
        fault: Option<&Fault>,
    ) -> String {
        self.known &= !matches!(fault, Some(Fault::Forget));
        self.wrong |= matches!(fault, Some(Fault::WrongDigest));
        let here = self.content.len();
        match method {
            "POST" => {
                *self = Self {
                    known: true,
                    faults: std::mem::take(&mut self.faults),
                    requests: std::mem::take(&mut self.requests),
                    ..Self::default()
                };
                let location = format!("Location: /uploads/{ID}.{SECRET}\r\n");
                format!("HTTP/1.1 201 X\r\n{location}Upload-Complete: ?0\r\nUpload-Offset: 0\r\n")
            }
            _ if !self.known => "HTTP/1.1 404 X\r\n".to_owned(),
            "HEAD" => {
                let complete = u8::from(self.complete);
                format!(
                    "HTTP/1.1 204 X\r\nUpload-Offset: {here}\r\nUpload-Complete: ?{complete}\r\n\r\n"
                )
            }
            "PATCH" if offset != Some(here) || self.complete => "HTTP/1.1 409 X\r\n".to_owned(),
            "PATCH" => {
                self.content.extend_from_slice(body);
                let cut = matches!(fault, Some(Fault::CutAfter(_)));
                self.complete = last && !cut;
                if self.complete {
                    return self.receipt(201);
                }
                let here = self.content.len();
                format!("HTTP/1.1 204 X\r\nUpload-Offset: {here}\r\nUpload-Complete: ?0\r\n\r\n")
            }
            "GET" => self.receipt(200),
            "DELETE" => {
                self.known = false;
                "HTTP/1.1 204 X\r\n\r\n".to_owned()
            }
            other => panic!("{other}"),
        }
    }

    fn receipt(&self, status: u16) -> String {
        let sha256 = HEXLOWER.encode(&Sha256::digest(&self.content));
        let sha256 = if self.wrong { "00".repeat(32) } else { sha256 };
        let receipt =
            json!({"id": ID, "size": self.content.len(), "sha256": sha256, "name": "file"});
        let receipt = receipt.to_string();
        let size = receipt.len();
        format!("HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n\r\n{receipt}")
    }
}

/// An answer with nothing but a status.
fn status(status: u16) -> Fault {
    Fault::Answer(status, String::new())
}

fn problem(status: u16, detail: &str) -> Fault {
    let body = json!({"code": "x", "detail": detail}).to_string();
    let kind = "Content-Type: application/problem+json";
    let rest = format!("{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    Fault::Answer(status, rest)
}

fn with_file(size: usize) -> (Bench, Vec<u8>) {
    let bench = Bench::new();
    let bytes = content(size);
    bench.write("file", &bytes);
    (bench, bytes)
}

#[track_caller]
fn receipt(ran: Ran) -> Value {
    serde_json::from_slice(&ran.ok()).unwrap()
}

#[test]
fn what_passes_is_tried_again() {
    let (bench, bytes) = with_file(1_000_000);
    let at_once = Fault::Answer(503, "Retry-After: 0\r\n".to_owned());
    let faults = [
        ("POST", at_once),
        ("POST", Fault::CutAfter(0)),
        ("PATCH", Fault::CutAfter(400_000)),
        ("HEAD", status(500)),
        ("PATCH", status(409)),
        ("HEAD", status(429)),
        (
            "PATCH",
            problem(507, &format!("See /uploads/{ID}.{SECRET}.")),
        ),
    ];
    let server = Faulty::with(&bench, &faults);
    let ran = server.upload(&["file"]);
    let stderr = ran.stderr();
    assert_eq!(stderr.lines().count(), faults.len(), "{stderr}");
    assert_eq!(receipt(ran)["size"], bytes.len());
    server.has(&bytes);
    assert_eq!(server.kept(), 0);
    let requests = server.requests().join(", ");
    let expected = "POST, POST, POST, PATCH 0, HEAD, HEAD, PATCH 400000, HEAD, HEAD, PATCH 400000, HEAD, PATCH 400000";
    assert_eq!(requests, expected);
}

#[test]
fn the_receipt_is_fetched_where_the_last_answer_was_lost() {
    for (size, file) in [(300_000, "file"), (0, "file"), (70_000, "-"), (0, "-")] {
        let (bench, bytes) = with_file(size);
        let server = Faulty::with(&bench, &[("PATCH", Fault::LoseAnswer)]);
        let ran = server.upload_with(&[file], &bytes);
        assert_eq!(receipt(ran)["size"], size);
        server.has(&bytes);
        assert_eq!(server.requests(), ["POST", "PATCH 0", "HEAD", "GET"]);
        assert_eq!(server.kept(), 0);
    }
}

#[test]
fn a_refusal_counts_only_where_the_upload_is_not_complete() {
    let (bench, bytes) = with_file(300_000);
    let server = Faulty::with(&bench, &[("PATCH", Fault::RefuseDone)]);
    assert_eq!(receipt(server.upload(&["file"]))["size"], bytes.len());
    server.has(&bytes);
    assert_eq!(server.requests(), ["POST", "PATCH 0", "HEAD", "GET"]);
}

#[test]
fn a_receipt_for_something_else_is_an_error() {
    let (bench, _) = with_file(300_000);
    let server = Faulty::with(&bench, &[("PATCH", Fault::WrongDigest)]);
    let line = server.upload(&["file"]).failed(65);
    assert!(line.contains(ID) && line.contains("SHA-256"), "{line}");
    assert_eq!(server.requests(), ["POST", "PATCH 0"]);
    assert_eq!(server.kept(), 0);
}

#[test]
fn what_does_not_pass_is_final() {
    for (status, kept, code) in [(403, 1, 77), (422, 0, 1), (413, 0, 1)] {
        let (bench, _) = with_file(5);
        let server = Faulty::with(&bench, &[("PATCH", problem(status, "Not\u{1b}[2J that."))]);
        let line = server.upload(&["file"]).failed(code);
        assert!(line.contains(&format!("{status}")), "{line}");
        assert!(line.ends_with(": Not [2J that"), "{line}");
        assert_eq!(server.kept(), kept, "{status}");
        let forgotten = server.requests().last().unwrap() == "DELETE";
        assert_eq!(forgotten, kept == 0);
    }
}

#[test]
fn an_upload_that_is_gone_begins_anew_once() {
    let (bench, bytes) = with_file(300_000);
    let cut = ("PATCH", Fault::CutAfter(100_000));
    let server = Faulty::with(&bench, &[cut.clone(), ("HEAD", Fault::Forget)]);
    receipt(server.upload(&["file"]));
    server.has(&bytes);
    let expected = ["POST", "PATCH 0", "HEAD", "POST", "PATCH 0"];
    assert_eq!(server.requests(), expected);

    let faults = [cut, ("HEAD", Fault::Forget), ("PATCH", status(410))];
    let server = Faulty::with(&bench, &faults);
    let ran = server.upload(&["file"]);
    assert_eq!(ran.code(), Some(1));
    assert!(ran.stderr().contains("410"), "{}", ran.stderr());
    assert_eq!(server.kept(), 0);
}

#[test]
fn a_later_run_goes_on_even_where_all_has_arrived() {
    let (bench, bytes) = with_file(300_000);
    let patience = ["--retry-for", "0s", "file"];
    let server = Faulty::with(&bench, &[("PATCH", Fault::CutAfter(100_000))]);
    let line = server.upload(&patience).failed(75);
    assert!(line.contains("gave up after 0s"), "{line}");
    assert!(line.contains("the same command goes on"), "{line}");
    assert_eq!(server.kept(), 1);
    let lost = ("PATCH", Fault::LoseAnswer);
    server.upload.lock().unwrap().faults.push_back(lost);
    server.upload(&patience).failed(75);
    assert_eq!(server.kept(), 1);
    let receipt = receipt(server.upload(&patience));
    assert_eq!(receipt["size"], bytes.len());
    server.has(&bytes);
    let expected = ["POST", "PATCH 0", "HEAD", "PATCH 100000", "HEAD", "GET"];
    assert_eq!(server.requests(), expected);
    assert_eq!(server.kept(), 0);
}

#[test]
fn what_arrived_before_is_digested_too() {
    let (bench, _) = with_file(300_000);
    let server = Faulty::with(&bench, &[("PATCH", Fault::CutAfter(100_000))]);
    server.upload(&["--retry-for", "0s", "file"]).failed(75);
    server.upload.lock().unwrap().content[50_000] ^= 1;
    let line = server.upload(&["file"]).failed(65);
    assert!(line.contains("SHA-256"), "{line}");
}

#[test]
fn patience_ends() {
    let (bench, _) = with_file(5);
    let server = Faulty::with(&bench, &vec![("POST", status(503)); 100]);
    let began = Instant::now();
    let ran = server.upload(&["--retry-for", "4s", "file"]);
    assert!(began.elapsed() >= Duration::from_secs(4) && began.elapsed() < PATIENCE);
    assert_eq!(ran.code(), Some(75));
    assert!(
        ran.stderr()
            .contains("gave up after 4s without progress: the server answered 503")
    );
    assert!(ran.stderr().lines().count() > 2, "{}", ran.stderr());
    assert_eq!(server.kept(), 0);

    let later = Fault::Answer(503, "Retry-After: 3600\r\n".to_owned());
    let server = Faulty::with(&bench, &[("POST", later)]);
    let line = server.upload(&["file"]).failed(75);
    assert!(line.contains("gave up"), "{line}");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn a_file_that_changes_is_not_completed() {
    let (bench, _) = with_file(9_000_000);
    let append = Fault::Append(bench.path("file"));
    let server = Faulty::with(&bench, &[("PATCH", append)]);
    let line = server.upload(&["file"]).failed(1);
    assert!(line.contains("it changed while"), "{line}");
    assert_eq!(server.requests(), ["POST", "PATCH 0", "DELETE"]);
    assert!(!server.upload.lock().unwrap().complete);
    assert_eq!(server.kept(), 0);
}

#[test]
fn a_server_that_cannot_resume_is_told_apart() {
    let (bench, _) = with_file(5);
    let plain = "Location: /uploads/x\r\nContent-Length: 2\r\n\r\n{}".to_owned();
    let elsewhere = "Location: https://other/x\r\nUpload-Complete: ?0\r\n".to_owned();
    for (answer, code, expected) in [
        (Fault::Answer(201, plain), 1, "takes no resumable uploads"),
        (Fault::Answer(201, elsewhere), 1, "on another server"),
        (status(404), 1, "no uploads are taken at this path"),
        (status(405), 1, "no uploads are taken at this path"),
        (status(401), 77, "--token-file FILE"),
        (status(410), 77, "no uploads are taken at this path"),
        (status(308), 1, "the server answered 308"),
        (problem(413, "Too large."), 1, "Too large"),
    ] {
        let server = Faulty::with(&bench, &[("POST", answer)]);
        let line = server.upload(&["file"]).failed(code);
        assert!(line.contains(expected), "{line}");
        assert_eq!(server.requests(), ["POST"]);
        assert_eq!(server.kept(), 0);
    }
}

#[test]
fn two_at_the_same_file_are_one_too_many() {
    let (bench, _) = with_file(5);
    // One of them waits for so long, and the other one comes meanwhile.
    let later = Fault::Answer(503, "Retry-After: 3\r\n".to_owned());
    let server = Faulty::with(&bench, &[("POST", later)]);
    let ran = server.upload(&["file", "./file"]);
    assert_eq!(ran.code(), Some(1));
    assert!(
        ran.stderr().contains("sent to the same place already"),
        "{}",
        ran.stderr()
    );
    assert_eq!(ran.stdout().split(|byte| *byte == b'\n').count(), 2);
    server.has(&content(5));
    let twice = server.upload(&["--parallel", "1", "file", "file"]).ok();
    assert_eq!(twice.split(|byte| *byte == b'\n').count(), 3);
}

#[test]
fn a_command_line_that_makes_no_sense_sends_nothing() {
    let (bench, _) = with_file(5);
    std::fs::create_dir(bench.path("folder")).unwrap();
    let server = Faulty::with(&bench, &[]);
    let url = format!("https://{}/", server.address);
    let http = format!("http://{}/d/{SECRET}", server.address);
    let cases: [&[&str]; 7] = [
        &["upload"],
        &["upload", &url],
        &["upload", &http, "file"],
        &["upload", SECRET, "file"],
        &["upload", "--cacert", "certs/ca.pem", &url, "-", "-"],
        &[
            "upload",
            "--cacert",
            "certs/ca.pem",
            "--name",
            "x",
            &url,
            "folder",
        ],
        &["upload", "--parallel", "0", &url, "file"],
    ];
    for args in cases {
        let line = bench.run(args).failed(64);
        assert!(!line.contains(SECRET), "{line}");
    }
    assert!(server.requests().is_empty());
}
