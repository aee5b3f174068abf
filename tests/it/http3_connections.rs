//! What holds for HTTP/3 alone: connections, their ends, and what no client should send. Frames and header fields are written by
//! hand where no library would write them.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h3::error::Code;
use http::Request;
use quinn::{ConnectionError, ReadError, VarInt};
use rustix::process::Signal;
use rustls::version::TLS13;
use serde_json::Value;
use tokio::time::timeout;

use crate::client::{PATIENCE, Protocol, runtime, trusting};
use crate::flight::{Break, Flight};
use crate::http3::{
    DATA, HEADERS, Http3, PUT, RESERVED, SETTINGS, answer, connect, fields, frame, long, put,
};
use crate::program::Bench;
use crate::server::{Server, content, wait_until};

/// What becomes of a request that was written by hand.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The bytes of an answer.
    Answered(Vec<u8>),
    /// Its stream was reset.
    Reset(u64),
    /// Its connection was closed.
    Closed(u64),
}

/// Writes these pieces on a stream of a connection of its own, a moment apart, and ends it.
fn write(server: &Server<'_>, pieces: &[&[u8]]) -> Outcome {
    let config = trusting(&server.ca(), &TLS13, Protocol::Http3);
    let exchange = async {
        let (_endpoint, quic) = connect(server.address, config).await.unwrap();
        let mut control = quic.open_uni().await.unwrap();
        let settings = frame(SETTINGS, &[]);
        control
            .write_all(&[&[0][..], &settings[..]].concat())
            .await
            .unwrap();
        let (mut send, mut receive) = quic.open_bi().await.unwrap();
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let _ = send.write_all(piece).await;
        }
        let _ = send.finish();
        match receive.read_to_end(1 << 20).await {
            Ok(answer) => Outcome::Answered(answer),
            Err(quinn::ReadToEndError::Read(ReadError::Reset(code))) => {
                // Where the connection ends, too, that is what counts.
                match timeout(Duration::from_secs(1), quic.closed()).await {
                    Ok(ConnectionError::ApplicationClosed(close)) => {
                        Outcome::Closed(close.error_code.into_inner())
                    }
                    _ => Outcome::Reset(code.into_inner()),
                }
            }
            Err(quinn::ReadToEndError::Read(ReadError::ConnectionLost(
                ConnectionError::ApplicationClosed(close),
            ))) => Outcome::Closed(close.error_code.into_inner()),
            Err(error) => panic!("{error:?}"),
        }
    };
    runtime().block_on(async { timeout(PATIENCE, exchange).await.unwrap() })
}

#[track_caller]
fn is_answered(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
}

#[test]
fn answers_over_tcp_say_where_http3_is_and_others_do_not() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let expected = format!("h3=\":{}\"; ma=86400", server.address.port());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = Request::get("/").body(Vec::new()).unwrap();
        let answer = server.send_over(protocol, &TLS13, request);
        assert_eq!(answer.header("alt-svc"), expected);
    }
    let request = Request::get("/").body(Vec::new()).unwrap();
    let answer = server.send_over(Protocol::Http3, &TLS13, request).is(200);
    assert!(!answer.headers.contains_key("alt-svc"));
    for name in ["date", "content-length"] {
        assert!(answer.headers.contains_key(name), "{name}");
    }

    let bench = Bench::new();
    let server = Server::start(
        &bench,
        &["--recipient", &Bench::recipient_text()],
        &[("SEALSLOT_HTTP3", "false")],
    );
    assert!(!server.get("/").headers.contains_key("alt-svc"));
}

#[test]
fn the_end_of_a_stream_within_a_frame_is_no_end_of_a_body() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let whole = frame(DATA, &vec![7; 40_000]);
    // Where what was announced has come in full when the end comes, h3 by itself would not see it.
    for cut in [whole.len() - 1, 20_000, 3] {
        for apart in [&whole[..cut], &whole[..1]] {
            let outcome = write(&server, &[&fields(&PUT), apart, &[]]);
            assert_eq!(outcome, Outcome::Closed(Code::H3_FRAME_ERROR.value()));
        }
    }
    server.kept_nothing();
    is_answered(&write(&server, &[&fields(&PUT), &whole]));
    assert_eq!(server.listed().len(), 1);
}

#[test]
fn frames_of_nothing_are_no_end_either() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let nothing = [frame(DATA, b""), frame(RESERVED, b"?"), frame(DATA, b"")].concat();
    let body = [&nothing[..], &frame(DATA, b"whole")[..], &nothing[..]].concat();
    is_answered(&write(
        &server,
        &[&fields(&PUT), &body, &frame(DATA, b" body")],
    ));
    let listed = server.listed();
    assert_eq!(listed.len(), 1);
    let opened = bench.open_stored(&Value::from(listed[0].as_str()));
    assert_eq!(opened.content, b"whole body");
}

