//! Webhooks, told to receivers over TLS that answer as each test wants.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use http::Method;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::PATIENCE;
use crate::program::Bench;
use crate::server::{Server, text, wait_until};

const SECRET: &[u8] = b"thirty-two bytes of a secret key";
/// Stands in the URL, and must stand in no log and no file.
const PATH: &str = "/hook/part-that-nobody-may-see";

/// A message as it arrived.
#[derive(Debug, Clone)]
struct Told {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Told {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The upload that it is about.
    fn upload(&self) -> String {
        text(&self.json()["data"]["id"])
    }
}

/// What receivers and tests share.
#[derive(Default)]
struct Shared {
    told: Mutex<Vec<Told>>,
    /// What is answered next, and when there is no more `204`.
    answers: Mutex<VecDeque<String>>,
    ended: AtomicBool,
}

/// Listens until it is dropped.
struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The certificate that all receivers have; its authority is in `hook/ca.pem`.
fn tls(bench: &Bench) -> Arc<ServerConfig> {
    if !bench.path("hook").exists() {
        bench.run(&["certs", "--dir", "hook"]).ok();
        bench.write_private("secret", &format!("whsec_{}", BASE64.encode(SECRET)));
    }
    let certificate = CertificateDer::from_pem_file(bench.path("hook/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(bench.path("hook/server.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
}

impl Receiver {
    fn new(bench: &Bench) -> Self {
        Self::on(bench, TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn on(bench: &Bench, listener: TcpListener) -> Self {
        let (config, shared) = (tls(bench), Arc::new(Shared::default()));
        let address = listener.local_addr().unwrap();
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for tcp in listener.incoming() {
                    if shared.ended.load(Ordering::Relaxed) {
                        return;
                    }
                    // Whoever breaks off is not told of: it is the sender's matter to come again.
                    let _ = answer(tcp.unwrap(), &config, &shared);
                }
            })
        };
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    fn url(&self) -> String {
        format!("https://{}{PATH}", self.address)
    }

    fn answers(&self, answers: &[&str]) {
        let answers = answers.iter().map(|answer| (*answer).to_owned());
        self.shared.answers.lock().unwrap().extend(answers);
    }

    fn told(&self) -> Vec<Told> {
        self.shared.told.lock().unwrap().clone()
    }

    /// Waits until there are so many.
    #[track_caller]
    fn told_of(&self, count: usize) -> Vec<Told> {
        wait_until("the receiver is told", || self.told().len() >= count);
        self.told()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(tcp: TcpStream, config: &Arc<ServerConfig>, shared: &Shared) -> io::Result<()> {
    tcp.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, tcp));
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let headers = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let size = headers
        .get("content-length")
        .and_then(|size| size.parse().ok());
    let mut body = vec![0; size.ok_or(io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut body)?;
    let line = lines.first().cloned().unwrap_or_default();
    shared.told.lock().unwrap().push(Told {
        line,
        headers,
        body,
    });
    let answer = shared.answers.lock().unwrap().pop_front();
    let answer = answer.unwrap_or_else(|| "204 No Content\r\n".to_owned());
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {answer}Content-Length: 0\r\n\r\n")?;
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(())
}

const FAILS: &str = "500 Internal Server Error\r\n";

fn serving<'a>(bench: &'a Bench, receivers: &[&Receiver]) -> Server<'a> {
    let mut args = vec![
        "--webhook-secret-file".to_owned(),
        "secret".to_owned(),
        "--webhook-cacert".to_owned(),
        "hook/ca.pem".to_owned(),
    ];
    for receiver in receivers {
        args.extend(["--webhook".to_owned(), receiver.url()]);
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    Server::sealing(bench, &args)
}

fn outbox(bench: &Bench) -> Vec<String> {
    bench.names("data/records/outbox")
}

#[track_caller]
fn nothing_is_left(bench: &Bench) {
    wait_until("nothing waits any more", || outbox(bench).is_empty());
}

/// HMAC as RFC 2104 writes it down, by itself.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|key| key ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message);
    let outer = Sha256::new().chain_update(pad(0x5c));
    outer.chain_update(inner.finalize()).finalize().to_vec()
}

#[track_caller]
fn is_signed(told: &Told) {
    let timestamp = &told.headers["webhook-timestamp"];
    let signed = [
        told.id().as_bytes(),
        b".",
        timestamp.as_bytes(),
        b".",
        &told.body,
    ]
    .concat();
    let expected = format!("v1,{}", BASE64.encode(&hmac(SECRET, &signed)));
    assert_eq!(told.headers["webhook-signature"], expected);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let sent = Duration::from_secs(timestamp.parse().unwrap());
    assert!(now.abs_diff(sent) < PATIENCE);
}

#[test]
fn a_finished_upload_is_told_once_and_signed() {
    let bench = Bench::new();
    let receiver = Receiver::new(&bench);
    let server = serving(&bench, &[&receiver]);
    let receipt = server.put("/uploads/a-name", "content").receipt();
    let told = receiver.told_of(1)[0].clone();
    assert_eq!(told.line, format!("POST {PATH} HTTP/1.1"));
    assert_eq!(told.headers["content-type"], "application/json");
    assert_eq!(told.headers["host"], receiver.address.to_string());
    is_signed(&told);
    let json = told.json();
    assert_eq!(json["type"], "upload.finished");
    assert_eq!(json["timestamp"], receipt["time"]);
    let data = &json["data"];
    for same in ["id", "submission", "kind", "size"] {
        assert_eq!(data[same], receipt[same], "{same}");
    }
    let sealed = std::fs::metadata(bench.upload_folder(&text(&receipt["id"])).join("0000.age"));
    assert_eq!(data["sealed_size"], sealed.unwrap().len());
    assert!(data["link"].is_null() && data["expires"].is_null());
    assert!(!String::from_utf8(told.body).unwrap().contains("a-name"));
    nothing_is_left(&bench);
    // Another upload is another message, and the first does not come again.
    let second = server.put("/uploads/b", "content").receipt();
    let all = receiver.told_of(2);
    assert_eq!(all[1].upload(), text(&second["id"]));
    assert_ne!(all[0].id(), all[1].id());
    nothing_is_left(&bench);
    assert_eq!(receiver.told().len(), 2);
    let metrics = server.admin(Method::GET, "/metrics").is(200).text();
    assert!(
        metrics.contains("sealslot_webhooks_delivered_total 2"),
        "{metrics}"
    );
    assert!(!server.log().contains("nobody-may-see"));
    for (path, contents) in bench.files() {
        let part = b"nobody-may-see";
        let found = contents.windows(part.len()).any(|window| window == part);
        assert!(!found, "{}", path.display());
    }
}

#[test]
fn what_fails_is_tried_again_and_holds_up_nobody_else() {
    let bench = Bench::new();
    let (failing, working) = (Receiver::new(&bench), Receiver::new(&bench));
    failing.answers(&[FAILS, "429 Too Many Requests\r\n", "200 OK\r\n"]);
    let server = serving(&bench, &[&failing, &working]);
    let id = text(&server.put("/uploads/x", "x").receipt()["id"]);
    assert_eq!(working.told_of(1)[0].upload(), id);
    let told = failing.told_of(3);
    nothing_is_left(&bench);
    for told in &told {
        is_signed(told);
        assert_eq!(
            (told.id(), &told.body),
            (working.told()[0].id(), &working.told()[0].body)
        );
    }
    assert_eq!((failing.told().len(), working.told().len()), (3, 1));
    assert!(server.log().contains("trying again"), "{}", server.log());
}

#[test]
fn a_receiver_that_is_away_is_told_when_it_is_back() {
    let bench = Bench::new();
    tls(&bench);
    // Bound and not listening: nobody else gets the port, and connections to it are refused.
    let runtime = crate::client::runtime();
    let _inside = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("https://{}/", socket.local_addr().unwrap());
    let args = [
        "--webhook-secret-file",
        "secret",
        "--webhook-cacert",
        "hook/ca.pem",
    ];
    let server = Server::sealing(&bench, &[&args[..], &["--webhook", &url]].concat());
    let id = text(&server.put("/uploads/x", "x").receipt()["id"]);
    wait_until("it is tried", || server.log().contains("cannot connect"));
    let listener = socket.listen(16).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    let receiver = Receiver::on(&bench, listener);
    assert_eq!(receiver.told_of(1)[0].upload(), id);
    nothing_is_left(&bench);
}

#[test]
fn what_was_not_told_survives_a_crash() {
    let bench = Bench::new();
    let receiver = Receiver::new(&bench);
    receiver.answers(&[FAILS]);
    let mut server = serving(&bench, &[&receiver]);
    let id = text(&server.put("/uploads/x", "x").receipt()["id"]);
    receiver.told_of(1);
    server.signal(Signal::KILL);
    server.ended();
    drop(server);
    let before = receiver.told().len();
    let waiting = outbox(&bench);
    let server = serving(&bench, &[&receiver]);
    if !waiting.is_empty() {
        receiver.told_of(before + 1);
    }
    nothing_is_left(&bench);
    let told = receiver.told();
    assert!(told.len() >= 2);
    assert!(
        told.iter()
            .all(|again| again.upload() == id && again.id() == told[0].id())
    );
    drop(server);
    // Told is told.
    let server = serving(&bench, &[&receiver]);
    server.put("/uploads/y", "y").receipt();
    let again = receiver.told_of(told.len() + 1);
    assert_ne!(again.last().unwrap().upload(), id);
    nothing_is_left(&bench);
    assert_eq!(receiver.told().len(), told.len() + 1);
}

#[test]
fn after_a_crash_what_was_published_is_told_and_what_was_not_is_forgotten() {
    let bench = Bench::new();
    let receiver = Receiver::new(&bench);
    let server = Server::sealing(&bench, &[]);
    let id = text(&server.put("/uploads/x", "x").receipt()["id"]);
    drop(server);
    // As a crash leaves them, between the marker and what follows it.
    let gone = "0123456789abcdefghijklmnopqrstuv";
    for id in [&id, gone] {
        let path = format!("data/records/outbox/{id}");
        bench.write(&path, "{\"state\":\"publishing\"}");
    }
    let _server = serving(&bench, &[&receiver]);
    let told = receiver.told_of(1)[0].clone();
    assert_eq!(told.upload(), id);
    is_signed(&told);
    assert!(told.json()["data"]["size"].is_null());
    nothing_is_left(&bench);
    assert_eq!(receiver.told().len(), 1);
}

#[test]
fn no_redirect_is_followed_and_gone_is_the_end() {
    let bench = Bench::new();
    let (receiver, other) = (Receiver::new(&bench), Receiver::new(&bench));
    let elsewhere = format!("307 Temporary Redirect\r\nLocation: {}\r\n", other.url());
    receiver.answers(&[&elsewhere, "410 Gone\r\n"]);
    let server = serving(&bench, &[&receiver]);
    server.put("/uploads/x", "x").receipt();
    receiver.told_of(2);
    nothing_is_left(&bench);
    assert!(
        server.log().contains("will not be tried again"),
        "{}",
        server.log()
    );
    assert_eq!((receiver.told().len(), other.told().len()), (2, 0));
}

#[test]
fn whoever_is_not_vouched_for_is_told_nothing() {
    let bench = Bench::new();
    let receiver = Receiver::new(&bench);
    bench.run(&["certs", "--dir", "other"]).ok();
    let args = [
        "--webhook-secret-file",
        "secret",
        "--webhook-cacert",
        "other/ca.pem",
    ];
    let url = receiver.url();
    let server = Server::sealing(&bench, &[&args[..], &["--webhook", &url]].concat());
    server.put("/uploads/x", "x").receipt();
    wait_until("it is tried", || server.log().contains("trying again"));
    assert!(receiver.told().is_empty());
    assert_eq!(outbox(&bench).len(), 1);
}

#[test]
fn bad_settings_are_refused_in_one_line_that_repeats_no_secret() {
    let bench = Bench::new();
    bench.write_private("short", "too-short");
    bench.write_private("secret", "a plain text that is long enough");
    bench.write("public", "a plain text that is long enough");
    let recipient = Bench::recipient_text();
    let url = ["--webhook", "https://127.0.0.1:1/SECRET"];
    let secret = ["--webhook-secret-file", "secret"];
    for (args, code, said) in [
        (
            &["--webhook", "http://example.com/SECRET"][..],
            64,
            "needs webhook-secret-file",
        ),
        (&url, 64, "webhook-secret-file"),
        (&secret, 64, "needs webhook"),
        (&["--webhook-cacert", "secret"], 64, "needs webhook"),
        (
            &[&secret[..], &["--webhook", "http://example.com/SECRET"]].concat(),
            64,
            "TLS",
        ),
        (
            &[&secret[..], &["--webhook", "https://u:SECRET@example.com/"]].concat(),
            64,
            "password",
        ),
        (
            &[&secret[..], &["--webhook", "SECRET"]].concat(),
            64,
            "not a URL",
        ),
        (
            &[&url[..], &["--webhook-secret-file", "short"]].concat(),
            1,
            "at least 24 bytes",
        ),
        (
            &[&url[..], &["--webhook-secret-file", "public"]].concat(),
            1,
            "chmod 600",
        ),
        (
            &[&url[..], &["--webhook-secret-file", "none"]].concat(),
            1,
            "none",
        ),
        (
            &[&url[..], &secret, &["--webhook-cacert", "secret"]].concat(),
            1,
            "secret holds no",
        ),
        (
            &[&url[..], &secret, &["--webhook-cacert", "none"]].concat(),
            1,
            "none",
        ),
    ] {
        let args = [&["--recipient", &recipient][..], args].concat();
        let line = bench.refuses_to_serve(&args, &[]).failed(code);
        assert!(line.contains(said), "{line}");
        assert!(!line.contains("SECRET"), "{line}");
    }
}
