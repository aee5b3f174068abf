//! Small readings of what clients send in other places than a multipart body: a urlencoded form field, the file name
//! of a raw upload, a URL path segment. All are safe for binary values; none keeps what it read.

use zeroize::Zeroizing;

use crate::http::disposition::{DispositionError, Names, is_token, split_parameters};

/// Why a form field, a file name or a path segment could not be read. Never contains what the client sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormError {
    /// A percent sign without two hexadecimal digits after it.
    #[error(
        "a percent sign is not followed by two hexadecimal digits; encode a literal one as %25"
    )]
    MalformedPercent,
    /// The field that was asked for stands in the form twice.
    #[error("the form gives a field twice; send it once")]
    DuplicateField,
    /// The `Content-Disposition` header cannot be read.
    #[error("the Content-Disposition header cannot be read; send attachment; filename=\"...\"")]
    Disposition(#[from] DispositionError),
}

/// Reads the field `name` from an `application/x-www-form-urlencoded` body (WHATWG URL section 5.1).
///
/// `+` is a space and `%XX` any byte; the value is not required to be text. A field without `=` has an empty value.
/// Returns `None` where the form does not have the field. The whole body is checked, so that a form that was damaged
/// elsewhere is refused too.
pub fn urlencoded_field(body: &[u8], name: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, FormError> {
    let mut found = None;
    for field in body
        .split(|&byte| byte == b'&')
        .filter(|field| !field.is_empty())
    {
        let equals = memchr::memchr(b'=', field).unwrap_or(field.len());
        let (key, value) = field.split_at(equals);
        let value = value.strip_prefix(b"=").unwrap_or(value);
        let key = decode(key, Plus::Space)?;
        let value = decode(value, Plus::Space)?;
        if *key == name && found.replace(value).is_some() {
            return Err(FormError::DuplicateField);
        }
    }
    Ok(found)
}

/// Reads the file name from a raw upload's `Content-Disposition` value (RFC 6266), as the bytes the client gave.
///
/// `filename*` takes precedence over `filename`. The disposition type may be any; `None` where no name is given. The
/// result is a name for people to read and never a path.
pub fn disposition_filename(header: &[u8]) -> Result<Option<Vec<u8>>, FormError> {
    let (kind, parameters) = split_parameters(header);
    if !is_token(kind) {
        return Err(DispositionError::Malformed.into());
    }
    let names = Names::from_parameters(parameters)?;
    Ok(names.extended_filename.or(names.filename))
}

/// Decodes one segment of a URL path. `%XX` is any byte, a slash among them; `+` is itself.
pub fn percent_decode(segment: &str) -> Result<Vec<u8>, FormError> {
    percent_decode_bytes(segment.as_bytes())
}

/// As [`percent_decode`], for header values, which need not be text.
pub(super) fn percent_decode_bytes(encoded: &[u8]) -> Result<Vec<u8>, FormError> {
    decode(encoded, Plus::Literal).map(|mut decoded| std::mem::take(&mut *decoded))
}

/// What a plus sign stands for: a space in forms, itself everywhere else.
#[derive(Clone, Copy)]
enum Plus {
    Space,
    Literal,
}

/// Undoes percent-encoding. The result is allocated once, so that growing it leaves no copies behind.
fn decode(encoded: &[u8], plus: Plus) -> Result<Zeroizing<Vec<u8>>, FormError> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut bytes = encoded.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match (byte, plus) {
            (b'%', _) => match (bytes.next().and_then(nibble), bytes.next().and_then(nibble)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(FormError::MalformedPercent),
            },
            (b'+', Plus::Space) => b' ',
            _ => byte,
        });
    }
    Ok(decoded)
}

