//! Which language a reader prefers: `?lang=` of the address, else `Accept-Language` (RFC 9110, section 12.5.4), looked
//! up as RFC 4647, section 3.4 has it.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

use super::weight::weighted;

/// As many ranges are looked at. Browsers send a handful.
const MAX_RANGES: usize = 32;
/// A longer range names no language (RFC 5646, section 4.4.1, has 35 characters in mind).
const MAX_RANGE: usize = 64;

/// The best of the offered languages, by its place among them; `None` where none of them is wanted.
pub fn preferred(query: Option<&str>, headers: &HeaderMap, offered: &[&str]) -> Option<usize> {
    query
        .and_then(|query| asked_for(query, offered))
        .or_else(|| accepted(headers, offered))
}

/// The language that `lang` in the query names.
fn asked_for(query: &str, offered: &[&str]) -> Option<usize> {
    let range = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("lang="))?;
    lookup(range, offered)
}

fn accepted(headers: &HeaderMap, offered: &[&str]) -> Option<usize> {
    let mut ranges: Vec<_> = headers
        .get_all(ACCEPT_LANGUAGE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .take(MAX_RANGES)
        .filter_map(weighted)
        .collect();
    // Those of the same weight stay in the order in which they were written.
    ranges.sort_by_key(|&(_, weight)| std::cmp::Reverse(weight));
    let refused = |tag: &str| {
        let refuses = |&(range, weight): &(&str, u16)| weight == 0 && covers(range, tag);
        ranges.iter().any(refuses)
    };
    let wanted = ranges.iter().filter(|&&(_, weight)| weight > 0);
    let mut found = wanted.filter_map(|&(range, _)| match range {
        "*" => offered.iter().position(|tag| !refused(tag)),
        range => lookup(range, offered).filter(|&found| !refused(offered[found])),
    });
    found.next()
}

/// The offered language that a range names, however closely: `ko-KR` finds `ko`.
fn lookup(range: &str, offered: &[&str]) -> Option<usize> {
    let mut range = range;
    if range.len() > MAX_RANGE {
        return None;
    }
    loop {
        let found = offered
            .iter()
            .position(|tag| tag.eq_ignore_ascii_case(range));
        if found.is_some() {
            return found;
        }
        range = &range[..range.rfind('-')?];
        // A subtag of one letter says what kind the next one is, and goes with it.
        if range.len() >= 2 && range.as_bytes()[range.len() - 2] == b'-' {
            range = &range[..range.len() - 2];
        }
    }
}

/// Whether a tag is in a range: it is the range, or begins with it.
fn covers(range: &str, tag: &str) -> bool {
    let begins = tag
        .get(..range.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(range));
    begins && matches!(tag.as_bytes().get(range.len()), None | Some(b'-'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const OFFERED: [&str; 3] = ["en", "ko", "pt-BR"];

    fn of(query: Option<&str>, accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCEPT_LANGUAGE,
            HeaderValue::from_bytes(accept.as_bytes()).unwrap(),
        );
        preferred(query, &headers, &OFFERED).map(|found| OFFERED[found])
    }

    #[test]
    fn the_greatest_weight_wins() {
        for (accept, found) in [
            ("ko", Some("ko")),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Some("ko")),
            ("en-GB, ko;q=0.9", Some("en")),
            ("ko;q=0.5, en;q=0.6", Some("en")),
            ("ko;q=0.501,en;q=0.5", Some("ko")),
            ("fr, de;q=0.9, KO-kr;q=0.1", Some("ko")),
            ("fr", None),
            ("", None),
            ("*", Some("en")),
            ("*;q=0.5, ko;q=0.6", Some("ko")),
            ("fr, *;q=0.1", Some("en")),
            ("en;q=0, *", Some("ko")),
            ("en;q=0", None),
            // Not this English, and another one is not asked for.
            ("en-GB;q=0, *;q=0.1", Some("en")),
            ("ko-x-private-use", Some("ko")),
            ("pt-BR", Some("pt-BR")),
            ("pt-BR-x-a", Some("pt-BR")),
            ("pt", None),
            ("korean", None),
            ("ko;q=2, en;q=0.1", Some("en")),
            ("ko;q=0.1234, en;q=0.1", Some("en")),
            ("ko;x=1, en;q=0.1", Some("en")),
            ("ko;q=1.000", Some("ko")),
            (" ko ; Q=0.3 ,, en;q=0.2", Some("ko")),
        ] {
            assert_eq!(of(None, accept), found, "{accept}");
        }
    }

    #[test]
    fn the_address_wins_over_the_browser() {
        assert_eq!(of(Some("lang=ko"), "en"), Some("ko"));
        assert_eq!(of(Some("v=1&lang=KO-kr"), "en"), Some("ko"));
        assert_eq!(of(Some("lang=xx"), "ko"), Some("ko"));
        assert_eq!(of(Some("lang=*"), "ko"), Some("ko"));
        assert_eq!(of(Some("lang="), "ko"), Some("ko"));
        assert_eq!(of(Some("language=ko"), "en"), Some("en"));
        assert_eq!(
            preferred(Some("x&lang=ko"), &HeaderMap::new(), &OFFERED),
            Some(1)
        );
        assert_eq!(preferred(None, &HeaderMap::new(), &OFFERED), None);
    }

    #[test]
    fn only_so_much_is_looked_at() {
        let many = "xx,".repeat(MAX_RANGES);
        assert_eq!(of(None, &format!("{many}ko")), None);
        assert_eq!(of(None, &format!("ko,{many}")), Some("ko"));
        assert_eq!(of(None, &format!("ko{}", "-a".repeat(MAX_RANGE))), None);
    }

    proptest! {
        #[test]
        fn anything_may_come(query in ".{0,40}", accept in "[ -~]{0,80}") {
            let _ = of(Some(&query), &accept);
        }

        #[test]
        fn a_language_with_subtags_is_found(
            subtags in proptest::collection::vec("[A-Za-z0-9]{1,8}", 0..4),
            q in 1_u16..=1000,
        ) {
            let range = ["ko"].into_iter().chain(subtags.iter().map(String::as_str));
            let range = range.collect::<Vec<_>>().join("-");
            let weight = format!("{}.{:03}", q / 1000, q % 1000);
            let accept = format!("xx, {range};q={weight}");
            prop_assert_eq!(of(None, &accept), Some("ko"));
        }
    }
}
