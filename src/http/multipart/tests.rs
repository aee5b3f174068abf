use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const LIMITS: Limits = Limits {
    parts: 64,
    part_header_bytes: 4096,
    name_bytes: 1024,
};

/// More than this is never held between frames: a part's headers, and room to grow in.
const HELD: usize = 2 * LIMITS.part_header_bytes + 256;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Part {
    name: Vec<u8>,
    filename: Option<Vec<u8>>,
    content_type: Option<String>,
    data: Vec<u8>,
}

fn part(name: &str, filename: Option<&str>, content_type: Option<&str>, data: &[u8]) -> Part {
    Part {
        name: name.into(),
        filename: filename.map(Into::into),
        content_type: content_type.map(Into::into),
        data: data.into(),
    }
}

fn parser(boundary: &str) -> Parser {
    let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
    Parser::new(
        Boundary::from_content_type(&content_type).unwrap().unwrap(),
        LIMITS,
    )
}

/// What came of a body: the parts that ended, the one that had begun, and how the form ended.
struct Outcome {
    parts: Vec<Part>,
    open: Option<Part>,
    end: Result<(), MultipartError>,
}

fn run<'a>(mut parser: Parser, frames: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut frames = frames.into_iter();
    let (mut parts, mut open) = (Vec::new(), None::<Part>);
    let end = loop {
        match parser.next() {
            Ok(Event::NeedMore) => {
                assert!(parser.held() <= HELD, "{} bytes held", parser.held());
                match frames.next() {
                    Some(frame) => parser.feed(Bytes::copy_from_slice(frame)),
                    None => parser.finish(),
                }
            }
            Ok(Event::Part(PartHead {
                name,
                filename,
                content_type,
            })) => {
                assert!(open.is_none());
                open = Some(Part {
                    name,
                    filename,
                    content_type,
                    data: Vec::new(),
                });
            }
            Ok(Event::Data(data)) => {
                assert!(!data.is_empty());
                open.as_mut().unwrap().data.extend_from_slice(&data);
            }
            Ok(Event::PartEnd) => parts.push(open.take().unwrap()),
            Ok(Event::End) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // An end is an end: the epilogue changes nothing, and an error does not go away.
    parser.feed(Bytes::from_static(b"\r\n--b\r\nmore"));
    assert_eq!(
        parser.next().map(|event| assert_eq!(event, Event::End)),
        end
    );
    assert_eq!(parser.frame.len(), 0);
    Outcome { parts, open, end }
}

/// Reads a body with the boundary `b`, whole and byte by byte, which must come to the same.
fn read(body: &[u8]) -> Result<Vec<Part>, MultipartError> {
    let whole = run(parser("b"), [body]);
    let bytes = run(parser("b"), body.chunks(1));
    assert_eq!((&whole.parts, &whole.end), (&bytes.parts, &bytes.end));
    whole.end.map(|()| whole.parts)
}

/// Reads a form whose only part has these header lines.
fn read_headers(lines: &[u8]) -> Result<Part, MultipartError> {
    read(&[b"--b\r\n", lines, b"\r\n\r\n\r\n--b--\r\n"].concat()).map(|mut parts| parts.remove(0))
}

/// Reads a form whose only part has this `Content-Disposition`.
fn read_disposition(value: &str) -> Result<Part, MultipartError> {
    read_headers(&[b"Content-Disposition: ", value.as_bytes()].concat())
}

/// Encodes parts as a browser does.
fn encode(boundary: &str, parts: &[Part]) -> Vec<u8> {
    let escape = |name: &[u8]| {
        let escape = |&byte: &u8| match byte {
            b'"' => b"%22".to_vec(),
            b'\r' => b"%0D".to_vec(),
            b'\n' => b"%0A".to_vec(),
            _ => vec![byte],
        };
        name.iter().flat_map(escape).collect::<Vec<u8>>()
    };
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"").as_bytes(),
        );
        body.extend(escape(&part.name));
        body.push(b'"');
        if let Some(filename) = &part.filename {
            body.extend_from_slice(b"; filename=\"");
            body.extend(escape(filename));
            body.push(b'"');
        }
        if let Some(content_type) = &part.content_type {
            body.extend_from_slice(format!("\r\nContent-Type: {content_type}").as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(&part.data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

#[test]
fn boundaries() {
    let read = |content_type: &str| {
        let boundary = Boundary::from_content_type(content_type)?;
        Ok(boundary.map(|boundary| String::from_utf8(boundary.delimiter()[4..].to_vec()).unwrap()))
    };
    let longest = "x".repeat(70);
    for (content_type, expected) in [
        ("text/plain; boundary=x", None),
        ("multipart/mixed; boundary=x", None),
        ("multipart/form-data2; boundary=x", None),
        ("", None),
        ("multipart/form-data; boundary=x", Some("x")),
        ("Multipart/Form-Data ;charset=utf-8;BOUNDARY=X", Some("X")),
        (
            "multipart/form-data; boundary=\"a b:c=d?\"",
            Some("a b:c=d?"),
        ),
        (
            "multipart/form-data; boundary=----WebKitFormBoundaryAbc",
            Some("----WebKitFormBoundaryAbc"),
        ),
        (
            &format!("multipart/form-data; boundary={longest}"),
            Some(&longest),
        ),
    ] {
        assert_eq!(
            read(content_type),
            Ok(expected.map(str::to_owned)),
            "{content_type}"
        );
    }
    for (parameters, error) in [
        ("", MultipartError::MissingBoundary),
        ("; charset=utf-8", MultipartError::MissingBoundary),
        (
            "; boundary=a; boundary=a",
            MultipartError::DuplicateBoundary,
        ),
        (
            "; boundary=a; Boundary=b",
            MultipartError::DuplicateBoundary,
        ),
        ("; boundary=", MultipartError::InvalidBoundary),
        ("; boundary=\"\"", MultipartError::InvalidBoundary),
        ("; boundary=\"a \"", MultipartError::InvalidBoundary),
        ("; boundary=a@b", MultipartError::InvalidBoundary),
        ("; boundary=\"a\\\"b\"", MultipartError::InvalidBoundary),
        ("; boundary=\u{e4}", MultipartError::InvalidBoundary),
        (
            &format!("; boundary=x{longest}"),
            MultipartError::InvalidBoundary,
        ),
        (
            "; boundary=a b",
            MultipartError::ContentType(DispositionError::Malformed),
        ),
        (
            "; boundary=\"a",
            MultipartError::ContentType(DispositionError::Malformed),
        ),
        (
            "; boundary",
            MultipartError::ContentType(DispositionError::Malformed),
        ),
    ] {
        assert_eq!(
            read(&format!("multipart/form-data{parameters}")),
            Err(error),
            "{parameters}"
        );
    }
}

#[test]
fn forms_as_clients_send_them() {
    let chrome = b"------WebKitFormBoundaryX\r\n\
        Content-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
        ------WebKitFormBoundaryX\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a %22b%22.txt\"\r\n\
        Content-Type: text/plain\r\n\r\nline\r\n\r\n\
        ------WebKitFormBoundaryX\r\n\
        Content-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n\r\n\
        ------WebKitFormBoundaryX--\r\n";
    let expected = [
        part("note", None, None, b"hello"),
        part("file", Some("a \"b\".txt"), Some("text/plain"), b"line\r\n"),
        part("none", Some(""), Some("application/octet-stream"), b""),
    ];
    let chrome = run(parser("----WebKitFormBoundaryX"), [&chrome[..]]);
    assert_eq!((chrome.parts, chrome.end), (expected.to_vec(), Ok(())));

    let firefox = "------geckoformboundary1f\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"C:\\x\\\u{e4}.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n\0\r\n------geckoformboundary1f--\r\n";
    let firefox = run(parser("----geckoformboundary1f"), [firefox.as_bytes()]);
    let expected = part(
        "f",
        Some("C:\\x\\\u{e4}.bin"),
        Some("application/octet-stream"),
        b"\0",
    );
    assert_eq!((firefox.parts, firefox.end), (vec![expected], Ok(())));

    let curl = b"--------------------------d74496d66958873e\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"q\\\"q\\\\.txt\"\r\n\
        Content-Type: text/plain\r\n\r\nx\r\n--------------------------d74496d66958873e--\r\n";
    let curl = run(
        parser("------------------------d74496d66958873e"),
        [&curl[..]],
    );
    assert_eq!(
        (curl.parts, curl.end),
        (
            vec![part("f", Some("q\"q\\.txt"), Some("text/plain"), b"x")],
            Ok(())
        )
    );
}

#[test]
fn contents_come_back_byte_for_byte() {
    for data in [
        &b""[..],
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\r\n\r",
        b"\r\n-",
        b"\r\n--",
        b"\r\n--bX",
        b"\r\n--b-",
        b"\r\n--b-x",
        b"\r\n--b-\r\n--c",
        b"\r\n--b\n",
        b"\r\n--b \tx",
        b"\r\n--b \r",
        b"\r\n--b\rx",
        b"\r\n--b\r\r\n--bound",
        b"--bX",
        b"-",
        b"\n--b--",
        b"x--b--",
    ] {
        let expected = part("f", None, None, data);
        assert_eq!(
            read(&encode("b", std::slice::from_ref(&expected))),
            Ok(vec![expected]),
            "{data:?}"
        );
    }
}

#[test]
fn delimiter_lines() {
    let head = "Content-Disposition: form-data; name=f\r\n\r\n";
    let one = Ok(vec![part("f", None, None, b"x")]);
    let padding = " \t".repeat(32);
    for body in [
        format!("--b\r\n{head}x\r\n--b--"),
        format!("\r\n--b\r\n{head}x\r\n--b--\r\n"),
        format!("preamble\r\n--bX\r\n--b\r\n{head}x\r\n--b--\r\n epilogue\r\n--b\r\n"),
        format!("--b \t\r\n{head}x\r\n--b--"),
        format!("--b{padding}\r\n{head}x\r\n--b--"),
        format!("{}\r\n--b\r\n{head}x\r\n--b--", "p".repeat(MAX_PREAMBLE)),
    ] {
        assert_eq!(read(body.as_bytes()), one, "{body}");
    }
    assert_eq!(read(b"--b--\r\n"), Ok(vec![]), "a form without fields");
    // The blank line after the headers also is the line break of a delimiter (RFC 2046: the body is optional).
    assert_eq!(
        read(format!("--b\r\n{head}--b--").as_bytes()),
        Ok(vec![part("f", None, None, b"")])
    );
    let padded = format!("--b\r\n{head}\r\n--b {padding}\r\n--b--");
    let content = format!("\r\n--b {padding}");
    assert_eq!(
        read(padded.as_bytes()),
        Ok(vec![part("f", None, None, content.as_bytes())]),
        "padding is bounded"
    );
}

#[test]
fn bodies_that_are_no_forms() {
    let head = "Content-Disposition: form-data; name=f\r\n\r\n";
    for (body, error) in [
        (String::new(), MultipartError::Truncated),
        ("--".into(), MultipartError::Truncated),
        ("--b".into(), MultipartError::Truncated),
        (
            format!("--c\r\n{head}x\r\n--c--\r\n"),
            MultipartError::Truncated,
        ),
        (format!("--b\r\n{head}x"), MultipartError::Truncated),
        (
            format!("--b\r\n{head}x\r\n--b\r\n"),
            MultipartError::Truncated,
        ),
        (
            format!("--b\r\n{head}x\n--b--\n"),
            MultipartError::Truncated,
        ),
        (
            format!("--b\n{}x\n--b--\n", head.replace('\r', "")),
            MultipartError::Truncated,
        ),
        (
            "x".repeat(MAX_PREAMBLE + 1),
            MultipartError::PreambleTooLong,
        ),
        (
            "\r\n--x".repeat(MAX_PREAMBLE),
            MultipartError::PreambleTooLong,
        ),
        (
            "--b\r\n\r\nx\r\n--b--\r\n".into(),
            MultipartError::MissingDisposition,
        ),
        (
            "--b\r\n--b--\r\n\r\n".into(),
            MultipartError::MalformedPartHeaders,
        ),
    ] {
        assert_eq!(read(body.as_bytes()), Err(error), "{body}");
    }
}

#[test]
fn names() {
    for (value, name, filename) in [
        ("form-data; name=f", "f", None),
        ("Form-Data; NAME=\"f\"", "f", None),
        ("form-data; name=\"\"", "", None),
        ("form-data; name=\"a%22b%0D%0Ac\"", "a\"b\r\nc", None),
        // Nothing else was encoded, so nothing else is decoded.
        (
            "form-data; name=f; filename=\"100%2541%0a%41%.txt\"",
            "f",
            Some("100%2541%0a%41%.txt"),
        ),
        (
            "form-data; name=f; filename=\"../../\0\u{1b}[2J\u{202e}\"",
            "f",
            Some("../../\0\u{1b}[2J\u{202e}"),
        ),
        (
            r#"form-data; name=f; filename="C:\temp\new.txt""#,
            "f",
            Some(r"C:\temp\new.txt"),
        ),
        (
            r#"form-data; name=f; filename="ends in \""#,
            "f",
            Some(r"ends in \"),
        ),
        (
            "form-data; name=f; filename=\"x\"; filename*=UTF-8''%e2%82%ac%22",
            "f",
            Some("\u{20ac}\""),
        ),
        (
            "form-data; filename*=utf-8'de'%2522; name=f",
            "f",
            Some("%22"),
        ),
    ] {
        assert_eq!(
            read_disposition(value),
            Ok(part(name, filename, None, b"")),
            "{value}"
        );
    }
    let raw =
        read_headers(b"content-disposition:form-data; name=\xff; filename=\"\x80\xfe\"").unwrap();
    assert_eq!(
        (raw.name, raw.filename),
        (vec![0xff], Some(vec![0x80, 0xfe]))
    );
}

#[test]
fn unclear_part_headers_are_refused() {
    let good = "Content-Disposition: form-data; name=f";
    for (lines, error) in [
        ("X-Other: 1", MultipartError::MissingDisposition),
        (
            "Content-Disposition: attachment; name=f",
            MultipartError::MissingDisposition,
        ),
        (
            "Content-Disposition: form-data; filename=f",
            MultipartError::MissingName,
        ),
        (
            &format!("{good}\r\n{good}"),
            MultipartError::DuplicatePartHeader,
        ),
        (
            &format!("{good}\r\nContent-Type: a/b\r\ncontent-type: a/b"),
            MultipartError::DuplicatePartHeader,
        ),
        (
            &format!("{good}\r\n folded"),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good};\r\n\tfilename=\"a:b\""),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good}\r\nno colon"),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good}\r\n: empty"),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good}\r\nspace : x"),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good}\r\nX: a\nContent-Type: b"),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good}; filename=\"a\rb\""),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good}\r\nContent-Type: a/\u{e4}"),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good}\r\nContent-Type: a/b\0"),
            MultipartError::MalformedPartHeaders,
        ),
        (
            &format!("{good}; name=g"),
            MultipartError::Disposition(DispositionError::DuplicateParameter),
        ),
        (
            &format!("{good}; filename=\"x"),
            MultipartError::Disposition(DispositionError::Malformed),
        ),
        (
            &format!("{good}; filename*=UTF-16''x"),
            MultipartError::Disposition(DispositionError::ExtendedValue),
        ),
        (
            &format!("{good}{}", "\r\nX: 1".repeat(32)),
            MultipartError::PartHeadersTooLarge,
        ),
    ] {
        assert_eq!(read_headers(lines.as_bytes()), Err(error), "{lines}");
    }
    assert!(read_headers(format!("{good}{}", "\r\nX: 1".repeat(31)).as_bytes()).is_ok());
}