#[test]
fn what_no_client_may_send_ends_its_connection() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let head = fields(&PUT);
    let endless = [&long(HEADERS)[..], &long(1 << 40), &[0; 1000]].concat();
    for (wrong, code) in [
        (frame(DATA, b"x"), Code::H3_FRAME_UNEXPECTED),
        (frame(SETTINGS, b""), Code::H3_FRAME_UNEXPECTED),
        (
            [&head[..], &frame(SETTINGS, b"")[..]].concat(),
            Code::H3_FRAME_UNEXPECTED,
        ),
        (endless, Code::H3_EXCESSIVE_LOAD),
        (
            [&head[..], &frame(RESERVED, &vec![0; 70_000])[..]].concat(),
            Code::H3_EXCESSIVE_LOAD,
        ),
        (
            frame(HEADERS, &[0xff; 100]),
            Code::QPACK_DECOMPRESSION_FAILED,
        ),
    ] {
        assert_eq!(write(&server, &[&wrong]), Outcome::Closed(code.value()));
    }
    server.kept_nothing();
}

#[test]
fn a_reset_that_comes_with_the_body_is_no_end() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let config = trusting(&server.ca(), &TLS13, Protocol::Http3);
    let resets = async {
        let client = Http3::connect(server.address, config).await.unwrap();
        let begun = [&fields(&PUT)[..], &frame(DATA, b"some")[..]].concat();
        for code in [0, 0x100, 0x10c] {
            for pause in [0, 1, 2, 5, 20] {
                let (mut send, mut receive) = client.quic.open_bi().await.unwrap();
                send.write_all(&begun).await.unwrap();
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let _ = send.reset(VarInt::from_u32(code));
                let _ = receive.read_to_end(1 << 20).await;
            }
        }
        client.close().await;
    };
    runtime().block_on(async { timeout(PATIENCE, resets).await.unwrap() });
    server.kept_nothing();
}

#[test]
fn malformed_requests_are_refused() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let malformed = Outcome::Reset(Code::H3_MESSAGE_ERROR.value());
    for more in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("X-Upper", "case"),
        ("content-length", "five"),
        ("host", "elsewhere"),
        (":unknown", "x"),
    ] {
        let head = fields(&[&PUT[..], &[more]].concat());
        let outcome = write(&server, &[&head, &frame(DATA, b"whole")]);
        assert_eq!(outcome, malformed, "{more:?}");
    }
    for without in [":method", ":scheme", ":path", ":authority"] {
        let rest = PUT.into_iter().filter(|(name, _)| *name != without);
        let outcome = write(&server, &[&fields(&rest.collect::<Vec<_>>())]);
        assert_eq!(outcome, malformed, "{without}");
    }
    // More or less than was announced.
    for length in ["4", "6"] {
        let head = fields(&[&PUT[..], &[("content-length", length)]].concat());
        write(&server, &[&head, &frame(DATA, b"whole")]);
    }
    server.kept_nothing();
}

#[test]
fn what_is_too_large_reads_its_refusal() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-size", "1MiB"]);
    for announced in [false, true] {
        let size = 64 << 20;
        let mut request = Request::put("/uploads/x");
        if announced {
            request = request.header("content-length", size);
        }
        let request = request.body(vec![7; size]).unwrap();
        let answer = server.send_over(Protocol::Http3, &TLS13, request);
        answer.refused(413, "too-large");
    }
    server.kept_nothing();
}

#[test]
fn a_body_that_stops_or_crawls_is_given_up() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--body-timeout", "2s"]);
    let headers = [("content-length", "1000000")];
    let mut flight = Flight::begin(&server, Protocol::Http3, ("PUT", "/uploads/x"), &headers);
    flight.send(&content(1000));
    flight.answer().unwrap().is(408);
    server.kept_nothing();
}

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for how in Break::ALL {
        for headers in [&[][..], &[("content-length", "1000000")]] {
            let mut flight =
                Flight::begin(&server, Protocol::Http3, ("PUT", "/uploads/x"), headers);
            flight.send(&content(700_000));
            wait_until("something is staged", || {
                !bench.names("data/staging").is_empty()
            });
            flight.break_off(how);
            server.kept_nothing();
        }
    }
}

