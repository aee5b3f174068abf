//! The development authority, for phones: what it is, and how to install it. There only where the operator asks for it.

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_DISPOSITION;
use maud::{Markup, html};

use super::Content;
use super::welcome::code;
use crate::http::{Response, respond_with};

/// What the page shows and hands out.
#[derive(Debug)]
pub struct AuthorityPage {
    /// What the authority is called in its certificate.
    pub name: String,
    /// SHA-256 over the certificate, in pairs of hexadecimal digits.
    pub fingerprint: String,
    /// The hosts that it can vouch for.
    pub hosts: String,
    /// The day on which it ends.
    pub until: String,
    /// The certificate, in DER.
    pub certificate: Bytes,
    /// Where a phone finds the page.
    pub url: String,
}

impl AuthorityPage {
    /// `GET /ca.crt`. Of this type, and shown rather than saved: only then Safari takes it for a profile that can be installed.
    pub(in crate::http) fn file(&self) -> Response {
        let mut response = respond_with("application/x-x509-ca-cert", self.certificate.clone());
        response.headers_mut().insert(
            CONTENT_DISPOSITION,
            HeaderValue::from_static("inline; filename=\"sealslot-ca.crt\""),
        );
        response
    }
}

pub(super) const TITLE: &str = "Trust this server on a phone";

pub(super) fn content(authority: &AuthorityPage) -> Content {
    let main = html! {
        div.welcome {
            h1 { (TITLE) }
            p.lead {
                "This server runs for development. Its certificate comes from an authority that was made for it, and that no \
                 phone knows yet."
            }
            section {
                h2 { "1. Compare the fingerprint" }
                p {
                    "Until the authority is installed, anybody on the network could have sent you this page. Go on only where \
                     the terminal of the server, or " code { "sealslot certs show" } ", says the same:"
                }
                pre dir="ltr" { code { (lines(&authority.fingerprint)) } }
            }
            section {
                h2 { "2. Install the authority" }
                p { a.button href="/ca.crt" { "Get the certificate" } }
                (steps("iPhone and iPad", &[
                    "Open this page in Safari, get the certificate, and allow the download of the profile.",
                    "Settings, General, VPN & Device Management: choose the profile, compare its SHA-256 under More Details, and install it.",
                    "Settings, General, About, Certificate Trust Settings: switch it on. Until then it is not trusted.",
                ]))
                (steps("Android", &[
                    "Get the certificate; it is among the downloads then.",
                    "Settings, Security, Encryption & credentials, Install a certificate, CA certificate: choose the file. Names differ \
                     by maker; search the settings for “certificate”.",
                    "Chrome trusts it. Firefox does after “Use third-party CA certificates” under Settings, About Firefox, the logo \
                     touched five times, Secret Settings.",
                ]))
            }
            section {
                h2 { "What it can do" }
                dl {
                    dt { "Name" } dd { (authority.name) }
                    dt { "Vouches for" } dd { (authority.hosts) ", names below them, and no other host" }
                    dt { "Ends" } dd { (authority.until) }
                }
                p { "Take it out again where you installed it when you no longer need it." }
            }
            section {
                h2 { "This page on another phone" }
                p { code { (authority.url) } }
                (code(&authority.url, &format!("QR code of {}", authority.url)))
            }
        }
    };
    Content {
        main,
        ..Content::default()
    }
}

fn steps(device: &str, steps: &[&str]) -> Markup {
    html! {
        h3 { (device) }
        ol { @for step in steps { li { (step) } } }
    }
}

/// A fingerprint in four lines, that two people can read to each other.
fn lines(fingerprint: &str) -> String {
    let pairs: Vec<_> = fingerprint.split(':').collect();
    let lines: Vec<_> = pairs.chunks(8).map(|line| line.join(":")).collect();
    lines.join("\n")
}