#[test]
fn names_are_bounded_once_decoded() {
    let long = "%22".repeat(LIMITS.name_bytes);
    assert!(read_disposition(&format!("form-data; name=\"{long}\"")).is_ok());
    for value in [
        format!("form-data; name=\"{long}x\""),
        format!("form-data; name=f; filename=\"{long}x\""),
        format!("form-data; name=f; filename*=UTF-8''{long}x"),
    ] {
        assert_eq!(read_disposition(&value), Err(MultipartError::NameTooLong));
    }
}

#[test]
fn part_headers_are_bounded_while_they_stream_in() {
    let good = "Content-Disposition: form-data; name=f\r\nX: ";
    let filler = LIMITS.part_header_bytes - good.len() - 4;
    assert!(read_headers(format!("{good}{}", "x".repeat(filler)).as_bytes()).is_ok());
    let too_large = format!("{good}{}", "x".repeat(filler + 1));
    assert_eq!(
        read_headers(too_large.as_bytes()),
        Err(MultipartError::PartHeadersTooLarge)
    );

    // Without end: refused after the limit, whatever the size of the frames.
    for size in [1, 100, 1 << 20] {
        let mut parser = parser("b");
        let mut fed = 0;
        let endless = vec![b'x'; size];
        parser.feed(Bytes::from_static(b"--b\r\n"));
        let error = loop {
            match parser.next() {
                Ok(_) => {
                    assert!(parser.held() <= HELD && fed <= LIMITS.part_header_bytes);
                    parser.feed(Bytes::copy_from_slice(&endless));
                    fed += size;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error, MultipartError::PartHeadersTooLarge);
    }
}

#[test]
fn the_number_of_parts_is_bounded() {
    let parts = vec![part("f", None, None, b""); 100_000];
    let refused = run(parser("b"), [&encode("b", &parts)[..]]);
    assert_eq!(
        (refused.parts.len(), refused.end),
        (LIMITS.parts, Err(MultipartError::TooManyParts))
    );
    assert_eq!(
        read(&encode("b", &parts[..LIMITS.parts])).map(|parts| parts.len()),
        Ok(LIMITS.parts)
    );
}

#[test]
fn bodies_full_of_near_misses() {
    let boundary = "x".repeat(70);
    for miss in [
        "\r\n--".to_owned(),
        format!("\r\n--{}", &boundary[1..]),
        format!("\r\n--{boundary}y"),
        "\r".into(),
    ] {
        let data = miss.repeat((1 << 18) / miss.len());
        let expected = part("f", None, None, data.as_bytes());
        let body = encode(&boundary, std::slice::from_ref(&expected));
        for size in [1, 7, 75, 1 << 16] {
            let outcome = run(parser(&boundary), body.chunks(size));
            assert!(
                outcome.parts == [expected.clone()] && outcome.end.is_ok(),
                "{miss:?} in frames of {size}"
            );
        }
    }
}

#[test]
fn contents_are_slices_of_the_frame() {
    let body = Bytes::from(encode("b", &[part("f", None, None, b"content")]));
    let mut parser = parser("b");
    parser.feed(body.clone());
    assert!(matches!(parser.next(), Ok(Event::Part(_))));
    let Ok(Event::Data(data)) = parser.next() else {
        panic!("data follows the head")
    };
    assert!(body.as_ptr_range().contains(&data.as_ptr()));
    // And the parser lets go of the frame when it is done with it.
    while parser.next() != Ok(Event::End) {}
    drop(data);
    assert!(body.is_unique());
}

#[test]
fn debug_shows_no_names_and_no_data() {
    let head = PartHead {
        name: b"secret".into(),
        filename: Some(b"secret".into()),
        content_type: None,
    };
    let shown = format!(
        "{:?} {:?}",
        Event::Part(head),
        Event::Data(Bytes::from_static(b"secret"))
    );
    assert!(
        !shown.contains("secret") && !shown.contains("115"),
        "{shown}"
    );
}

/// Bytes that are often part of a delimiter.
fn tricky_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n--bound".to_vec()),
        Just(b"\r\n--boun".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"-".to_vec()),
        Just(b" ".to_vec()),
        Just(b"Content-Disposition: form-data; name=\"f\"".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Parts that a form with the boundary `bound` can hold.
fn parts() -> impl Strategy<Value = Vec<Part>> {
    // A sender that does not escape backslashes cannot say every name: see `disposition::quoted`.
    let name = || {
        prop::collection::vec(
            any::<u8>().prop_filter("backslash", |&byte| byte != b'\\'),
            0..12,
        )
    };
    let spelled_out = |name: &Vec<u8>| {
        !["%22", "%0D", "%0A"]
            .iter()
            .any(|e| memmem::find(name, e.as_bytes()).is_some())
    };
    let name = move || name().prop_filter("an escape spelled out", spelled_out);
    let data = tricky_bytes().prop_filter("the delimiter is in the data", |data| {
        let framed = [b"\r\n", &data[..], b"\r\n--bound"].concat();
        memmem::find(&framed, b"\r\n--bound") == Some(framed.len() - 9)
    });
    let part = (
        name(),
        prop::option::of(name()),
        prop::option::of("[ -~&&[^ ]][ -~]{0,8}[!-~]"),
        data,
    )
        .prop_map(|(name, filename, content_type, data)| Part {
            name,
            filename,
            content_type,
            data,
        });
    prop::collection::vec(part, 0..5)
}

/// Cuts a body into frames at these places; empty frames are among them.
fn frames<'a>(body: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &body[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn any_parts_in_any_frames_come_back(parts in parts(), cuts: Vec<Index>) {
        let body = encode("bound", &parts);
        for frames in [frames(&body, &cuts), body.chunks(1).collect()] {
            let outcome = run(parser("bound"), frames);
            prop_assert_eq!(outcome.end, Ok(()));
            prop_assert_eq!(&outcome.parts, &parts);
        }
    }

    #[test]
    fn a_cut_form_never_ends(parts in parts(), cut: Index, cuts: Vec<Index>) {
        let whole = encode("bound", &parts);
        // Up to the last hyphen; the line break after it is not needed.
        let body = &whole[..cut.index(whole.len() - 2)];
        let outcome = run(parser("bound"), frames(body, &cuts));
        prop_assert_eq!(outcome.end, Err(MultipartError::Truncated));
        // What ended is whole, and what was cut is a beginning.
        let ended = outcome.parts.len();
        prop_assert_eq!(&outcome.parts[..], &parts[..ended]);
        let delimiters = memmem::find_iter(body, b"\r\n--bound\r\n").count();
        prop_assert_eq!(ended, delimiters);
        if let Some(open) = outcome.open {
            prop_assert_eq!(&open.name, &parts[ended].name);
            prop_assert!(parts[ended].data.starts_with(&open.data));
        }
    }

    #[test]
    fn no_body_panics_or_fills_memory(noise in tricky_bytes(), parts in parts(), cut: Index, cuts: Vec<Index>) {
        let form = encode("bound", &parts);
        let at = cut.index(form.len());
        for body in [[&form[..at], &noise, &form[at..]].concat(), [b"--bound\r\n", &noise[..]].concat(), noise] {
            // `run` checks what is held; and frames make no difference.
            let one = run(parser("bound"), [&body[..]]);
            let many = run(parser("bound"), frames(&body, &cuts));
            prop_assert_eq!((one.parts, one.end), (many.parts, many.end));
        }
    }
}
