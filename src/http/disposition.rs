//! Header values with parameters: `type; name=value; name="value"` (RFC 2045 section 5.1, RFC 6266, RFC 8187).
//!
//! Everything here works on bytes: file names come in any encoding and are kept as they came.

use crate::http::form::percent_decode_bytes;

/// Why a header value with parameters could not be read. Never contains what the client sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DispositionError {
    /// Not of the form `type; name=value; name="value"`.
    #[error(
        "the parameters do not have the form name=value or name=\"value\", separated by semicolons"
    )]
    Malformed,
    /// A parameter that may stand once stands twice, so that two readers could disagree about its value.
    #[error("a parameter is given twice; send it once")]
    DuplicateParameter,
    /// `filename*` is not an RFC 8187 extended value in UTF-8.
    #[error(
        "filename* is not of the form UTF-8''percent-encoded; correct it or send filename alone"
    )]
    ExtendedValue,
}

/// One parameter: its name as sent (compare it without case) and its value without quotes and escapes.
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Vec<u8>,
}

impl Parameter<'_> {
    /// Whether this is the parameter `name`; names have no case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Splits a header value into the word before its first semicolon and its parameters.
pub(super) fn split_parameters(value: &[u8]) -> (&[u8], Parameters<'_>) {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (word, rest) = value.split_at(end);
    (word.trim_ascii(), Parameters { rest })
}

/// The parameters of a header value, in their order. Ends after the first error.
pub(super) struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, DispositionError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Senders leave a semicolon behind the last parameter, or two between them.
        while let [b' ' | b'\t' | b';', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let parameter = self.parameter();
        if parameter.is_none() {
            self.rest = &[];
        }
        Some(parameter.ok_or(DispositionError::Malformed))
    }
}

impl<'a> Parameters<'a> {
    /// Takes one parameter up to its semicolon, or to the end.
    fn parameter(&mut self) -> Option<Parameter<'a>> {
        let equals = memchr::memchr2(b'=', b';', self.rest)?;
        let (name, rest) = self.rest.split_at(equals);
        let name = name.trim_ascii();
        let rest = rest.strip_prefix(b"=")?.trim_ascii_start();
        if !is_token(name) {
            return None;
        }
        let (value, rest) = match rest {
            [b'"', text @ ..] => quoted(text)?,
            _ => unquoted(rest)?,
        };
        let rest = rest.trim_ascii_start();
        if !matches!(rest, [] | [b';', ..]) {
            return None;
        }
        self.rest = rest;
        Some(Parameter { name, value })
    }
}

/// A value without quotes. Wider than a token, for the senders who should have used quotes, as long as its end is clear.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let end = memchr::memchr(b';', text).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    let value = value.trim_ascii();
    let clear = |&byte: &u8| byte > b' ' && byte != b'"' && byte != 0x7f;
    value.iter().all(clear).then(|| (value.to_vec(), rest))
}

/// A value in quotes; `text` begins after the opening one. Returns the value and what follows the closing quote.
///
/// `curl` and RFC 822 write `\"` and `\\`, browsers leave a backslash alone. So it escapes these two only, and where
/// that reading finds no closing quote (a browser sending a name that ends in a backslash), it escapes nothing.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        match text.get(at..)? {
            [] => break,
            [b'"', rest @ ..] => return Some((value, rest)),
            [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                value.push(*escaped);
                at += 2;
            }
            [byte, ..] => {
                value.push(*byte);
                at += 1;
            }
        }
    }
    // No second scan can follow: any later opening quote would have closed the first reading.
    let end = memchr::memchr(b'"', text)?;
    Some((text.get(..end)?.to_vec(), text.get(end + 1..)?))
}

/// Decodes an RFC 8187 extended value: `UTF-8'language'percent-encoded`. The bytes are not checked to be UTF-8.
fn extended_value(value: &[u8]) -> Result<Vec<u8>, DispositionError> {
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(charset), Some(_language), Some(encoded))
            if charset.eq_ignore_ascii_case(b"utf-8") =>
        {
            percent_decode_bytes(encoded).map_err(|_| DispositionError::ExtendedValue)
        }
        _ => Err(DispositionError::ExtendedValue),
    }
}

