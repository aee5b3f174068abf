//! Conditional requests for what is fetched (RFC 9110, section 13), in the order of section 13.2.2.
//!
//! Nothing here has a date of its last change (`Last-Modified`), so conditions with dates are ignored, as section 13.1
//! asks. A field that is malformed names no tag.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

/// What the conditions of a request say about what is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what the client wants.
    Holds,
    /// The client has it already.
    NotModified,
    /// It is not what the client wants it to be.
    Failed,
}

/// Judges `If-Match` and `If-None-Match` of a GET or HEAD for something that is there, with this entity tag, where it has
/// one.
pub(super) fn judge(headers: &HeaderMap, etag: Option<&str>) -> Verdict {
    if headers.contains_key(IF_MATCH) && !matches(headers, etag) {
        Verdict::Failed
    } else if Tags::of(headers, &IF_NONE_MATCH).name_weakly(etag) {
        Verdict::NotModified
    } else {
        Verdict::Holds
    }
}

/// Whether `If-Match` names what is there, by this entity tag.
pub(super) fn matches(headers: &HeaderMap, etag: Option<&str>) -> bool {
    Tags::of(headers, &IF_MATCH).name_strongly(etag)
}

/// Whether `If-Match` says which of all that could be there is meant: `*` does not.
pub(super) fn is_particular(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(IF_MATCH).iter();
    lines.any(|line| !matches!(line.as_bytes().trim_ascii(), b"" | b"*"))
}

/// What a condition names.
enum Tags<'a> {
    /// `*`: whatever is there.
    Any,
    /// Entity tags in their quotes, and whether each is weak.
    Listed(Vec<(bool, &'a [u8])>),
}

impl<'a> Tags<'a> {
    fn of(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let lines: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|line| line.as_bytes().trim_ascii())
            .collect();
        if lines == [b"*"] {
            return Self::Any;
        }
        let mut tags = Vec::new();
        for line in lines {
            if list(line, &mut tags).is_none() {
                return Self::Listed(Vec::new());
            }
        }
        Self::Listed(tags)
    }

    /// Section 8.8.3.2: both are strong, and the same.
    fn name_strongly(&self, etag: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags
                .iter()
                .any(|(weak, tag)| !weak && etag.is_some_and(|etag| etag.as_bytes() == *tag)),
        }
    }

    /// Section 8.8.3.2: the same, weak or not.
    fn name_weakly(&self, etag: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags
                .iter()
                .any(|(_, tag)| etag.is_some_and(|etag| etag.as_bytes() == *tag)),
        }
    }
}

/// Reads `1#entity-tag` (section 8.8.3); a tag may hold commas. `None` where it is none.
fn list<'a>(mut line: &'a [u8], tags: &mut Vec<(bool, &'a [u8])>) -> Option<()> {
    loop {
        // Elements may be empty.
        while let [b',' | b' ' | b'\t', rest @ ..] = line {
            line = rest;
        }
        if line.is_empty() {
            return Some(());
        }
        let strong = line.strip_prefix(b"W/");
        let weak = strong.is_some();
        let tag = strong.unwrap_or(line);
        let inside = tag.strip_prefix(b"\"")?;
        let length = inside.iter().position(|byte| *byte == b'"')?;
        if inside[..length]
            .iter()
            .any(|byte| matches!(byte, 0..=b' ' | 0x7f))
        {
            return None;
        }
        let (tag, rest) = tag.split_at(length + 2);
        tags.push((weak, tag));
        line = rest.trim_ascii_start();
        if !line.is_empty() && line[0] != b',' {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn verdict(fields: &[(&'static str, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        judge(&headers, Some("\"a,b\""))
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for same in [
            "\"a,b\"",
            "W/\"a,b\"",
            "*",
            " * ",
            "\"x\", \"a,b\"",
            "\"x\",,W/\"y\" ,\t\"a,b\",",
            "\"\",\"a,b\"",
        ] {
            let verdict = verdict(&[("if-none-match", same)]);
            assert_eq!(verdict, Verdict::NotModified, "{same}");
        }
        for other in [
            "\"a\"",
            "",
            "a,b",
            "\"a,b",
            "\"x\" \"a,b\"",
            "*, \"a,b\"",
            "\"a,b\"x",
            "w/\"a,b\"",
            "W/ \"a,b\"",
            "\"a b\", \"a,b\"",
        ] {
            let verdict = verdict(&[("if-none-match", other)]);
            assert_eq!(verdict, Verdict::Holds, "{other}");
        }
        let lines = [("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")];
        assert_eq!(verdict(&lines), Verdict::NotModified);
    }

    #[test]
    fn what_must_match_matches_strongly() {
        for same in ["\"a,b\"", "*", "\"x\", \"a,b\"", "W/\"a,b\", \"a,b\""] {
            assert_eq!(verdict(&[("if-match", same)]), Verdict::Holds, "{same}");
        }
        for other in ["W/\"a,b\"", "\"x\"", "", "a,b", "\"a,b", "*, *"] {
            assert_eq!(verdict(&[("if-match", other)]), Verdict::Failed, "{other}");
        }
    }

    #[test]
    fn if_match_comes_first() {
        let of = |first, second| verdict(&[("if-match", first), ("if-none-match", second)]);
        assert_eq!(of("\"x\"", "\"a,b\""), Verdict::Failed);
        assert_eq!(of("\"a,b\"", "\"a,b\""), Verdict::NotModified);
        assert_eq!(of("\"a,b\"", "\"x\""), Verdict::Holds);
    }

    #[test]
    fn dates_say_nothing() {
        let long_ago = "Thu, 01 Jan 1970 00:00:00 GMT";
        let fields = [
            ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
            ("if-unmodified-since", long_ago),
        ];
        assert_eq!(verdict(&fields), Verdict::Holds);
    }

    #[test]
    fn what_has_no_tag_matches_only_anything() {
        let of = |name: &'static str, value| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            judge(&headers, None)
        };
        assert_eq!(of("if-none-match", "\"x\""), Verdict::Holds);
        assert_eq!(of("if-none-match", "*"), Verdict::NotModified);
        assert_eq!(of("if-match", "\"x\""), Verdict::Failed);
        assert_eq!(of("if-match", "*"), Verdict::Holds);
    }
}
