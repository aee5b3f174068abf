//! The upload page: what it is made of, and in whose words.

use http::Request;

use crate::client::Answer;
use crate::program::Bench;
use crate::server::Server;

fn asking(server: &Server<'_>, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Vec::new()).unwrap())
}

#[test]
fn the_page_is_in_the_language_of_its_reader() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for (path, accept, tag) in [
        ("/", "", "en"),
        ("/", "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("/", "fr", "en"),
        ("/?lang=ko", "en", "ko"),
        ("/?lang=en", "ko", "en"),
        ("/?lang=xx", "ko", "ko"),
    ] {
        let page = asking(&server, path, &[("accept-language", accept)]).is(200);
        assert_eq!(page.header("content-language"), tag, "{path} {accept}");
        assert_eq!(page.header("vary"), "Accept-Language");
        let text = page.text();
        assert!(text.contains(&format!("<html lang=\"{tag}\" dir=\"ltr\">")));
        assert!(text.contains(&format!("action=\"/uploads?lang={tag}\"")));
        let other = if tag == "en" { "ko" } else { "en" };
        let switch = format!("<a href=\"/?lang={other}\" hreflang=\"{other}\" lang=\"{other}\"");
        assert!(text.contains(&switch), "{text}");
    }
}
