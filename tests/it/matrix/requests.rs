//! What is sent for a row.

use http::{Method, Request};

use super::callers::Caller;
use crate::client::{Multipart, percent_encoded};

/// The request by this method for this path, in the ways that the row names. Words that say what the path leads to say nothing
/// here. `data`: what the form field of that name holds.
pub(super) fn request(
    method: &Method,
    path: &str,
    how: &[&str],
    caller: &Caller,
    data: &str,
) -> Request<Vec<u8>> {
    let mut request = Request::builder().method(method).uri(path);
    let mut body = Vec::new();
    let meant = how.iter().find_map(|word| word.strip_prefix("means "));
    let appends = meant.unwrap_or(method.as_str()) == "PATCH";
    for word in how {
        let headers: &[(&str, &str)] = match *word {
            "form" => {
                body = Multipart::new()
                    .file("report.txt", "text/plain", "content")
                    .finish();
                &[("content-type", Multipart::TYPE)]
            }
            "raw" => {
                body = b"content".to_vec();
                &[("content-type", "text/plain")]
            }
            "data" => {
                body = format!("data={}", percent_encoded(data.as_bytes())).into_bytes();
                &[("content-type", "application/x-www-form-urlencoded")]
            }
            "json" => {
                body = b"{\"label\":\"for Kim\"}".to_vec();
                &[("content-type", "application/json")]
            }
            "tus" if appends => {
                body = b"body".to_vec();
                &[
                    ("tus-resumable", "1.0.0"),
                    ("upload-offset", "0"),
                    ("content-type", "application/offset+octet-stream"),
                ]
            }
            "tus" => &[("tus-resumable", "1.0.0"), ("upload-length", "4")],
            "tus with body" => {
                body = b"body".to_vec();
                &[
                    ("tus-resumable", "1.0.0"),
                    ("upload-length", "4"),
                    ("content-type", "application/offset+octet-stream"),
                ]
            }
            "draft" if appends => {
                body = b"rest".to_vec();
                &[
                    ("upload-complete", "?1"),
                    ("upload-offset", "4"),
                    ("content-type", "application/partial-upload"),
                ]
            }
            "draft" if [Method::POST, Method::PUT].contains(method) => {
                body = b"part".to_vec();
                &[("upload-complete", "?0"), ("content-type", "text/plain")]
            }
            "rewrapped" => {
                body = b"new headers".to_vec();
                &[("content-type", "application/vnd.sealslot.rewrapped")]
            }
            "if-match" => &[("if-match", "\"another\"")],
            "cross-site" => &[("sec-fetch-site", "cross-site")],
            // What the path leads to.
            _ => &[],
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
    }
    if let Some(meant) = meant {
        request = request.header("x-http-method-override", meant);
    }
    if let Some(authorization) = &caller.authorization {
        request = request.header("authorization", authorization);
    }
    request.body(body).unwrap()
}