#[test]
fn what_is_under_way_ends_before_the_server_does() {
    let bench = Bench::new();
    let mut server = Server::sealing(&bench, &["--grace", "20s"]);
    let mut flight = Flight::begin(&server, Protocol::Http3, ("PUT", "/uploads/x"), &[]);
    flight.send(&content(700_000));
    wait_until("it is admitted", || !bench.names("data/staging").is_empty());
    server.signal(Signal::TERM);
    // Nobody is let in any more.
    wait_until("the server is leaving", || {
        let config = trusting(&server.ca(), &TLS13, Protocol::Http3);
        runtime().block_on(async { connect(server.address, config).await.is_err() })
    });
    flight.send(&content(100_000));
    flight.finish().receipt();
    let began = Instant::now();
    assert!(server.ended().success());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_client_may_go_on_from_another_address() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let sent = content(3 << 20);
    let mut flight = Flight::begin(&server, Protocol::Http3, ("PUT", "/uploads/x"), &[]);
    flight.send(&sent[..1 << 20]);
    let Flight::Http3(stream) = &flight else {
        panic!()
    };
    stream.rebind(UdpSocket::bind("127.0.0.1:0").unwrap());
    flight.send(&sent[1 << 20..]);
    let receipt = flight.finish().receipt();
    assert!(bench.open_stored(&receipt["id"]).content == sent);
}

#[test]
fn streams_are_bounded_and_resetting_them_holds_up_nobody() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let config = trusting(&server.ca(), &TLS13, Protocol::Http3);
    let flood = async {
        let mut client = Http3::connect(server.address, Arc::clone(&config))
            .await
            .unwrap();
        let mut open = Vec::new();
        for _ in 0..64 {
            open.push(
                client
                    .begin(put("/uploads/x").body(()).unwrap())
                    .await
                    .unwrap(),
            );
        }
        let one_more = client.quic.open_bi();
        assert!(timeout(Duration::from_millis(300), one_more).await.is_err());
        drop(open);
        client.close().await;

        let client = Http3::connect(server.address, config).await.unwrap();
        let head = fields(&PUT);
        for _ in 0..3000 {
            let opened = timeout(PATIENCE, client.quic.open_bi()).await.unwrap();
            let Ok((mut send, mut receive)) = opened else {
                // Most were gone before they were read, and it had enough of them.
                let reason = client.quic.close_reason();
                let Some(ConnectionError::ApplicationClosed(close)) = reason else {
                    panic!("{reason:?}");
                };
                assert_eq!(
                    close.error_code.into_inner(),
                    Code::H3_EXCESSIVE_LOAD.value()
                );
                break;
            };
            let _ = send.write_all(&head).await;
            let _ = send.reset(VarInt::from_u32(0x10c));
            let _ = receive.stop(VarInt::from_u32(0x10c));
        }
        client
    };
    let runtime = runtime();
    let client = runtime.block_on(flood);
    server.put("/uploads/y", "whole").receipt();
    runtime.block_on(client.close());
    wait_until("what was reset is gone", || {
        bench.names("data/staging").is_empty()
    });
    assert_eq!(server.listed().len(), 1);
}

#[test]
fn an_idle_connection_is_closed_in_order() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--header-timeout", "2s"]);
    let config = trusting(&server.ca(), &TLS13, Protocol::Http3);
    let closed = async {
        let client = Http3::connect(server.address, config).await.unwrap();
        timeout(PATIENCE, client.quic.closed()).await.unwrap()
    };
    let closed = runtime().block_on(closed);
    let ConnectionError::ApplicationClosed(close) = closed else {
        panic!("{closed:?}");
    };
    assert_eq!(close.error_code.into_inner(), Code::H3_NO_ERROR.value());
}

#[test]
fn connections_of_all_kinds_share_their_number() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-connections", "3"]);
    let config = trusting(&server.ca(), &TLS13, Protocol::Http3);
    let connections = async {
        let mut held = Vec::new();
        // One place is kept for the next over TCP.
        for _ in 0..2 {
            held.push(
                Http3::connect(server.address, Arc::clone(&config))
                    .await
                    .unwrap(),
            );
        }
        let refused = connect(server.address, config).await.unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
        held
    };
    let runtime = runtime();
    let _held = runtime.block_on(connections);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_client_that_waits_to_be_asked_is_asked_once_it_is_admitted() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-size", "1KiB"]);
    let config = trusting(&server.ca(), &TLS13, Protocol::Http3);
    let asked = async {
        let mut client = Http3::connect(server.address, config).await.unwrap();
        let head = |length| {
            let head = put("/uploads/x").header("expect", "100-continue");
            head.header("content-length", length).body(()).unwrap()
        };
        let mut stream = client.begin(head("2000")).await.unwrap();
        let refused = answer(&mut stream).await.unwrap();
        assert_eq!(refused.status, 413);
        let mut stream = client.begin(head("5")).await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), 100);
        stream
            .send_data(Bytes::from_static(b"whole"))
            .await
            .unwrap();
        stream.finish().await.unwrap();
        answer(&mut stream).await.unwrap().receipt();
    };
    runtime().block_on(async { timeout(PATIENCE, asked).await.unwrap() });
}
