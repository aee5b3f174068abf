//! The first page of a server that runs for development: where everything is, and how to go on. It shows lines for a shell and
//! paths, never what is in the files, and shows them under names of this machine alone.

use http::header::{HOST, HeaderName};
use http::request::Parts;
use maud::{Markup, PreEscaped, html};

use super::languages::fill;
use super::{Content, QrDrawing, Reader};

/// What the page shows, ready for a shell.
#[derive(Debug)]
pub struct Welcome {
    /// Sends something.
    pub upload: String,
    /// Where uploads are.
    pub uploads: String,
    /// Opens all of them.
    pub open: String,
    /// Opens one of them without Sealslot.
    pub age: String,
    /// The private key's file.
    pub key: String,
    /// The admin token's file.
    pub token: String,
    /// The certificate authority's file, where there is one.
    pub ca: Option<String>,
    /// How a phone reaches it.
    pub phone: Phone,
}

/// How a phone reaches the server.
#[derive(Debug)]
pub struct Phone {
    /// The address in the code.
    pub url: String,
    /// Where this machine has an address in a network: the lines that have the server listen there, and the authority that they
    /// make.
    pub network: Option<(String, String)>,
}

/// Whether the request was made to a name of this machine and came straight from whoever made it. What comes in through a tunnel or
/// a proxy was mostly made to another, and most of those that change the name say what they are.
pub(super) fn is_of_this_machine(head: &Parts) -> bool {
    let forwarded = |name: &HeaderName| {
        let name = name.as_str();
        ["forwarded", "x-real-ip", "via"].contains(&name) || name.starts_with("x-forwarded-")
    };
    if head.headers.keys().any(forwarded) {
        return false;
    }
    let header = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    authority.or(header).is_some_and(is_local)
}

fn is_local(authority: &str) -> bool {
    // What stands before an `@` is no host.
    if authority.contains('@') {
        return false;
    }
    if authority == "[::1]" || authority.starts_with("[::1]:") {
        return true;
    }
    let host = authority.split(':').next().unwrap_or_default();
    let digits = |rest: &str| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    host.eq_ignore_ascii_case("localhost") || host.strip_prefix("127.").is_some_and(digits)
}

pub(super) fn content(reader: Reader<'_>, welcome: &Welcome) -> Content {
    let words = &reader.language.welcome;
    let main = html! {
        div.welcome {
            h1 { (words.title) }
            p.lead { (words.lead) }
            section {
                h2 { (words.try_heading) }
                p { a.button href=(reader.home()) { (words.open_page) } }
                p { (words.try_text) }
                (shell(&welcome.upload))
            }
            section {
                h2 { (words.arrived_heading) }
                p { (fill(&words.arrived_text, &[("uploads", &welcome.uploads)])) }
                (shell(&welcome.open))
                p { (words.arrived_age) }
                (shell(&welcome.age))
            }
            section {
                h2 { (words.key_heading) }
                p { (words.key_text) }
                dl {
                    dt { (words.key_file) } dd { code { (welcome.key) } }
                    dt { (words.token_file) } dd { code { (welcome.token) } }
                    @if let Some(ca) = &welcome.ca {
                        dt { (words.ca_file) } dd { code { (ca) } }
                    }
                }
            }
            (phone(reader, &welcome.phone))
        }
    };
    Content {
        main,
        address: Some("/welcome".to_owned()),
        ..Content::default()
    }
}

fn phone(reader: Reader<'_>, phone: &Phone) -> Markup {
    let words = &reader.language.welcome;
    html! {
        section {
            h2 { (words.phone_heading) }
            @match &phone.network {
                Some((lines, ca)) => {
                    p { (words.phone_text) }
                    (shell(lines))
                    p { (fill(&words.phone_warning, &[("ca", ca)])) }
                }
                None => p { (words.phone_none) }
            }
            (code(&phone.url, &fill(&words.qr_label, &[("url", &phone.url)])))
        }
    }
}

fn shell(lines: &str) -> Markup {
    html! { pre dir="ltr" { code { (lines) } } }
}

/// A QR code, drawn. Nothing where the address is longer than any code.
pub(super) fn code(url: &str, label: &str) -> Markup {
    let Some(drawing) = QrDrawing::of(url) else {
        return html! {};
    };
    let size = drawing.size();
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (size) " " (size) } role="img" aria-label=(label)
            shape-rendering="crispEdges" {
            (PreEscaped(drawing.shapes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for authority in [
            "localhost",
            "LOCALHOST:8443",
            "127.0.0.1:8443",
            "127.9.9.9",
            "[::1]",
            "[::1]:1",
        ] {
            assert!(is_local(authority), "{authority}");
        }
        for authority in [
            "",
            "127.evil.example",
            "localhost.evil.example",
            "drop.example:8443",
            "192.0.2.1",
            "[::1].example",
            "[2001:db8::1]",
            "1127.0.0.1",
            "localhost@drop.example",
            "localhost:x@drop.example",
            "[::1]:x@drop.example",
            "drop.example@localhost",
        ] {
            assert!(!is_local(authority), "{authority}");
        }
    }
}
