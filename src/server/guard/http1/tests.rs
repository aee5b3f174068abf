use super::*;

/// Where the first byte stands that is refused, however the bytes come.
fn refused(bytes: &[u8]) -> Option<usize> {
    let whole = Requests::default().follow(bytes).err();
    let mut single = Requests::default();
    let first = |byte: &u8| single.follow(&[*byte]).is_err();
    assert_eq!(bytes.iter().position(first), whole, "byte by byte");
    whole
}

/// Whether it passes, and is a number of whole requests.
fn passes(bytes: &[u8]) -> bool {
    let mut requests = Requests::default();
    let passed = requests.follow(bytes).is_ok();
    refused(bytes).is_none() == passed && passed && requests.at == At::Start { line_feed: false }
}

fn head(fields: &str) -> String {
    format!("PUT /uploads/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn proper_requests_pass() {
    for request in [
        head(""),
        head("Content-Length: 5\r\n") + "12345",
        head("content-length:\t5 \t\r\n") + "\r\n\r\n\0",
        head("Content-Length: 0\r\n"),
        head("Content-Length: 000000000000000005\r\n") + "12345",
        head("TRANSFER-ENCODING: Chunked\r\n") + "5\r\n12345\r\n0\r\n\r\n",
        head("Transfer-Encoding: chunked\r\n") + "00aF\r\n" + &"x".repeat(0xaf) + "\r\n00\r\n\r\n",
        head("Transfer-Encoding: chunked\r\n") + "1;a=b; c=\"d\"\r\nx\r\n0;e\r\n\r\n",
        head("Transfer-Encoding: chunked\r\n") + "0\r\nContent-Length: 7\r\nX: \u{e9}\r\n\r\n",
        head("X: \u{e9}\t!\r\nEmpty:\r\nEmpty: \r\n"),
        head("Content-Length-Of-It: +5\r\nContent-Lengt: x\r\n"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\n\r\n".to_owned(),
        "PUT /\u{e9} HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        assert!(passes(request.as_bytes()), "{request:?}");
        // Behind one another, also with an empty line between them.
        let two = format!("{request}\r\n{request}{request}");
        assert!(passes(two.as_bytes()), "{two:?}");
    }
}

#[test]
fn heads_that_could_be_read_in_two_ways_are_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length:\r\n",
        "Content-Length: 1000000000000000000\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: 00000000000000000000005\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\x0c\r\n",
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        " X: a\r\n",
        "X: a\n",
        "X: a\nY: b\r\n",
        "X: a\rY: b\r\n",
        "X: a\r\r\n",
        "X: a\0\r\n",
        "X: a\x7f\r\n",
        "X\0: a\r\n",
        "X\r: a\r\n",
        "X Y: a\r\n",
        "X(: a\r\n",
        "\u{e9}: a\r\n",
        ": a\r\n",
        "X\r\n",
        "\n",
    ] {
        let head = head(fields);
        let at = refused(head.as_bytes());
        // Before the head is complete: nobody answers it.
        assert!(at.is_some_and(|at| at < head.len()), "{head:?}");
    }
    for version in ["1.1", "1.0"] {
        let head = format!("PUT / HTTP/{version}\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(refused(head.as_bytes()).is_none(), version == "1.1");
    }
}

#[test]
fn request_lines_are_one_method_one_target_and_a_version() {
    for line in [
        "GET /\r\n",
        "GET / HTTP/0.9\r\n",
        "GET / HTTP/1.2\r\n",
        "GET / HTTP/1.10\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/01.1\r\n",
        "GET / http/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET / HTTP/1.1\n",
        "GET  / HTTP/1.1\r\n",
        "GET /  HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "GET / x HTTP/1.1\r\n",
        "GET /\0 HTTP/1.1\r\n",
        "GET  HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "\tGET / HTTP/1.1\r\n",
        "\nGET / HTTP/1.1\r\n",
        "\rGET / HTTP/1.1\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\n",
        "G(T / HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n",
    ] {
        assert!(refused(line.as_bytes()).is_some(), "{line:?}");
    }
}

#[test]
fn bad_chunks_are_refused() {
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(5000));
    let often = "1;\r\nx\r\n".repeat(5000);
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\nx\r\n",
        "1 \r\nx\r\n",
        "1 ;a\r\nx\r\n",
        ";a\r\n",
        "1\nx\r\n",
        "1\rx\r\n",
        "1\r\nx\n",
        "1\r\nxy\r\n",
        "1\r\nx0\r\n\r\n",
        "1;a\n",
        "1;a\0\r\n",
        "1;a\rb\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "ffffffffffffffff\r\n",
        "0000000000000001\r\n",
        "0\r\n\n",
        "0\r\nx\r\n\r\n",
        "0\r\n X: a\r\n\r\n",
        "0\r\nX: a\n\r\n",
        &long,
        &often,
    ] {
        let head = head("Transfer-Encoding: chunked\r\n");
        let at = refused((head.clone() + body).as_bytes());
        assert!(at.is_some_and(|at| at >= head.len()), "{body:?}");
    }
}

#[test]
fn what_stands_behind_a_body_is_the_next_request() {
    let smuggled =
        "POST /uploads HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n";
    let inside = head(&format!("Content-Length: {}\r\n", smuggled.len())) + smuggled;
    assert!(passes(inside.as_bytes()));
    let behind = head("Content-Length: 3\r\n") + "abc" + smuggled;
    assert!(refused(behind.as_bytes()).is_some());
    let behind = head("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + smuggled;
    assert!(refused(behind.as_bytes()).is_some());
}
