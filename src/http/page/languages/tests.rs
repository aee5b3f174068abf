//! Every language says the same.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::*;
use crate::http::page::assets::SCRIPT;

/// Every text of a language with the keys that lead to it.
fn texts(file: &str) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
        match value {
            Value::String(text) => {
                found.insert(path.to_owned(), text.clone());
            }
            Value::Table(table) => {
                for (key, value) in table {
                    walk(&format!("{path}.{key}"), value, found);
                }
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    let mut found = BTreeMap::new();
    walk("", &toml::from_str(file).unwrap(), &mut found);
    found
}

fn placeholders(text: &str) -> BTreeSet<&str> {
    let parts = text.split('{').skip(1);
    parts
        .map(|part| part.split_once('}').expect("a closed brace").0)
        .collect()
}

/// The plural categories of a phrase differ between languages: they are one key.
fn key(path: &str) -> &str {
    let plural = [".zero", ".one", ".two", ".few", ".many", ".other"];
    let script = path.starts_with(".script.");
    let suffix = plural
        .iter()
        .find(|suffix| script && path.ends_with(*suffix));
    suffix.map_or(path, |suffix| path.strip_suffix(suffix).unwrap())
}

#[test]
fn every_language_has_the_keys_and_placeholders_of_english() {
    let english = texts(FILES[0]);
    let keys = |texts: &BTreeMap<String, String>| -> BTreeSet<String> {
        texts.keys().map(|path| key(path).to_owned()).collect()
    };
    for file in FILES {
        let own = texts(file);
        let tag = &own[".tag"];
        assert_eq!(keys(&own), keys(&english), "{tag}");
        for (path, text) in &own {
            let same = english.iter().filter(|(other, _)| key(other) == key(path));
            let expected: BTreeSet<_> = same.flat_map(|(_, text)| placeholders(text)).collect();
            assert_eq!(placeholders(text), expected, "{tag} {path}");
        }
    }
}

#[test]
fn every_language_parses_and_holds_no_markup() {
    assert_eq!(LANGUAGES.len(), FILES.len());
    for (language, file) in LANGUAGES.iter().zip(FILES) {
        assert!(["ltr", "rtl"].contains(&&*language.dir));
        assert!(language.problem("other").is_some());
        for phrase in language.script.values() {
            // What every language has: `Intl.PluralRules` may answer it for any number.
            assert!(match phrase {
                Phrase::One(_) => true,
                Phrase::ByNumber(forms) => forms.contains_key("other"),
            });
        }
        for (path, text) in texts(file) {
            let separator = path.contains(".list-");
            assert!(separator || text.trim() == text, "{path}: {text:?}");
            assert!(!text.is_empty(), "{path}");
            assert!(
                !text.contains(['<', '>', '&']) && !text.chars().any(char::is_control),
                "{path}: {text}"
            );
        }
    }
}

#[test]
fn tags_are_what_a_request_can_ask_for() {
    let headers = HeaderMap::new();
    for language in LANGUAGES.iter() {
        let query = format!("lang={}", language.tag);
        assert_eq!(of(Some(&query), &headers).tag, language.tag);
    }
    assert_eq!(of(None, &headers).tag, "en");
}

#[test]
fn lists_and_placeholders_are_filled_in() {
    let english = &LANGUAGES[0];
    assert_eq!(english.list(&[]), "");
    assert_eq!(english.list(&["a"]), "a");
    assert_eq!(english.list(&["a", "b"]), "a and b");
    assert_eq!(english.list(&["a", "b", "c"]), "a, b and c");
    let values = [("a", "{b}"), ("b", "2")];
    assert_eq!(fill("{a} {b} {c} {", &values), "{b} 2 {c} {");
    assert_eq!(fill("{{a}}", &values), "{{b}}");
    assert_eq!(fill("", &values), "");
}

/// The texts in quotes of each call's first argument.
fn first_arguments<'a>(script: &'a str, call: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for (place, _) in script.match_indices(call) {
        // The end of another name.
        if script[..place].ends_with(|c: char| c.is_ascii_alphanumeric()) {
            continue;
        }
        let rest = &script[place + call.len()..];
        let argument = rest.split([',', ')', '\n']).next().unwrap();
        found.extend(argument.split('\'').skip(1).step_by(2));
    }
    found
}

/// What no call names outright.
const SAID_BY_VALUE: [(&str, &str); 8] = [
    ("not-sent", "a notice in the receipt"),
    ("file-changed", "a problem that only the page knows"),
    (
        "too-large",
        "a problem that the page tells before the server",
    ),
    ("type-not-accepted", "the same"),
    ("no-room", "the same"),
    ("saved", "what became of a button of the receipt"),
    ("copied", "the same"),
    ("copy-failed", "the same"),
];
/// States whose rows say something else: how fast it is, what went wrong, and nothing, for they are gone.
const SAY_SOMETHING_ELSE: [&str; 3] = ["sending", "failed", "cancelled"];

#[test]
fn the_script_says_what_there_is_and_all_of_it() {
    let mut said = first_arguments(SCRIPT, "say(");
    said.extend(first_arguments(SCRIPT, "inAll("));
    let notes = SCRIPT.split("note = '").skip(1);
    let notes = notes.map(|rest| rest.split('\'').next().unwrap());
    said.extend(notes.filter(|note| !note.is_empty()));
    let states = first_arguments(SCRIPT, "#become(");
    assert!(
        SAY_SOMETHING_ELSE
            .iter()
            .all(|state| states.contains(state))
    );
    said.extend(
        states
            .iter()
            .filter(|state| !SAY_SOMETHING_ELSE.contains(state)),
    );
    for (key, place) in SAID_BY_VALUE {
        assert!(SCRIPT.contains(&format!("'{key}'")), "{key}: {place}");
        said.insert(key);
    }
    let known: BTreeSet<_> = LANGUAGES[0].script.keys().map(String::as_str).collect();
    assert_eq!(said, known);
}

#[test]
fn every_problem_with_words_is_one() {
    let sources = [
        include_str!("../../problem.rs"),
        include_str!("../../problem/links.rs"),
        include_str!("../../problem/resumable.rs"),
        include_str!("../../problem/rewrap.rs"),
        // Words for others, and for a form that has fields.
        include_str!("../languages.rs"),
        include_str!("../problem.rs"),
    ];
    for code in LANGUAGES[0].problems.keys() {
        let quoted = format!("\"{code}\"");
        assert!(
            sources.iter().any(|source| source.contains(&quoted)),
            "{code}"
        );
    }
}
