//! The upload page: a plain form, and what the script makes more of it.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use super::languages::{Phrase, fill};
use super::{Content, LinkPage, Reader, receipt, sizes};
use crate::keys::NamedRecipient;

/// Where a form is sent to, and where the script creates uploads. A link is its own.
const ENDPOINT: &str = "/uploads";

fn endpoint(reader: Reader<'_>) -> &str {
    reader.link().map_or(ENDPOINT, LinkPage::address)
}

/// The problems that the script tells in the words of their pages. Others come from forms alone, pass by themselves, or are told in
/// words of the script's own.
const REACHING_THE_SCRIPT: [&str; 13] = [
    "cross-site",
    "fields-too-large",
    "internal",
    "link-bytes-used-up",
    "link-expired",
    "link-revoked",
    "link-used-up",
    "name-too-long",
    "no-such-link",
    "no-such-upload",
    "store-full",
    "unauthorized",
    "unsettled",
];

pub(super) fn title(reader: Reader<'_>) -> String {
    let words = &reader.language.page;
    match reader.form_title() {
        Some(title) => {
            let (title, _) = title.within(reader.language);
            fill(&words.heading_to, &[("title", title)])
        }
        None => words.heading.clone(),
    }
}

pub(super) fn content(reader: Reader<'_>) -> Content {
    let words = &reader.language.page;
    let lead = reader.form_text();
    let (lead, tag) = lead.map_or((&*words.lead, None), |text| text.within(reader.language));
    let main = html! {
        div id="handing-in" {
            h1 { (title(reader)) }
            p.lead lang=[tag] { (lead) }
            form id="form" method="post" action={ (endpoint(reader)) "?lang=" (reader.language.tag) } enctype="multipart/form-data" {
                (chooser(reader))
                section.queue id="queue" aria-labelledby="queue-heading" hidden {
                    h2 id="queue-heading" { (words.queue) }
                    p.summary id="queue-summary" {}
                    // Without its dots a list is none to Safari, unless it says so.
                    ul id="files-list" role="list" {}
                }
                (fields(reader))
                (promise(reader))
                div.dock id="dock" {
                    section.total id="total" tabindex="-1" aria-labelledby="total-heading" hidden {
                        h2 id="total-heading" { (words.progress) }
                        progress id="total-progress" max="1" value="0" aria-labelledby="total-heading" {}
                        p id="total-status" {}
                    }
                    p.error id="error" role="alert" hidden {}
                    p.actions {
                        button.primary id="send" { (words.send) } " "
                        button.secondary type="button" id="pause-all" hidden { (words.pause_all) } " "
                        button.secondary type="button" id="resume-all" hidden { (words.resume_all) } " "
                        button.quiet type="button" id="cancel-all" hidden { (words.cancel_all) }
                    }
                }
            }
        }
        div id="received" hidden {}
        p.visually-hidden id="live" role="status" {}
    };
    Content {
        main,
        after: after(reader),
        scripted: true,
        address: Some(reader.form_address().to_owned()),
        leads_to_welcome: reader.welcome.is_some(),
    }
}

fn chooser(reader: Reader<'_>) -> Markup {
    let words = &reader.language.page;
    let limit = sizes::limit(reader.max_file());
    let fields = reader.fields();
    let (accept, limits, files_limit) = match reader.link() {
        Some(link) => (
            link.accept(),
            link.limits(reader.language),
            &words.file_limit,
        ),
        None => (None, html! {}, &words.files_limit),
    };
    html! {
        div.chooser id="chooser" {
            label.chooser-label for="files" { (words.files) }
            input id="files" type="file" name="file" multiple required[fields.is_empty()] accept=[&accept] aria-describedby="files-hint";
            div.choose id="choose" hidden {
                button.secondary type="button" id="choose-files" aria-describedby="files-hint" { (words.choose_files) } " "
                button.secondary type="button" id="choose-folder" { (words.choose_folder) }
                p.hint { (words.drop_hint) }
            }
            // Without a name: the form itself never sends it.
            input id="folder" type="file" webkitdirectory hidden tabindex="-1" aria-hidden="true";
            div.hint id="files-hint" {
                p { (fill(files_limit, &[("limit", &limit)])) }
                (limits)
            }
        }
    }
}

/// The text fields that the operator wants. Browsers offer nobody what somebody else wrote there before: computers are shared.
fn fields(reader: Reader<'_>) -> Markup {
    let optional = &reader.language.page.optional;
    let fields = reader.fields().iter().zip(1..);
    html! {
        @for (field, number) in fields {
            @let (label, tag) = field.label(reader.language);
            @let id = format!("field-{number}");
            div.field {
                label for=(id) {
                    @if tag.is_some() { span lang=[tag] { (label) } } @else { (label) }
                    @if !field.required { " " span.optional { (optional) } }
                }
                @if field.lines > 1 {
                    textarea id=(id) name=(field.name) autocomplete="off" rows=(field.lines) required[field.required] {}
                } @else {
                    input type="text" id=(id) name=(field.name) autocomplete="off" required[field.required];
                }
            }
        }
    }
}

