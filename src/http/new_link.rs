//! What `POST /links` says of a link that is to be made: JSON, read strictly. Whatever is not understood may be meant as a limit.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use super::keep::MAX_KEEP;
use super::page::{LinkPageError, link_settings};
use crate::grant::{LinkPage, MediaRangeError, NewLink};
use crate::keys::{KeyError, NamedRecipient, check_together, parse_recipients};

/// How long a link is open where nothing else is said.
const USUAL: Duration = Duration::from_hours(7 * 24);
const MAX_LABEL: usize = 200;
/// Types, extensions and recipients, each.
const MAX_ITEMS: usize = 64;
const MAX_EXTENSION: usize = 32;

/// Why no link can be made of it. Repeats texts of the admin's own.
#[derive(Debug, thiserror::Error)]
pub enum MalformedLink {
    /// Not JSON, a key that there is not, or a value of another kind.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Not one line that a table can show.
    #[error("label: write at most {MAX_LABEL} characters in one line")]
    Label,
    /// No time, or none that is to come.
    #[error("expires: give a time to come in UTC like 2026-11-23T12:00:00Z, or never")]
    Expires,
    /// Nothing could be handed in.
    #[error("{0}: give a number above 0, or leave it out")]
    Zero(&'static str),
    /// Longer than anything is kept, or not at all.
    #[error("keep: give seconds, from 1 to {MAX_KEEP}")]
    Keep,
    /// Not a media type.
    #[error("types: {0}")]
    Type(#[from] MediaRangeError),
    /// Not an extension.
    #[error("extensions: write letters and digits like pdf or tar.gz, at most {MAX_EXTENSION}")]
    Extension,
    /// More than a page can say.
    #[error("{0}: give at most {MAX_ITEMS}")]
    TooMany(&'static str),
    /// Nothing that a page can show.
    #[error("{0}")]
    Page(String),
    /// Nobody that can be sealed to.
    #[error("recipients: {0}")]
    Recipient(#[from] KeyError),
}

impl From<LinkPageError> for MalformedLink {
    fn from(error: LinkPageError) -> Self {
        // Written for a file of settings, where each has a line of its own.
        Self::Page(error.to_string().replace("page-field: ", ""))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    label: String,
    expires: Option<String>,
    max_uploads: Option<u64>,
    max_bytes: Option<u64>,
    max_file: Option<u64>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    extensions: Vec<String>,
    title: Option<Value>,
    text: Option<Value>,
    #[serde(default)]
    fields: Vec<Value>,
    #[serde(default)]
    recipients: Vec<String>,
    keep: Option<u64>,
}

/// Reads it.
pub fn parse(json: &[u8], now: SystemTime) -> Result<NewLink, MalformedLink> {
    let document: Document = serde_json::from_slice(json)?;
    let label = document.label.trim();
    if label.chars().count() > MAX_LABEL || label.contains(char::is_control) {
        return Err(MalformedLink::Label);
    }
    for (name, limit) in [
        ("max_uploads", document.max_uploads),
        ("max_bytes", document.max_bytes),
        ("max_file", document.max_file),
    ] {
        if limit == Some(0) {
            return Err(MalformedLink::Zero(name));
        }
    }
    for (name, items) in [
        ("types", document.types.len()),
        ("extensions", document.extensions.len()),
        ("recipients", document.recipients.len()),
    ] {
        if items > MAX_ITEMS {
            return Err(MalformedLink::TooMany(name));
        }
    }
    if document
        .keep
        .is_some_and(|keep| !(1..=MAX_KEEP).contains(&keep))
    {
        return Err(MalformedLink::Keep);
    }
    let page = LinkPage {
        title: document.title,
        text: document.text,
        fields: document.fields,
    };
    link_settings(&page)?;
    let types = document.types.iter().map(|text| text.parse());
    Ok(NewLink {
        label: label.to_owned(),
        expires: expires(document.expires.as_deref(), now)?,
        max_uploads: document.max_uploads,
        max_bytes: document.max_bytes,
        max_file: document.max_file,
        types: types.collect::<Result<_, _>>()?,
        extensions: extensions(&document.extensions)?,
        page,
        recipients: recipients(&document.recipients)?,
        keep: document.keep.map(Duration::from_secs),
    })
}

fn expires(text: Option<&str>, now: SystemTime) -> Result<Option<SystemTime>, MalformedLink> {
    match text {
        None => Ok(Some(now + USUAL)),
        Some("never") => Ok(None),
        Some(text) => {
            let time = humantime::parse_rfc3339(text).ok();
            let time = time.filter(|time| *time > now);
            time.map(Some).ok_or(MalformedLink::Expires)
        }
    }
}

fn extensions(texts: &[String]) -> Result<Vec<String>, MalformedLink> {
    let read = |text: &String| {
        let text = text.strip_prefix('.').unwrap_or(text).to_lowercase();
        let fits = |c: char| c.is_alphanumeric() || "-_+".contains(c);
        let mut parts = text.split('.');
        let sound = parts.all(|part| !part.is_empty() && part.chars().all(fits));
        if sound && text.chars().count() <= MAX_EXTENSION {
            Ok(text)
        } else {
            Err(MalformedLink::Extension)
        }
    };
    texts.iter().map(read).collect()
}

/// A line for each key, in the one form that it is written in.
fn recipients(texts: &[String]) -> Result<Vec<String>, MalformedLink> {
    let mut keys = Vec::new();
    for text in texts {
        keys.extend(parse_recipients(text)?);
    }
    check_together(&keys)?;
    let mut lines = Vec::new();
    for line in keys.iter().map(NamedRecipient::to_line) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.len() > MAX_ITEMS {
        return Err(MalformedLink::TooMany("recipients"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AGE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    fn now() -> SystemTime {
        humantime::parse_rfc3339("2026-11-23T12:00:00Z").unwrap()
    }

    fn read(json: &str) -> Result<NewLink, MalformedLink> {
        parse(json.as_bytes(), now())
    }

    #[test]
    fn nothing_said_is_a_week() {
        let new = read("{}").unwrap();
        assert_eq!(new.expires, Some(now() + USUAL));
        assert_eq!(
            (new.max_uploads, new.max_bytes, new.max_file),
            (None, None, None)
        );
        assert!(new.recipients.is_empty() && new.types.is_empty() && new.keep.is_none());
    }

    #[test]
    fn everything_is_read_as_it_is_meant() {
        let json = format!(
            r#"{{"label":" Case 117 ","expires":"2026-11-23T12:00:01Z","max_uploads":20,"max_bytes":5368709120,"max_file":1,
            "types":["Image/*"],"extensions":[".PDF","tar.gz"],"title":{{"en":"Kim","ko":"김"}},"text":"a\nb",
            "fields":["name","ref=Case",{{"name":"x","lines":3}}],"recipients":["{AGE}","{AGE}"],"keep":60}}"#
        );
        let new = read(&json).unwrap();
        assert_eq!(new.label, "Case 117");
        assert_eq!(new.expires, Some(now() + Duration::from_secs(1)));
        assert_eq!(new.max_bytes, Some(5 << 30));
        assert_eq!(new.types[0].as_str(), "image/*");
        assert_eq!(new.extensions, ["pdf", "tar.gz"]);
        assert_eq!(new.recipients, [AGE]);
        assert_eq!(new.keep, Some(Duration::from_mins(1)));
        assert_eq!(new.page.fields.len(), 3);
        assert_eq!(read(r#"{"expires":"never"}"#).unwrap().expires, None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for json in [
            "",
            "[]",
            "{}{}",
            r#"{"max_upload":1}"#,
            r#"{"max_uploads":"1"}"#,
            r#"{"max_uploads":1.0}"#,
            r#"{"max_bytes":-1}"#,
            r#"{"max_bytes":"5GiB"}"#,
            r#"{"max_bytes":1,"max_bytes":2}"#,
            r#"{"max_file":0}"#,
            r#"{"max_file":18446744073709551616}"#,
            r#"{"keep":0}"#,
            r#"{"keep":9999999999}"#,
            r#"{"label":"a\nb"}"#,
            r#"{"expires":"2026-11-23T12:00:00Z"}"#,
            r#"{"expires":"2026-11-23T12:00:00+02:00"}"#,
            r#"{"expires":"7d"}"#,
            r#"{"expires":""}"#,
            r#"{"types":["image"]}"#,
            r#"{"types":"image/*"}"#,
            r#"{"extensions":["../x"]}"#,
            r#"{"extensions":["."]}"#,
            r#"{"extensions":[".a,.b"]}"#,
            r#"{"title":""}"#,
            r#"{"title":{"xx":"a"}}"#,
            r#"{"title":["a"]}"#,
            r#"{"text":3}"#,
            r#"{"fields":["a","a"]}"#,
            r#"{"fields":["file"]}"#,
            r#"{"fields":[{"name":"a","size":3}]}"#,
            r#"{"recipients":["ssh-rsa AAAA"]}"#,
            r#"{"recipients":[""]}"#,
            r#"{"recipients":["/etc/passwd"]}"#,
        ] {
            let error = read(json).err().unwrap_or_else(|| panic!("{json}"));
            let said = error.to_string();
            assert!(!said.contains("page-field"), "{said}");
        }
        let label = |length: usize| read(&format!(r#"{{"label":"{}"}}"#, "x".repeat(length)));
        assert!(label(MAX_LABEL).is_ok() && label(MAX_LABEL + 1).is_err());
        let types = |count: usize| {
            let types = vec!["a/b"; count];
            read(&serde_json::json!({ "types": types }).to_string())
        };
        assert!(types(MAX_ITEMS).is_ok() && types(MAX_ITEMS + 1).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, now());
        }

        #[test]
        fn what_is_read_is_kept(
            max in proptest::option::of(any::<u64>()),
            seconds in any::<u64>(),
            label in "\\PC{0,250}",
        ) {
            let json = serde_json::json!({ "max_bytes": max, "keep": seconds, "label": label });
            if let Ok(new) = parse(json.to_string().as_bytes(), now()) {
                prop_assert_eq!(new.max_bytes, max);
                prop_assert_ne!(new.max_bytes, Some(0));
                prop_assert_eq!(new.keep, Some(Duration::from_secs(seconds)));
                prop_assert_eq!(&*new.label, label.trim());
            }
        }
    }
}
