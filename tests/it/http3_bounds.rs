//! What one client may take of the others over HTTP/3, and what is told of clients.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use h3::error::Code;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, VarInt};
use rustls::ClientConfig;
use rustls::version::TLS13;
use serde_json::Value;
use tokio::time::timeout;

use crate::client::{PATIENCE, Protocol, runtime, trusting};
use crate::http3::{DATA, HEADERS, Http3, PUT, SETTINGS, connect, fields, frame, long, put};
use crate::program::Bench;
use crate::server::{Server, wait_until};

fn http3(server: &Server<'_>) -> Arc<ClientConfig> {
    trusting(&server.ca(), &TLS13, Protocol::Http3)
}

/// The code that a connection is closed with.
async fn closed(quic: &quinn::Connection) -> u64 {
    match timeout(PATIENCE, quic.closed()).await.unwrap() {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        error => panic!("{error:?}"),
    }
}

/// A stream that carries no request, and what is written on it first.
async fn other(quic: &quinn::Connection, bytes: &[u8]) -> quinn::SendStream {
    let mut stream = quic.open_uni().await.unwrap();
    // The connection may end meanwhile.
    let _ = stream.write_all(bytes).await;
    stream
}

#[test]
fn all_requests_count_for_the_address_that_did_the_handshake() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--audit-log", "audit.log"]);
    let config = http3(&server);
    let uploads = async {
        let mut client = Http3::connect(server.address, config).await.unwrap();
        for from in ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"] {
            client.rebind(UdpSocket::bind(from).unwrap());
            let request = put("/uploads/x").body(b"whole".to_vec()).unwrap();
            client.send(request).await.unwrap().receipt();
        }
        client.close().await;
    };
    runtime().block_on(async { timeout(PATIENCE, uploads).await.unwrap() });
    let log = String::from_utf8(bench.read("audit.log")).unwrap();
    let lines = log.lines().map(serde_json::from_str::<Value>);
    let mut addresses: Vec<_> = lines.map(|line| line.unwrap()["address"].clone()).collect();
    addresses.retain(|address| !address.is_null());
    assert!(addresses.len() >= 3, "{log}");
    assert!(addresses.iter().all(|one| one == "127.0.0.1"), "{log}");
}

#[test]
fn streams_that_come_to_nothing_end_their_connection() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let config = http3(&server);
    let code = async {
        let client = Http3::connect(server.address, config).await.unwrap();
        for _ in 0..1000 {
            let opened = timeout(PATIENCE, client.quic.open_bi()).await.unwrap();
            let Ok((mut send, _receive)) = opened else {
                break;
            };
            let _ = send.finish();
        }
        closed(&client.quic).await
    };
    assert_eq!(runtime().block_on(code), Code::H3_EXCESSIVE_LOAD.value());
}

#[test]
fn streams_that_come_to_nothing_keep_no_connection() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--header-timeout", "600ms"]);
    let config = http3(&server);
    let code = async {
        let client = Http3::connect(server.address, config).await.unwrap();
        // Fewer than are too many.
        for _ in 0..60 {
            let Ok((mut send, _receive)) = client.quic.open_bi().await else {
                break;
            };
            let _ = send.finish();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let reason = client.quic.close_reason();
        assert!(reason.is_some(), "it is open still");
        closed(&client.quic).await
    };
    assert_eq!(runtime().block_on(code), Code::H3_NO_ERROR.value());
}

