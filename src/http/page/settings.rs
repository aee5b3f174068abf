//! How the operator has the page present itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::colour::Colour;
use super::languages::{LANGUAGES, Language};

/// What the page calls whoever receives.
pub type PageTitle = Worded<120, IN_ONE_LINE>;
/// What the page says below its heading.
pub type PageText = Worded<2000, IN_LINES>;
/// What a text field is called.
type Label = Worded<200, IN_ONE_LINE>;

const IN_ONE_LINE: bool = false;
const IN_LINES: bool = true;

const MAX_NAME: usize = 64;
const MAX_FIELDS: usize = 20;
/// Lines of a message, where nothing else is said.
const MESSAGE_LINES: u8 = 4;
const MAX_LINES: u8 = 40;
/// Names that a form gives a meaning of its own: the files, and what browsers fill in by themselves.
const TAKEN: [&str; 3] = ["file", "_charset_", "isindex"];

/// Settings that make no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageSettingError {
    /// Nothing would be shown.
    #[error("the text is empty: write one, or leave the setting out")]
    Empty,
    /// The page would be all text.
    #[error("the text is too long: write at most {0} characters")]
    TooLong(usize),
    /// Nothing that can be shown.
    #[error("the text holds a control character: take it out")]
    Control,
    /// What stands in a heading, a window's title or before a field.
    #[error("the text has a line break: write it in one line")]
    LineBreak,
    /// A language that there are no words of.
    #[error("there is no page in `{0}`: the languages are {list}", list = tags())]
    Language(String),
    /// A name that would not come back as it was.
    #[error(
        "a field's name has 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`: give NAME or NAME=LABEL"
    )]
    Name,
    /// A name that browsers fill in, leave out or fill with files.
    #[error("`{0}` means something else in a form: give the field another name")]
    Taken(String),
    /// A field of no size, or larger than a screen.
    #[error("a field has 1 to {MAX_LINES} lines")]
    Lines,
    /// Two fields that could not be told apart.
    #[error("page-field: there are two fields named `{0}`: give each a name of its own")]
    Twice(String),
    /// More than anybody fills in.
    #[error("page-field: there are more than {MAX_FIELDS} fields: give fewer")]
    TooMany,
}

fn tags() -> String {
    let tags: Vec<_> = LANGUAGES.iter().map(|language| &*language.tag).collect();
    tags.join(", ")
}

/// A text in one language for all, or in several: of at most `MAX` characters, and with line breaks if it may have `LINES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worded<const MAX: usize, const LINES: bool>(Words);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Words {
    Same(String),
    /// By tag. Never empty.
    ByLanguage(BTreeMap<String, String>),
}

impl<const MAX: usize, const LINES: bool> Worded<MAX, LINES> {
    fn by_language(texts: BTreeMap<String, String>) -> Result<Self, PageSettingError> {
        if texts.is_empty() {
            return Err(PageSettingError::Empty);
        }
        let mut checked = BTreeMap::new();
        for (tag, text) in texts {
            if !LANGUAGES.iter().any(|language| language.tag == tag) {
                return Err(PageSettingError::Language(tag));
            }
            checked.insert(tag, Self::checked(&text)?);
        }
        Ok(Self(Words::ByLanguage(checked)))
    }

    fn checked(text: &str) -> Result<String, PageSettingError> {
        let text = text.trim();
        if text.is_empty() {
            Err(PageSettingError::Empty)
        } else if text.chars().count() > MAX {
            Err(PageSettingError::TooLong(MAX))
        } else if !LINES && text.contains('\n') {
            Err(PageSettingError::LineBreak)
        } else if text.chars().any(|c| c.is_control() && c != '\n') {
            Err(PageSettingError::Control)
        } else {
            Ok(text.to_owned())
        }
    }

    /// The text for this reader, with the tag of its language where it is another: the first there is, English before the
    /// others.
    pub(super) fn within(&self, language: &Language) -> (&str, Option<&str>) {
        let texts = match &self.0 {
            Words::Same(text) => return (text, None),
            Words::ByLanguage(texts) => texts,
        };
        if let Some(text) = texts.get(&language.tag) {
            return (text, None);
        }
        let mut others = LANGUAGES
            .iter()
            .filter_map(|other| texts.get_key_value(&other.tag));
        others
            .next()
            .map_or(("", None), |(tag, text)| (text, Some(tag)))
    }
}

