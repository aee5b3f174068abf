//! The receipt: as it answers a form, and empty for the script, which fills it in.

use maud::{Markup, html};

use super::languages::fill;
use super::{Content, Reader, form, sizes};
use crate::http::create::Submission;
use crate::upload::{Kind, Receipt};

/// A receipt that answers a form.
pub(super) fn content(reader: Reader<'_>, submission: &Submission) -> Content {
    Content {
        main: article(reader, Some(submission)),
        after: form::data(reader),
        // It unhides the buttons.
        scripted: true,
        ..Content::default()
    }
}

/// The templates that the script makes a receipt of.
pub(super) fn templates(reader: Reader<'_>) -> Markup {
    html! {
        template id="receipt-template" { (article(reader, None)) }
        template id="received-template" { (received(reader, None, false)) }
    }
}

fn article(reader: Reader<'_>, submission: Option<&Submission>) -> Markup {
    let words = &reader.language.receipt;
    let uploads = submission.map_or(&[][..], |submission| &submission.uploads);
    // RFC 3339 in UTC sorts as text.
    let time = uploads.iter().map(|receipt| &*receipt.time).max();
    let several = uploads.iter().any(|receipt| Some(&*receipt.time) != time);
    html! {
        article.receipt id="receipt" tabindex="-1" aria-labelledby="receipt-heading" {
            h1 id="receipt-heading" { (words.heading) }
            p.lead { (words.lead) }
            dl.facts {
                dt { (words.number) }
                dd {
                    code.submission { @if let Some(submission) = submission { (submission.submission) } }
                }
                dt { (words.time) }
                dd { (moment(time)) }
                dt { (words.sealed_to) }
                dd.recipients { ul { @if let Some(receipt) = uploads.first() { (recipients(reader, receipt)) } } }
            }
            h2 { (words.files) }
            // Without its numbers or dots a list is none to Safari, unless it says so.
            ol.received role="list" { @for receipt in uploads { (received(reader, Some(receipt), several)) } }
            p.actions {
                @for (action, word) in [("copy", &words.copy), ("print", &words.print), ("save", &words.save)] {
                    button.secondary type="button" data-action=(action) hidden { (word) } " "
                }
                a.button href=(reader.home()) { (words.more) }
            }
            p.notice role="status" {}
        }
    }
}

/// The keys of a receipt, with the names that they have here.
fn recipients(reader: Reader<'_>, receipt: &Receipt) -> Markup {
    let known = reader.recipients();
    let name = |fingerprint: &str| {
        let found = known.iter().find(|key| key.fingerprint() == fingerprint);
        found.and_then(|key| key.comment())
    };
    html! {
        @for fingerprint in &receipt.recipients {
            li { (key(name(fingerprint), fingerprint)) }
        }
    }
}

/// A key, by its name where it has one.
pub(super) fn key(name: Option<&str>, fingerprint: &str) -> Markup {
    html! {
        @if let Some(name) = name { bdi { (name) } " " }
        code { (fingerprint) }
    }
}

fn moment(time: Option<&str>) -> Markup {
    html! {
        time.time datetime=[time] { (time.map(readable).unwrap_or_default()) }
    }
}

/// `2026-11-24 21:30:55 UTC` of `2026-11-24T21:30:55Z`
pub(super) fn readable(time: &str) -> String {
    time.replace('T', " ").replace('Z', " UTC")
}

/// One upload of a receipt; with its own time where they differ.
fn received(reader: Reader<'_>, receipt: Option<&Receipt>, with_time: bool) -> Markup {
    let words = &reader.language.receipt;
    let text = |of: fn(&Receipt) -> String| receipt.map(of).unwrap_or_default();
    let name = receipt.map_or("", |receipt| {
        match (receipt.kind, receipt.name.as_deref()) {
            (Kind::Fields, _) => &words.text_fields,
            (Kind::File, Some(name)) => name,
            (Kind::File, None) => &words.unnamed,
        }
    });
    let size = receipt.map_or(String::new(), |receipt| {
        let text = match receipt.size {
            1 => &words.byte,
            _ => &words.bytes,
        };
        let bytes = fill(text, &[("count", &sizes::grouped(receipt.size))]);
        if receipt.size < 1000 {
            return bytes;
        }
        format!("{} ({bytes})", sizes::size(receipt.size))
    });
    html! {
        li {
            p.name { bdi { (name) } }
            dl {
                dt { (words.size) } dd.size { (size) }
                dt { (words.sha256) } dd { code.sha256 { (text(|receipt| receipt.sha256.clone())) } }
                dt { (words.id) } dd { code.id { (text(|receipt| receipt.id.to_string())) } }
                @if with_time {
                    dt { (words.time) } dd { (moment(receipt.map(|receipt| &*receipt.time))) }
                }
            }
        }
    }
}