#[test]
fn after_very_many_requests_a_new_connection_is_asked_for() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let config = http3(&server);
    let answered = async {
        let client = Http3::connect(server.address, config).await.unwrap();
        // The shortest there is: it is answered without a look at anything.
        let head = fields(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/healthz"),
        ]);
        let mut answered = 0;
        loop {
            let mut batch = Vec::new();
            for _ in 0..32 {
                let Ok((mut send, receive)) = client.quic.open_bi().await else {
                    break;
                };
                let _ = send.write_all(&head).await;
                let _ = send.finish();
                batch.push(receive);
            }
            if batch.is_empty() {
                break;
            }
            for mut receive in batch {
                let answer = receive.read_to_end(1 << 16).await;
                answered += usize::from(answer.is_ok_and(|answer| !answer.is_empty()));
            }
        }
        assert_eq!(closed(&client.quic).await, Code::H3_NO_ERROR.value());
        answered
    };
    assert_eq!(runtime().block_on(answered), 16_384);
}

#[test]
fn what_is_no_request_is_bounded() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let runtime = runtime();
    let much = |kind: u8, size| [&[kind][..], &vec![0x41; size]].concat();
    for (streams, code) in [
        (&[much(2, 5000)][..], Code::H3_EXCESSIVE_LOAD),
        (&[much(3, 70_000)], Code::H3_EXCESSIVE_LOAD),
        (&[vec![2], long(2).to_vec()], Code::H3_STREAM_CREATION_ERROR),
        (&[vec![3], vec![3]], Code::H3_STREAM_CREATION_ERROR),
        (&[vec![0], vec![0]], Code::H3_STREAM_CREATION_ERROR),
        (&[vec![1]], Code::H3_STREAM_CREATION_ERROR),
    ] {
        let config = http3(&server);
        let told = async {
            let (_endpoint, quic) = connect(server.address, config).await.unwrap();
            let mut open = Vec::new();
            for stream in streams {
                open.push(other(&quic, stream).await);
            }
            closed(&quic).await
        };
        assert_eq!(runtime.block_on(told), code.value(), "{code}");
    }
    for reset in [false, true] {
        let told = |pause: Duration| {
            let config = http3(&server);
            runtime.block_on(async {
                let (_endpoint, quic) = connect(server.address, config).await.unwrap();
                let mut stream = other(&quic, &[2]).await;
                // Reset before it is read, it would be none.
                tokio::time::sleep(pause).await;
                if reset {
                    stream.reset(VarInt::from_u32(0)).unwrap();
                } else {
                    stream.finish().unwrap();
                }
                match timeout(PATIENCE, quic.closed()).await {
                    Ok(ConnectionError::ApplicationClosed(close)) => {
                        Some(close.error_code.into_inner())
                    }
                    _ => None,
                }
            })
        };
        let code = Some(Code::H3_CLOSED_CRITICAL_STREAM.value());
        // A machine that stands still reads it later.
        let mut pauses = [1, 10].map(Duration::from_secs).into_iter();
        assert!(pauses.any(|pause| told(pause) == code), "{reset}");
    }
}

#[test]
fn what_means_nothing_is_not_read() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let config = http3(&server);
    let answered = async {
        // A client of its own has all three already.
        let mut client = Http3::connect(server.address, config).await.unwrap();
        let mut ended = other(&client.quic, &[]).await;
        ended.finish().unwrap();
        for _ in 0..20 {
            let stream = other(&client.quic, &[&long(0x21)[..], &[7; 1000]].concat()).await;
            let stopped = timeout(PATIENCE, stream.stopped()).await.unwrap();
            let code = stopped.unwrap().map(VarInt::into_inner);
            assert_eq!(code, Some(Code::H3_STREAM_CREATION_ERROR.value()));
        }
        let request = put("/uploads/x").body(b"whole".to_vec()).unwrap();
        client.send(request).await.unwrap().receipt();
        client.close().await;
    };
    runtime().block_on(async { timeout(PATIENCE, answered).await.unwrap() });
}