impl<const MAX: usize, const LINES: bool> FromStr for Worded<MAX, LINES> {
    type Err = PageSettingError;

    fn from_str(text: &str) -> Result<Self, PageSettingError> {
        Self::checked(text).map(|text| Self(Words::Same(text)))
    }
}

impl<'de, const MAX: usize, const LINES: bool> Deserialize<'de> for Worded<MAX, LINES> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct WordedVisitor<const MAX: usize, const LINES: bool>;

        impl<'de, const MAX: usize, const LINES: bool> Visitor<'de> for WordedVisitor<MAX, LINES> {
            type Value = Worded<MAX, LINES>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a table of texts by language")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let texts = BTreeMap::deserialize(MapAccessDeserializer::new(map))?;
                Worded::by_language(texts).map_err(de::Error::custom)
            }
        }

        from.deserialize_any(WordedVisitor)
    }
}

/// A text field of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextField {
    pub(super) name: String,
    label: Option<Label>,
    pub(super) lines: u8,
    /// Whether browsers ask for it. What comes without it is taken all the same.
    pub(super) required: bool,
}

impl TextField {
    fn new(table: TextFieldTable) -> Result<Self, PageSettingError> {
        let TextFieldTable {
            name,
            label,
            lines,
            required,
        } = table;
        let fine = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        let length = name.chars().count();
        let taken = TAKEN.iter().any(|taken| name.eq_ignore_ascii_case(taken));
        if !(1..=MAX_NAME).contains(&length) || !name.chars().all(fine) {
            return Err(PageSettingError::Name);
        }
        if taken {
            return Err(PageSettingError::Taken(name));
        }
        let usual = if name == "message" { MESSAGE_LINES } else { 1 };
        let lines = lines.unwrap_or(usual);
        if !(1..=MAX_LINES).contains(&lines) {
            return Err(PageSettingError::Lines);
        }
        Ok(Self {
            name,
            label,
            lines,
            required,
        })
    }

    /// Its label: the given one, that of the language for a name that every language knows, or else the name. With the tag of
    /// its language where it is not the reader's.
    pub(super) fn label<'a>(&'a self, language: &'a Language) -> (&'a str, Option<&'a str>) {
        if let Some(label) = &self.label {
            return label.within(language);
        }
        let label = match &*self.name {
            "message" => &language.page.message,
            "name" => &language.page.your_name,
            "reference" => &language.page.reference,
            name => name,
        };
        (label, None)
    }
}

impl FromStr for TextField {
    type Err = PageSettingError;

    fn from_str(text: &str) -> Result<Self, PageSettingError> {
        let (name, label) = match text.split_once('=') {
            Some((name, label)) => (name, Some(label.parse()?)),
            None => (text, None),
        };
        Self::new(TextFieldTable {
            name: name.trim().to_owned(),
            label,
            ..TextFieldTable::default()
        })
    }
}

/// A text field as the file may have it.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TextFieldTable {
    name: String,
    label: Option<Label>,
    lines: Option<u8>,
    #[serde(default)]
    required: bool,
}

impl<'de> Deserialize<'de> for TextField {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct FieldVisitor;

        impl<'de> Visitor<'de> for FieldVisitor {
            type Value = TextField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("NAME, NAME=LABEL, or a table of name, label, lines and required")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextField, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextField, A::Error> {
                let table = TextFieldTable::deserialize(MapAccessDeserializer::new(map))?;
                TextField::new(table).map_err(de::Error::custom)
            }
        }

        from.deserialize_any(FieldVisitor)
    }
}

/// How the page presents itself.
#[derive(Debug, Clone, Default)]
pub struct PageSettings {
    pub(super) title: Option<PageTitle>,
    pub(super) text: Option<PageText>,
    pub(super) colour: Option<Colour>,
    pub(super) fields: Vec<TextField>,
}

impl PageSettings {
    /// Puts it together.
    pub fn new(
        title: Option<PageTitle>,
        text: Option<PageText>,
        colour: Option<Colour>,
        fields: Vec<TextField>,
    ) -> Result<Self, PageSettingError> {
        if fields.len() > MAX_FIELDS {
            return Err(PageSettingError::TooMany);
        }
        for (place, field) in fields.iter().enumerate() {
            if fields[..place].iter().any(|other| other.name == field.name) {
                return Err(PageSettingError::Twice(field.name.clone()));
            }
        }
        Ok(Self {
            title,
            text,
            colour,
            fields,
        })
    }
}

#[cfg(test)]
mod tests;
