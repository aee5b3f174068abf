//! The words of the pages, a file for each language.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::http::accept_language;

/// The files. The first is what is shown to those who read none of them.
const FILES: [&str; 2] = [
    include_str!("languages/en.toml"),
    include_str!("languages/ko.toml"),
];

/// All languages, in the order of [`FILES`].
pub(super) static LANGUAGES: LazyLock<Vec<Language>> = LazyLock::new(|| {
    let parsed = FILES.map(|file| toml::from_str(file).expect("a test reads every language"));
    parsed.into()
});

/// The language of a request: what its query says, else what its headers say, else English.
pub(super) fn of(query: Option<&str>, headers: &HeaderMap) -> &'static Language {
    let tags: Vec<_> = LANGUAGES.iter().map(|language| &*language.tag).collect();
    let found = accept_language::preferred(query, headers, &tags);
    &LANGUAGES[found.unwrap_or(0)]
}

/// One language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Language {
    /// Its tag (BCP 47).
    pub(super) tag: String,
    /// What those who speak it call it.
    pub(super) name: String,
    /// The direction of writing, as HTML has it.
    pub(super) dir: String,
    pub(super) page: PageWords,
    pub(super) receipt: ReceiptWords,
    pub(super) problem: ProblemWords,
    pub(super) welcome: WelcomeWords,
    /// What went wrong, by the code of the problem document.
    problems: BTreeMap<String, ProblemText>,
    /// What the script says, as it is.
    pub(super) script: BTreeMap<String, Phrase>,
}

impl Language {
    /// What is said of a problem with this code; `None` for one that has no words of its own.
    pub(super) fn problem(&self, code: &str) -> Option<&ProblemText> {
        self.problems.get(code)
    }

    /// What is said of every other problem.
    pub(super) fn other_problem(&self) -> &ProblemText {
        &self.problems["other"]
    }

    /// `a, b and c`.
    pub(super) fn list(&self, items: &[&str]) -> String {
        match items {
            [] => String::new(),
            [only] => (*only).to_owned(),
            [rest @ .., last] => rest.join(&self.page.list_separator) + &self.page.list_last + last,
        }
    }
}

/// A title and a sentence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProblemText {
    pub(super) title: String,
    pub(super) text: String,
}

/// A sentence, or one for each plural category of the language (`Intl.PluralRules`).
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Phrase {
    One(String),
    ByNumber(BTreeMap<String, String>),
}

/// Declares the words of a page. A language that lacks one, or has one that is not used, does not parse.
macro_rules! words {
    ($($(#[$attribute:meta])* $name:ident: $($word:ident)*;)*) => {
        $($(#[$attribute])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub(super) struct $name {
            $(pub(super) $word: String,)*
        })*
    };
}

words! {
    /// Of the upload page, and of what all pages have around them.
    PageWords:
        list_separator list_last language development heading heading_to lead files files_limit file_limit
        accepted images videos recordings texts files_left bytes_left open_until choose_files choose_folder
        drop_hint drop_here queue message your_name reference optional send promise_named promise_unnamed
        promise_server keys keys_explained unnamed_key progress pause resume cancel remove retry pause_all
        resume_all cancel_all;
    /// Of the receipt.
    ReceiptWords:
        heading lead number time sealed_to files text_fields unnamed size byte bytes sha256 id copy print save more;
    /// Around what went wrong.
    ProblemWords: back code;
    /// Of the first page of a development server.
    WelcomeWords:
        title lead open_page try_heading try_text arrived_heading arrived_text arrived_age key_heading key_text
        key_file token_file ca_file phone_heading phone_text phone_warning phone_none qr_label;
}

/// Puts values in the place of their names in braces. What a value holds is not looked at again.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from_brace)) = split_before(rest, '{') {
        filled.push_str(before);
        let named = from_brace
            .split_once('}')
            .map(|(name, after)| (&name[1..], after));
        let value = named.and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        if let Some((value, after)) = value {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push('{');
            rest = &from_brace[1..];
        }
    }
    filled + rest
}

fn split_before(text: &str, c: char) -> Option<(&str, &str)> {
    text.find(c).map(|at| text.split_at(at))
}

#[cfg(test)]
mod tests;
