//! Every language says the same.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::*;

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
