//! An upload link as its page shows it: what it says, to whom it seals, and what it takes still.

use std::sync::Arc;
use std::time::SystemTime;

use maud::{Markup, html};
use zeroize::Zeroizing;

use super::languages::{Language, fill};
use super::receipt::readable;
use super::settings::{PageSettingError, PageSettings, TextField};
use super::sizes;
use crate::grant::{self, Link, MediaRange};
use crate::keys::{KeyError, NamedRecipient, parse_recipients};
use crate::upload::to_rfc3339;

/// The problems of links that lead nowhere: nothing leads from their pages to a form.
pub(super) const IS_DEAD: [&str; 4] = [
    "link-expired",
    "link-revoked",
    "link-used-up",
    "no-such-link",
];

/// Why a link's page says nothing that can be shown.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum LinkPageError {
    /// Its title, its text or a field is none.
    #[error("{part}: {source}")]
    Part {
        part: &'static str,
        source: serde_json::Error,
    },
    /// The fields together make no form.
    #[error("fields: {0}")]
    Fields(#[from] PageSettingError),
}

/// Reads what a link's page says, as strictly as what the operator's says.
pub(in crate::http) fn settings(page: &grant::LinkPage) -> Result<PageSettings, LinkPageError> {
    let about = |part| move |source| LinkPageError::Part { part, source };
    let title = page.title.clone().map(serde_json::from_value);
    let text = page.text.clone().map(serde_json::from_value);
    let fields = page.fields.iter().cloned().map(serde_json::from_value);
    let fields: Result<Vec<TextField>, _> = fields.collect();
    let settings = PageSettings::new(
        title.transpose().map_err(about("title"))?,
        text.transpose().map_err(about("text"))?,
        None,
        fields.map_err(about("fields"))?,
    );
    Ok(settings?)
}

/// A link's page. Without `Debug`: it holds the link's secret.
pub(in crate::http) struct LinkPage {
    /// `/d/{token}`
    address: Zeroizing<String>,
    pub(super) settings: PageSettings,
    /// The keys that it seals to in place of the server's. Empty where those do.
    pub(super) recipients: Arc<[NamedRecipient]>,
    pub(super) max_file: Option<u64>,
    /// What it takes where everything that is under way comes to nothing. Somebody may want to go on with that here.
    pub(super) most_files: Option<u64>,
    pub(super) most_bytes: Option<u64>,
    /// What is left when everything that is under way is taken.
    files_left: Option<u64>,
    bytes_left: Option<u64>,
    expires: Option<SystemTime>,
    types: Vec<MediaRange>,
    extensions: Vec<String>,
}

impl LinkPage {
    /// The page of `link` at `address`.
    pub(in crate::http) fn of(link: &Link, address: Zeroizing<String>) -> Result<Self, KeyError> {
        let recipients = link.recipients.iter().map(|line| parse_recipients(line));
        let recipients = recipients.collect::<Result<Vec<_>, _>>()?;
        let settings = settings(&link.page).unwrap_or_else(|error| {
            tracing::warn!(link = %link.id(), %error, "a link's page cannot be read: it shows what the server's own says");
            PageSettings::default()
        });
        let used = &link.used;
        let less = |most: Option<u64>, used: u64| most.map(|most| most.saturating_sub(used));
        let most_files = less(link.max_uploads, used.uploads);
        Ok(Self {
            address,
            settings,
            recipients: recipients.into_iter().flatten().collect(),
            max_file: link.max_file,
            most_files,
            most_bytes: less(link.max_bytes, used.bytes),
            files_left: less(most_files, link.reserved_usage().uploads),
            bytes_left: link.bytes_left(),
            expires: link.expires,
            types: link.types.clone(),
            extensions: link.extensions.clone(),
        })
    }

    /// `/d/{token}`
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What it takes, as the attribute `accept` has it, one by one. Everything, where it is empty.
    pub(super) fn accepted(&self) -> Vec<String> {
        if self.types.iter().any(|range| range.as_str() == "*/*") {
            return Vec::new();
        }
        let types = self.types.iter().map(|range| range.as_str().to_owned());
        let extensions = self
            .extensions
            .iter()
            .map(|extension| format!(".{extension}"));
        types.chain(extensions).collect()
    }

    /// The attribute, where there is one.
    pub(super) fn accept(&self) -> Option<String> {
        let accepted = self.accepted();
        (!accepted.is_empty()).then(|| accepted.join(","))
    }

    /// What it takes, in words.
    pub(super) fn limits(&self, language: &Language) -> Markup {
        let words = &language.page;
        let kinds = self.kinds(language);
        let (before, after) = words
            .open_until
            .split_once("{time}")
            .unwrap_or((&words.open_until, ""));
        html! {
            ul.limits role="list" {
                @if !kinds.is_empty() {
                    @let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
                    li { (fill(&words.accepted, &[("kinds", &language.list(&kinds))])) }
                }
                @if let Some(left) = self.files_left {
                    li { (fill(&words.files_left, &[("count", &sizes::grouped(left))])) }
                }
                @if let Some(left) = self.bytes_left {
                    li { (fill(&words.bytes_left, &[("size", &sizes::limit(left))])) }
                }
                @if let Some(expires) = self.expires {
                    @let time = to_rfc3339(expires);
                    li { (before) time datetime=(time) { (readable(&time)) } (after) }
                }
            }
        }
    }

    /// The kinds of files that it takes, as people call them.
    fn kinds(&self, language: &Language) -> Vec<String> {
        let words = &language.page;
        if self.accepted().is_empty() {
            return Vec::new();
        }
        let types = self.types.iter().map(|range| match range.as_str() {
            "image/*" => words.images.clone(),
            "video/*" => words.videos.clone(),
            "audio/*" => words.recordings.clone(),
            "text/*" | "text/plain" => words.texts.clone(),
            "application/pdf" => "PDF".to_owned(),
            other => other.to_owned(),
        });
        let extensions = self
            .extensions
            .iter()
            .map(|extension| format!(".{extension}"));
        types.chain(extensions).collect()
    }
}