/// What a `Content-Disposition` names: the form field and the file, each where given, as raw bytes.
#[derive(Default)]
pub(super) struct Names {
    pub(super) field: Option<Vec<u8>>,
    pub(super) filename: Option<Vec<u8>>,
    /// From `filename*`, already decoded. Takes precedence over `filename` (RFC 6266 section 4.3).
    pub(super) extended_filename: Option<Vec<u8>>,
}

impl Names {
    /// Reads `name`, `filename` and `filename*`; other parameters are passed over.
    pub(super) fn from_parameters(parameters: Parameters<'_>) -> Result<Self, DispositionError> {
        let mut names = Self::default();
        for parameter in parameters {
            let parameter = parameter?;
            let (slot, value) = if parameter.is("name") {
                (&mut names.field, parameter.value)
            } else if parameter.is("filename") {
                (&mut names.filename, parameter.value)
            } else if parameter.is("filename*") {
                (
                    &mut names.extended_filename,
                    extended_value(&parameter.value)?,
                )
            } else {
                continue;
            };
            if slot.replace(value).is_some() {
                return Err(DispositionError::DuplicateParameter);
            }
        }
        Ok(names)
    }
}

/// Whether `text` is a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    let tchar = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.iter().all(tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Vec<(String, String)>, DispositionError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (_, parameters) = split_parameters(value.as_bytes());
        parameters
            .map(|parameter| parameter.map(|p| (text(p.name), text(&p.value))))
            .collect()
    }

    #[test]
    fn values_with_and_without_quotes() {
        for (sent, expected) in [
            ("x", vec![]),
            ("x;", vec![]),
            ("x; ;; a=b;", vec![("a", "b")]),
            ("x;a=b;c=\"d;e\"", vec![("a", "b"), ("c", "d;e")]),
            ("x; a = b ; c = \"\" ", vec![("a", "b"), ("c", "")]),
            ("x; a=; b=1", vec![("a", ""), ("b", "1")]),
            (r#"x; a="q\"q""#, vec![("a", r#"q"q"#)]),
            (r#"x; a="b\\c""#, vec![("a", r"b\c")]),
            (r#"x; a="C:\new\x.txt""#, vec![("a", r"C:\new\x.txt")]),
            (r#"x; a="ends in \""#, vec![("a", r"ends in \")]),
            (r#"x; a="dir\"; b=c"#, vec![("a", r"dir\"), ("b", "c")]),
            ("x; a=b=c", vec![("a", "b=c")]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect();
            assert_eq!(read(sent), Ok(expected), "{sent}");
        }
    }

    #[test]
    fn unclear_values_are_refused() {
        for sent in [
            "x; a",
            "x; =b",
            "x; a b=c",
            "x; a=b c",
            "x; a=\"b",
            "x; a=\"b\"c",
            "x; a=b\"c",
            "x; a; b=c",
            "x; \"a\"=b",
        ] {
            assert_eq!(read(sent), Err(DispositionError::Malformed), "{sent}");
        }
    }

    #[test]
    fn extended_values() {
        assert_eq!(
            extended_value(b"UTF-8''%e2%82%ac%20rates").unwrap(),
            "\u{20ac} rates".as_bytes()
        );
        assert_eq!(extended_value(b"utf-8'en'it's").unwrap(), b"it's");
        assert_eq!(extended_value(b"UTF-8''%00%ff").unwrap(), b"\0\xff");
        for sent in [
            "",
            "UTF-8",
            "UTF-8'x",
            "''x",
            "ISO-8859-1''x",
            "UTF-8''%",
            "UTF-8''%4",
            "UTF-8''%zz",
        ] {
            assert_eq!(
                extended_value(sent.as_bytes()),
                Err(DispositionError::ExtendedValue),
                "{sent}"
            );
        }
    }
}