/// Who can read what is sent, in a sentence and exactly.
fn promise(reader: Reader<'_>) -> Markup {
    let words = &reader.language.page;
    let keys = reader.recipients();
    let all_named = keys.iter().all(|key| key.comment().is_some());
    let mut names = Vec::new();
    for name in keys.iter().filter_map(|key| key.comment()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let promise = if server_opens(reader, &keys) {
        words.promise_server.clone()
    } else if all_named {
        fill(
            &words.promise_named,
            &[("names", &reader.language.list(&names))],
        )
    } else {
        words.promise_unnamed.clone()
    };
    html! {
        section.promise aria-label=(words.keys) {
            p { (promise) }
            details {
                summary { (words.keys) }
                p { (words.keys_explained) }
                ul {
                    @for key in keys.iter() {
                        li { (receipt::key(key.comment().or(Some(&words.unnamed_key)), &key.fingerprint())) }
                    }
                }
            }
        }
    }
}

/// Whether the server holds a private key for one of these.
fn server_opens(reader: Reader<'_>, keys: &[NamedRecipient]) -> bool {
    let held = reader.app.uploads.identities().iter();
    let mut held =
        held.filter_map(|key| Some(NamedRecipient::new(key.to_recipient()?, "").fingerprint()));
    held.any(|held| keys.iter().any(|key| key.fingerprint() == held))
}

/// What the script needs. It stands behind the form, which is usable before.
fn after(reader: Reader<'_>) -> Markup {
    let words = &reader.language.page;
    html! {
        div.drop-here id="drop-here" hidden aria-hidden="true" { p { (words.drop_here) } }
        template id="file-template" {
            li.file data-state="waiting" {
                p.file-name { bdi.folder {} bdi.name {} } " "
                p.file-size {}
                progress max="1" value="0" {}
                p.file-status {}
                p.file-actions {
                    @for (action, word) in [
                        ("pause", &words.pause),
                        ("resume", &words.resume),
                        ("retry", &words.retry),
                        ("cancel", &words.cancel),
                    ] {
                        button.quiet type="button" data-action=(action) hidden { (word) } " "
                    }
                    button.quiet type="button" data-action="remove" { (words.remove) }
                }
            }
        }
        (receipt::templates(reader))
        (data(reader))
    }
}

/// The words and the limits, for the script.
pub(super) fn data(reader: Reader<'_>) -> Markup {
    html! { script type="application/json" id="page-data" { (PreEscaped(in_script(&Data::of(reader)))) } }
}

/// What the page says to the script.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    endpoint: &'a str,
    max_size: u64,
    /// What a link takes at most, whatever becomes of what is under way.
    most_files: Option<u64>,
    most_bytes: Option<u64>,
    /// As the attribute of the same name has it, one by one. Everything, where it is empty.
    accept: Vec<String>,
    max_name: usize,
    max_fields: usize,
    /// Whether there may be a text and no file.
    has_fields: bool,
    recipients: Vec<Key>,
    messages: &'static BTreeMap<String, Phrase>,
    receipt: ReceiptTexts,
    problems: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct Key {
    name: Option<String>,
    fingerprint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ReceiptTexts {
    unnamed: &'static str,
    text_fields: &'static str,
    /// For one of them.
    byte: &'static str,
    bytes: &'static str,
}

impl<'a> Data<'a> {
    fn of(reader: Reader<'a>) -> Self {
        let language = reader.language;
        let limits = &reader.app.limits;
        let link = reader.link();
        let recipients = reader.recipients();
        let recipients = recipients.iter().map(|key| Key {
            name: key.comment().map(str::to_owned),
            fingerprint: key.fingerprint(),
        });
        let problems = REACHING_THE_SCRIPT.iter().filter_map(|&code| {
            let problem = language.problem(code)?;
            Some((code, &*problem.text))
        });
        Self {
            endpoint: endpoint(reader),
            max_size: reader.max_file(),
            most_files: link.and_then(|link| link.most_files),
            most_bytes: link.and_then(|link| link.most_bytes),
            accept: link.map(LinkPage::accepted).unwrap_or_default(),
            max_name: limits.max_name,
            max_fields: limits.max_fields,
            has_fields: !reader.fields().is_empty(),
            recipients: recipients.collect(),
            messages: &language.script,
            receipt: ReceiptTexts {
                unnamed: &language.receipt.unnamed,
                text_fields: &language.receipt.text_fields,
                byte: &language.receipt.byte,
                bytes: &language.receipt.bytes,
            },
            problems: problems.collect(),
        }
    }
}

/// JSON as the text of a script element: without `<` it cannot end the element, nor begin anything in it.
fn in_script(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("plain data");
    text.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::page::languages;

    #[test]
    fn what_reaches_the_script_has_words() {
        for language in languages::LANGUAGES.iter() {
            for code in REACHING_THE_SCRIPT {
                let text = &language.problem(code).expect(code).text;
                // Nothing fills it in.
                assert!(!text.contains('{'), "{code}: {text}");
            }
        }
    }

    #[test]
    fn data_cannot_end_its_element() {
        let text = "</script><!--<script>&\u{2028}\"";
        let escaped = in_script(&text);
        assert!(!escaped.contains('<'), "{escaped}");
        let read: String = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read, text);
    }
}
