//! Pages for people: the form, the receipt, and what went wrong. They work without JavaScript and without anything
//! from elsewhere.

use std::fmt::{self, Write};

use super::create::Submission;
use super::{App, Response, respond_with, size};
use crate::upload::{Kind, Receipt};

const STYLE: &str = include_str!("page.css");

pub(super) fn style() -> Response {
    respond_with("text/css; charset=utf-8", STYLE)
}

/// `GET /`: the form.
pub(super) fn upload_page(app: &App) -> Response {
    let mut keys = String::new();
    for recipient in app.uploads.named_recipients() {
        let fingerprint = recipient.fingerprint();
        let _ = match recipient.comment() {
            Some(name) => {
                write!(
                    keys,
                    "<li>{} (<code>{}</code>)</li>",
                    Text(name),
                    Text(&fingerprint)
                )
            }
            None => write!(keys, "<li><code>{}</code></li>", Text(&fingerprint)),
        };
    }
    let reader = if app.uploads.identities().is_empty() {
        "This server cannot open it again: only the holder of the key can."
    } else {
        "This server holds the key that opens it."
    };
    let body = format!(
        "<h1>Hand in files</h1>\n\
         <p>What you send is sealed while it arrives. {reader}</p>\n\
         <form method=\"post\" action=\"/uploads\" enctype=\"multipart/form-data\">\n\
         <label for=\"file\">Files</label>\n\
         <input id=\"file\" type=\"file\" name=\"file\" multiple required>\n\
         <button>Send</button>\n\
         </form>\n\
         <p>Up to {} at a time. Sealed to:</p>\n<ul>{keys}</ul>\n",
        size(app.limits.max_size)
    );
    html("Hand in files", &body)
}

/// The receipt of a form that was sent from a browser.
pub(super) fn receipt(submission: &Submission) -> Response {
    let mut body = String::from(
        "<h1>Received</h1>\n<p>Everything below arrived whole, is sealed, and is safely stored.</p>\n",
    );
    for receipt in &submission.uploads {
        let _ = write_receipt(&mut body, receipt);
    }
    let _ = write!(
        body,
        "<p>Keep this page if you want to be able to show what you sent.</p>\n\
         <p><a href=\"/\">Send more</a></p>\n<!-- submission {} -->\n",
        submission.submission
    );
    html("Received", &body)
}

fn write_receipt(body: &mut String, receipt: &Receipt) -> fmt::Result {
    let name = match (receipt.kind, receipt.name.as_deref()) {
        (Kind::Fields, _) => "Text fields",
        (Kind::File, Some(name)) => name,
        (Kind::File, None) => "A file without a name",
    };
    write!(
        body,
        "<dl>\n<dt>Name</dt><dd><bdi>{}</bdi></dd>\n<dt>Size</dt><dd>{} ({} bytes)</dd>\n\
         <dt>SHA-256</dt><dd><code>{}</code></dd>\n<dt>Time</dt><dd>{}</dd>\n\
         <dt>Number</dt><dd><code>{}</code></dd>\n",
        Text(name),
        size(receipt.size),
        receipt.size,
        receipt.sha256,
        receipt.time,
        receipt.id,
    )?;
    for recipient in &receipt.recipients {
        writeln!(
            body,
            "<dt>Sealed to</dt><dd><code>{}</code></dd>",
            Text(recipient)
        )?;
    }
    body.write_str("</dl>\n")
}

/// What went wrong, for a person.
pub(super) fn problem(title: &str, detail: &str) -> Response {
    let body = format!(
        "<h1>{}</h1>\n<p>{}</p>\n<p><a href=\"/\">Back to the form</a></p>\n",
        Text(title),
        Text(detail)
    );
    html(title, &body)
}

fn html(title: &str, body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} · Sealslot</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        Text(title)
    );
    respond_with("text/html; charset=utf-8", page)
}

/// Text in a page, with what means something in HTML escaped.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        let text = Text("<img src=x onerror='alert(1)'>&\"").to_string();
        assert_eq!(
            text,
            "&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;&quot;"
        );
    }
}
