//! Which form of an answer a client prefers (RFC 9110, section 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

use super::weight::{self, FULL};

/// The forms that answers come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// Of the offered forms the one with the greatest weight; at equal weight the one offered first. A browser's form
    /// names `text/html` outright, a tool's `*/*` takes what is offered first.
    pub(super) fn preferred(headers: &HeaderMap, offered: &[Form]) -> Form {
        let mut best = (offered[0], 0);
        for &form in offered {
            let weight = headers
                .get_all(ACCEPT)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .filter_map(|range| fit(range, form))
                .max_by_key(|&(specificity, _)| specificity)
                .map_or(0, |(_, weight)| weight);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }

    fn essence(self) -> (&'static str, &'static str) {
        match self {
            Self::Html => ("text", "html"),
            Self::Json => ("application", "json"),
            Self::Text => ("text", "plain"),
        }
    }
}

/// How well one media range fits a form, as (specificity, weight in thousandths).
fn fit(range: &str, form: Form) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let (own_kind, own_subtype) = form.essence();
    let specificity = if kind == "*" && subtype == "*" {
        1
    } else if !kind.eq_ignore_ascii_case(own_kind) {
        return None;
    } else if subtype == "*" {
        2
    } else if subtype.eq_ignore_ascii_case(own_subtype) {
        3
    } else {
        return None;
    };
    // A range has parameters of its own in front of it. One with a malformed weight says nothing.
    let weight = parts
        .find_map(weight::q)
        .map_or(Some(FULL), weight::weight)?;
    Some((specificity, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(accept: &str, offered: &[Form]) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Form::preferred(&headers, offered)
    }

    #[test]
    fn browsers_get_html_and_tools_get_json() {
        const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let offered = [Form::Json, Form::Html];
        assert_eq!(preferred(BROWSER, &offered), Form::Html);
        assert_eq!(preferred("*/*", &offered), Form::Json);
        assert_eq!(preferred("application/json", &offered), Form::Json);
        assert_eq!(
            preferred("text/*;q=0.5, application/json;q=0.4", &offered),
            Form::Html
        );
        assert_eq!(preferred("text/html;q=0", &offered), Form::Json);
        assert_eq!(preferred("image/png", &offered), Form::Json);
        // Thousandths count, and are exact.
        for accept in [
            "application/json;q=0.289, text/html;q=0.29",
            "application/json;Q=0, text/html;q=0.001",
            "application/json;q=0, text/html;level=1;q=0.5",
            "application/json;q=high, text/html;q=0.1",
        ] {
            assert_eq!(preferred(accept, &offered), Form::Html, "{accept}");
        }
        assert_eq!(Form::preferred(&HeaderMap::new(), &offered), Form::Json);
        assert_eq!(preferred("*/*", &[Form::Text, Form::Json]), Form::Text);
    }
}
