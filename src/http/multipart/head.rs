//! The headers of one part (RFC 7578 section 4).

use std::fmt;

use memchr::memmem;

use super::MultipartError;
use crate::http::disposition::{Names, is_token, split_parameters};

/// The most header lines a part may have. Browsers send two.
const MAX_LINES: usize = 32;

/// What a part's headers say. All of it is the client's claim.
///
/// `Debug` shows lengths only: names are as confidential as what they name.
#[derive(Clone, Eq, PartialEq)]
pub struct PartHead {
    /// The form field, without quotes and escapes.
    pub name: Vec<u8>,
    /// The file name, where one is given, without quotes and escapes and otherwise byte for byte as sent: control
    /// characters, `../` and all. Never a path. Empty for a file input in which nothing was chosen.
    pub filename: Option<Vec<u8>>,
    /// The `Content-Type` as sent, printable ASCII.
    pub content_type: Option<String>,
}

impl fmt::Debug for PartHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartHead")
            .field("name_bytes", &self.name.len())
            .field("filename_bytes", &self.filename.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

impl PartHead {
    /// Reads header lines, each ended by CRLF. `name_bytes` bounds the field's name and the file's, once decoded.
    pub(super) fn parse(mut lines: &[u8], name_bytes: usize) -> Result<Self, MultipartError> {
        let mut names = None;
        let mut content_type = None;
        let mut count = 0;
        while let Some(end) = memmem::find(lines, b"\r\n") {
            let line = &lines[..end];
            lines = &lines[end + 2..];
            count += 1;
            if count > MAX_LINES {
                return Err(MultipartError::PartHeadersTooLarge);
            }
            let (name, value) = split_line(line)?;
            let repeated = if name.eq_ignore_ascii_case(b"content-disposition") {
                names.replace(form_data_names(value)?).is_some()
            } else if name.eq_ignore_ascii_case(b"content-type") {
                content_type.replace(printable(value)?).is_some()
            } else {
                // Content-Transfer-Encoding among them: RFC 7578 section 4.7 took it out of forms.
                false
            };
            if repeated {
                return Err(MultipartError::DuplicatePartHeader);
            }
        }
        let Names {
            field,
            filename,
            extended_filename,
        } = names.ok_or(MultipartError::MissingDisposition)?;
        let name = unescape(&field.ok_or(MultipartError::MissingName)?);
        let filename = extended_filename.or_else(|| filename.as_deref().map(unescape));
        if name.len() > name_bytes
            || filename
                .as_ref()
                .is_some_and(|filename| filename.len() > name_bytes)
        {
            return Err(MultipartError::NameTooLong);
        }
        Ok(Self {
            name,
            filename,
            content_type,
        })
    }
}

/// Splits `name: value`. A folded line begins with a blank, so its name is no token and it is refused with the rest.
fn split_line(line: &[u8]) -> Result<(&[u8], &[u8]), MultipartError> {
    let colon = memchr::memchr(b':', line).ok_or(MultipartError::MalformedPartHeaders)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // A lone CR or LF would be a line break to some readers.
    if !is_token(name) || memchr::memchr2(b'\r', b'\n', value).is_some() {
        return Err(MultipartError::MalformedPartHeaders);
    }
    Ok((name, value.trim_ascii()))
}

/// Reads the value of a part's `Content-Disposition`.
fn form_data_names(value: &[u8]) -> Result<Names, MultipartError> {
    let (kind, parameters) = split_parameters(value);
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return Err(MultipartError::MissingDisposition);
    }
    Names::from_parameters(parameters).map_err(MultipartError::Disposition)
}

/// A media type is ASCII without control characters; anything else did not come from a form.
fn printable(value: &[u8]) -> Result<String, MultipartError> {
    if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(MultipartError::MalformedPartHeaders);
    }
    String::from_utf8(value.to_vec()).map_err(|_| MultipartError::MalformedPartHeaders)
}

/// Undoes what browsers do to names: `"`, CR and LF are sent as `%22`, `%0D` and `%0A`, and nothing else is encoded, not
/// even the percent sign (WHATWG HTML, "multipart/form-data encoding algorithm").
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match rest {
            [b'%', b'2', b'2', tail @ ..] => (b'"', tail),
            [b'%', b'0', b'D', tail @ ..] => (b'\r', tail),
            [b'%', b'0', b'A', tail @ ..] => (b'\n', tail),
            _ => (*first, tail),
        };
        plain.push(byte);
        rest = tail;
    }
    plain
}