#[test]
fn no_word_of_a_malformed_request_is_logged() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--log", "debug"]);
    let config = http3(&server);
    let secret = "SECRET";
    let get = |path: &'static str| {
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
        ]
    };
    let sound = get("/uploads");
    let with = |more: (&'static str, &'static str)| fields(&[&sound[..], &[more]].concat());
    let head = fields(&PUT);
    let trailers = fields(&[("x-secret", "SECRET\u{1}")]);
    let heads = [
        fields(&get("/d/SECRET x")),
        fields(&get("/x\n2026-11-29T00:00:00Z INFO SECRET")),
        with(("authorization", "Bearer SECRET\u{1}")),
        with(("sealslot-submission", "/uploads/SECRET\n")),
        with(("x-SECRET", "x")),
        with((":SECRET", "x")),
        [&head[..], &frame(DATA, b"x"), &trailers].concat(),
        [&head[..], &frame(HEADERS, b"SECRET")].concat(),
    ];
    let sent = async {
        for head in &heads {
            let (endpoint, quic) = connect(server.address, Arc::clone(&config)).await.unwrap();
            let _control = other(&quic, &[&[0][..], &frame(SETTINGS, &[])].concat()).await;
            let (mut send, mut receive) = quic.open_bi().await.unwrap();
            let _ = send.write_all(head).await;
            let _ = send.finish();
            let _ = receive.read_to_end(1 << 16).await;
            quic.close(VarInt::from_u32(0x102), secret.as_bytes());
            endpoint.wait_idle().await;
        }
    };
    runtime().block_on(async { timeout(PATIENCE, sent).await.unwrap() });
    wait_until("what broke was logged", || {
        let broke = server
            .log()
            .matches("a request over HTTP/3 broke off")
            .count();
        broke >= 6
    });
    let log = server.log();
    // Errors show bytes as a list of numbers, too.
    let numbers = secret.bytes().map(|byte| byte.to_string());
    let numbers = numbers.collect::<Vec<_>>().join(", ");
    for hidden in [secret, &secret.to_lowercase(), &numbers] {
        let found = log.lines().find(|line| line.contains(hidden));
        assert_eq!(found, None);
    }
}

/// Passes on all that clients send, and of what they are answered only what asks them to show that they receive at their
/// address: so their handshakes never end. Gives the address to connect to.
fn half_open(server: SocketAddr) -> SocketAddr {
    const RETRY: u8 = 0xf0;
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    back.connect(server).unwrap();
    let address = front.local_addr().unwrap();
    let client = Arc::new(std::sync::Mutex::new(None));
    let (to_server, from_client, its) =
        (Arc::clone(&back), Arc::clone(&front), Arc::clone(&client));
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((size, from)) = from_client.recv_from(&mut packet) {
            *its.lock().unwrap() = Some(from);
            let _ = to_server.send(&packet[..size]);
        }
    });
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok(size) = back.recv(&mut packet) {
            let to = *client.lock().unwrap();
            if let Some(to) = to.filter(|_| packet[0] & RETRY == RETRY) {
                let _ = front.send_to(&packet[..size], to);
            }
        }
    });
    address
}

fn quic_config(config: Arc<ClientConfig>) -> quinn::ClientConfig {
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

#[test]
fn handshakes_of_one_address_shut_out_nobody() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let config = http3(&server);
    let relay = half_open(server.address);
    let others = async {
        let flooding = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut flood = Vec::new();
        for number in 0..320 {
            let begun = quic_config(Arc::clone(&config));
            flood.push(flooding.connect_with(begun, relay, "127.0.0.1").unwrap());
            if number % 16 == 0 {
                // The socket's buffer takes no more at a time.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if number >= 280 && number % 10 == 9 {
                let other = IpAddr::from([127, 0, 0, 2 + u8::try_from(number % 7).unwrap()]);
                let honest = Endpoint::client(SocketAddr::new(other, 0)).unwrap();
                let begun = quic_config(Arc::clone(&config));
                let connecting = honest.connect_with(begun, server.address, "127.0.0.1");
                let connected = timeout(PATIENCE, connecting.unwrap()).await.unwrap();
                assert!(connected.is_ok(), "{number}: {connected:?}");
            }
        }
    };
    runtime().block_on(others);
}
