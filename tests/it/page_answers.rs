//! What a form is answered with: receipts and problems, in the words of whoever sent it.

use data_encoding::HEXLOWER;
use http::Request;
use rustls::version::TLS13;
use sha2::{Digest, Sha256};

use crate::client::{Multipart, Protocol};
use crate::page::{BROWSER, asking, between};
use crate::program::Bench;
use crate::server::Server;

#[test]
fn receipts_and_problems_are_in_the_language_of_the_form() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-size", "1MB"]);
    for protocol in Protocol::ALL {
        for (path, accept, tag, received, too_large) in [
            (
                "/uploads?lang=en",
                "ko",
                "en",
                "<h1 id=\"receipt-heading\">Received</h1>",
                "<h1>Too large</h1>",
            ),
            (
                "/uploads?lang=ko",
                "en",
                "ko",
                "<h1 id=\"receipt-heading\">잘 받았습니다</h1>",
                "<h1>너무 큽니다</h1>",
            ),
            (
                "/uploads",
                "ko",
                "ko",
                "<h1 id=\"receipt-heading\">잘 받았습니다</h1>",
                "<h1>너무 큽니다</h1>",
            ),
        ] {
            let post = |size: usize| {
                let form = Multipart::new().file("a.bin", "a/b", vec![7; size]);
                let request = Request::post(path)
                    .header("content-type", Multipart::TYPE)
                    .header("accept", BROWSER)
                    .header("accept-language", accept);
                server.send_over(protocol, &TLS13, request.body(form.finish()).unwrap())
            };
            for (answer, heading) in [
                (post(12_345).is(201), received),
                (post(1_500_000).is(413), too_large),
            ] {
                assert_eq!(answer.header("content-language"), tag);
                assert_eq!(answer.header("vary"), "Accept-Language, Accept");
                assert_eq!(answer.header("cache-control"), "no-store");
                let text = answer.text();
                assert!(text.contains(heading), "{heading}: {text}");
                assert!(text.contains(&format!("href=\"/?lang={tag}\"")), "{text}");
            }
            let receipt = post(12_345).text();
            let digest = HEXLOWER.encode(&Sha256::digest(vec![7; 12_345]));
            assert!(receipt.contains("12.3 kB (12,345"), "{receipt}");
            assert!(receipt.contains(&digest) && receipt.contains("<bdi>a.bin</bdi>"));
            // To another language leads nothing that would lose it.
            assert!(!receipt.contains("<nav"));
            let refused = post(1_500_000).text();
            assert!(refused.contains("1 MB") && refused.contains("<code>too-large</code>"));
        }
    }
}

#[test]
fn sizes_are_told_as_they_are_said() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for (size, english, korean) in [
        (0, "0 bytes", "0바이트"),
        (1, "1 byte", "1바이트"),
        (999, "999 bytes", "999바이트"),
        (1000, "1 kB (1,000 bytes)", "1 kB (1,000바이트)"),
    ] {
        for (tag, said) in [("en", english), ("ko", korean)] {
            let form = Multipart::new().file("a", "a/b", vec![7; size]);
            let request = Request::post(format!("/uploads?lang={tag}"))
                .header("content-type", Multipart::TYPE)
                .header("accept", BROWSER);
            let receipt = server.send(request.body(form.finish()).unwrap()).is(201);
            let found = between(&receipt.text(), "<dd class=\"size\">", "</dd>").to_owned();
            assert_eq!(found, said);
        }
    }
}

#[test]
fn an_empty_form_is_asked_for_what_it_has_room_for() {
    let bench = Bench::new();
    let field = ["--page-field", "message"];
    for (args, english, korean) in [
        (&[][..], "You chose no file.", "고른 파일이 없습니다."),
        (
            &field,
            "You chose no file and wrote nothing.",
            "고른 파일도 적은 내용도 없습니다.",
        ),
    ] {
        let server = Server::sealing(&bench, args);
        for (tag, said) in [("en", english), ("ko", korean)] {
            let form = Multipart::new().file("", "application/octet-stream", "");
            let request = Request::post(format!("/uploads?lang={tag}"))
                .header("content-type", Multipart::TYPE)
                .header("accept", BROWSER);
            let page = server
                .send(request.body(form.finish()).unwrap())
                .is(400)
                .text();
            assert!(page.contains(said), "{said}: {page}");
            assert!(page.contains("<code>empty-form</code>"), "{page}");
            let data = server.get(&format!("/?lang={tag}")).text();
            let has_fields = format!("\"hasFields\":{}", !args.is_empty());
            assert!(data.contains(&has_fields), "{data}");
        }
    }
}

#[test]
fn a_problem_without_words_of_its_own_is_told_as_to_programs() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let bearer = format!("Bearer {}", server.token());
    let headers = [("accept", BROWSER), ("authorization", &bearer)];
    let page = asking(&server, "/uploads?limit=0&lang=ko", &headers).is(400);
    let text = page.text();
    assert!(text.contains("<code>malformed-query</code>"), "{text}");
    assert!(
        text.contains("lang=\"en\" dir=\"ltr\">The query takes"),
        "{text}"
    );
}
