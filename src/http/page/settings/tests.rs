//! What makes a page, and what does not.

use proptest::prelude::*;

use super::*;

#[derive(serde::Deserialize)]
struct File {
    text: Option<PageText>,
    #[serde(default)]
    field: Vec<TextField>,
}

fn text(toml: &str) -> Result<PageText, String> {
    let file = toml::from_str::<File>(&format!("text = {toml}"));
    file.map(|file| file.text.unwrap())
        .map_err(|error| error.message().to_owned())
}

fn fields(toml: &str) -> Result<Vec<TextField>, String> {
    let file = toml::from_str::<File>(&format!("field = {toml}"));
    file.map(|file| file.field)
        .map_err(|error| error.message().to_owned())
}

#[test]
fn a_text_may_differ_by_language() {
    let (english, korean) = (&LANGUAGES[0], &LANGUAGES[1]);
    let same = text("\" for all \"").unwrap();
    assert_eq!(same.within(korean), ("for all", None));
    let both = text("{ en = \"law\", ko = \"법\" }").unwrap();
    assert_eq!(both.within(english), ("law", None));
    assert_eq!(both.within(korean), ("법", None));
    let one = text("{ ko = \"법\" }").unwrap();
    assert_eq!(one.within(english), ("법", Some("ko")));
}

#[test]
fn what_is_no_text_says_what_to_do() {
    let long = format!("\"{}\"", "x".repeat(2001));
    for (toml, words) in [
        ("\" \"", "leave the setting out"),
        ("{}", "leave the setting out"),
        ("{ xx = \"a\" }", "the languages are en, ko"),
        ("{ en = \"a\", ko = \"\" }", "empty"),
        ("\"a\\u0007\"", "control"),
        ("7", "a text, or a table of texts by language"),
        (&long, "at most 2000"),
    ] {
        let message = text(toml).unwrap_err();
        assert!(message.contains(words), "{toml}: {message}");
    }
}

#[test]
fn fields_are_read_in_every_form() {
    let (english, korean) = (&LANGUAGES[0], &LANGUAGES[1]);
    let fields = fields(
        "[\"message\", \"case=Case = number\", \
         { name = \"부서\", label = { en = \"Department\" }, lines = 2, required = true }, \"own\"]",
    )
    .unwrap();
    assert_eq!(
        (fields[0].lines, fields[1].lines, fields[2].lines),
        (4, 1, 2)
    );
    assert_eq!(fields[0].label(korean), ("메시지", None));
    assert_eq!(fields[1].label(english), ("Case = number", None));
    assert_eq!(fields[2].label(korean), ("Department", Some("en")));
    assert!(fields[2].required && !fields[0].required);
    assert_eq!(fields[3].label(english), ("own", None));
}

#[test]
fn what_is_no_field_is_refused() {
    for toml in [
        "\"\"",
        "\"file\"",
        "\"FILE=x\"",
        "\"_charset_\"",
        "\"a b\"",
        "\"<b>\"",
        "\"=label\"",
        "\"a=\"",
        "{ label = \"x\" }",
        "{ name = \"x\", lines = 0 }",
        "{ name = \"x\", lines = 41 }",
        "{ name = \"x\", colour = \"red\" }",
        "7",
    ] {
        assert!(fields(&format!("[{toml}]")).is_err(), "{toml}");
    }
    for (toml, words) in [
        ("\" \"", "give NAME or NAME=LABEL"),
        ("\"a\\u0007\"", "give NAME or NAME=LABEL"),
        ("{ name = \"a\\n\" }", "give NAME or NAME=LABEL"),
        ("{ name = \"\" }", "give NAME or NAME=LABEL"),
        ("\"file\"", "another name"),
        ("\"_Charset_=x\"", "another name"),
        ("{ name = \"isindex\" }", "another name"),
    ] {
        let message = fields(&format!("[{toml}]")).unwrap_err();
        assert!(message.contains(words), "{toml}: {message}");
    }
    let field = |name: &str| name.parse::<TextField>().unwrap();
    let twice = PageSettings::new(None, None, None, vec![field("a"), field("a=b")]);
    assert_eq!(twice.unwrap_err(), PageSettingError::Twice("a".to_owned()));
    let many = (0..21).map(|n| field(&format!("f{n}"))).collect();
    let many = PageSettings::new(None, None, None, many);
    assert_eq!(many.unwrap_err(), PageSettingError::TooMany);
}

#[test]
fn only_the_text_below_the_heading_has_lines() {
    let lines = "one\ntwo".parse::<PageText>().unwrap();
    assert_eq!(lines.within(&LANGUAGES[0]), ("one\ntwo", None));
    assert_eq!(
        "one\ntwo".parse::<PageTitle>(),
        Err(PageSettingError::LineBreak)
    );
    assert_eq!(
        "a=one\ntwo".parse::<TextField>(),
        Err(PageSettingError::LineBreak)
    );
    // One at the end is of the file, not of the text.
    assert!("one\n".parse::<PageTitle>().is_ok());
    let message = fields("[{ name = \"a\", label = { ko = \"b\\nc\" } }]").unwrap_err();
    assert!(message.contains("one line"), "{message}");
}

proptest! {
    #[test]
    fn any_field_is_taken_as_it_is_or_refused(text in "\\PC{0,80}") {
        if let Ok(field) = text.parse::<TextField>() {
            let begins = text.trim_start().starts_with(&field.name);
            prop_assert!(begins && !field.name.contains(['"', '<', '&', ' ']));
        }
    }
}