/// The value of a hexadecimal digit of either case.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGITS: &[u8; 16] = b"0123456789aBcDeF";

    fn field(body: &str) -> Result<Option<Vec<u8>>, FormError> {
        urlencoded_field(body.as_bytes(), b"data").map(|found| found.map(|value| value.to_vec()))
    }

    #[test]
    fn a_urlencoded_field_is_found_and_decoded() {
        for (body, expected) in [
            ("", None),
            ("&&", None),
            ("other=1", None),
            ("Data=1", None),
            ("data", Some(&b""[..])),
            ("data=", Some(b"")),
            ("data=a+b%20c", Some(b"a b c")),
            ("data=%00%ff%FF%2B%26%3D", Some(b"\0\xff\xff+&=")),
            ("a=1&data=x=y&b", Some(b"x=y")),
            ("d%61ta=x", Some(b"x")),
            ("a=1&a=2&data=3", Some(b"3")),
        ] {
            assert_eq!(field(body), Ok(expected.map(<[u8]>::to_vec)), "{body}");
        }
    }

    #[test]
    fn damaged_forms_are_refused() {
        for body in [
            "data=%",
            "data=%4",
            "data=%zz",
            "data=%+1",
            "%=1&data=2",
            "data=1&other=%x1",
            "data=%%41",
        ] {
            assert_eq!(field(body), Err(FormError::MalformedPercent), "{body}");
        }
        assert_eq!(field("data=1&data=1"), Err(FormError::DuplicateField));
        assert_eq!(field("data&d%61ta=1"), Err(FormError::DuplicateField));
    }

    #[test]
    fn file_names_of_raw_uploads() {
        for (header, expected) in [
            ("attachment", None),
            ("attachment; size=1", None),
            ("attachment; filename=plain.txt", Some("plain.txt")),
            ("ATTACHMENT; FileName=\"a b.txt\"", Some("a b.txt")),
            ("inline;filename=\"\"", Some("")),
            (
                "attachment; filename=\"../../etc/passwd\"",
                Some("../../etc/passwd"),
            ),
            (
                "attachment; filename=\"EURO\"; filename*=UTF-8''%e2%82%ac",
                Some("\u{20ac}"),
            ),
            (
                "attachment; filename*=UTF-8''%e2%82%ac; filename=\"EURO\"",
                Some("\u{20ac}"),
            ),
            // What browsers escape in forms is nothing special in a header.
            ("attachment; filename=\"100%22.txt\"", Some("100%22.txt")),
        ] {
            let expected = expected.map(|name| name.as_bytes().to_vec());
            assert_eq!(
                disposition_filename(header.as_bytes()),
                Ok(expected),
                "{header}"
            );
        }
        assert_eq!(
            disposition_filename(b"attachment; filename=\"\xff\x01\""),
            Ok(Some(b"\xff\x01".to_vec()))
        );
    }

    #[test]
    fn unclear_dispositions_are_refused() {
        for (header, error) in [
            ("", DispositionError::Malformed),
            ("filename=x", DispositionError::Malformed),
            ("; filename=x", DispositionError::Malformed),
            ("attachment; filename=\"x", DispositionError::Malformed),
            (
                "attachment; filename=a; FILENAME=b",
                DispositionError::DuplicateParameter,
            ),
            (
                "attachment; filename=a; filename*=latin1''b",
                DispositionError::ExtendedValue,
            ),
        ] {
            assert_eq!(
                disposition_filename(header.as_bytes()),
                Err(FormError::Disposition(error)),
                "{header}"
            );
        }
    }

    #[test]
    fn path_segments() {
        assert_eq!(percent_decode("a%2Fb+c%00"), Ok(b"a/b+c\0".to_vec()));
        assert_eq!(percent_decode("\u{e4}"), Ok("\u{e4}".as_bytes().to_vec()));
        assert_eq!(percent_decode("100%"), Err(FormError::MalformedPercent));
    }

    proptest! {
        #[test]
        fn any_value_survives_encoding(value: Vec<u8>) {
            let hex = |byte: &u8| ['%', char::from(DIGITS[usize::from(byte >> 4)]), char::from(DIGITS[usize::from(byte & 15)])];
            let encoded: String = value.iter().flat_map(hex).collect();
            prop_assert_eq!(percent_decode(&encoded), Ok(value.clone()));
            prop_assert_eq!(field(&format!("x=1&data={encoded}")), Ok(Some(value)));
        }

        #[test]
        fn no_input_panics(input: Vec<u8>) {
            let _ = urlencoded_field(&input, b"data");
            let _ = disposition_filename(&input);
            let _ = disposition_filename(&[b"attachment; filename=\"", &input[..]].concat());
        }
    }
}
