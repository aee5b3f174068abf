//! How long an upload is kept once it is finished. `Sealslot-Keep` lets whoever sends it say a time in seconds; the shortest
//! of what they, the link and the server say holds.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

const KEEP: HeaderName = HeaderName::from_static("sealslot-keep");
/// The longest time that anybody can say, in seconds: ten years.
pub const MAX_KEEP: u64 = 10 * 365 * 24 * 60 * 60;

/// What stands in `Sealslot-Keep` is no such time. Never contains what the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Sealslot-Keep is one number of seconds from 1 to {MAX_KEEP}, in digits alone")]
pub struct KeepFieldError;

/// The time that a request says, where it does.
pub fn keep(headers: &HeaderMap) -> Result<Option<Duration>, KeepFieldError> {
    let mut values = headers.get_all(&KEEP).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let digits = value
        .to_str()
        .ok()
        .filter(|text| text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = digits.and_then(|digits| digits.parse().ok());
    match (seconds, values.next()) {
        (Some(seconds @ 1..=MAX_KEEP), None) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(KeepFieldError),
    }
}

/// The shortest of what a request says and of what was said before.
pub(super) fn shortest(
    headers: &HeaderMap,
    others: &[Option<Duration>],
) -> Result<Option<Duration>, KeepFieldError> {
    let own = keep(headers)?;
    Ok(others.iter().flatten().copied().chain(own).min())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn with(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEEP, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_time_is_digits_from_one_second_to_ten_years() {
        assert_eq!(keep(&with(&[])), Ok(None));
        for (text, seconds) in [("1", 1), ("0060", 60), ("315360000", MAX_KEEP)] {
            let time = Ok(Some(Duration::from_secs(seconds)));
            assert_eq!(keep(&with(&[text])), time, "{text}");
        }
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "1.5",
            "1 ",
            "1d",
            "0x1",
            "1, 2",
            "315360001",
            "18446744073709551616",
            "000000000000000000001",
            "\u{661}",
        ] {
            assert_eq!(keep(&with(&[text])), Err(KeepFieldError), "{text}");
        }
        assert_eq!(keep(&with(&["1", "1"])), Err(KeepFieldError));
    }

    #[test]
    fn the_shortest_time_holds() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let asked = with(&["60"]);
        for (others, expected) in [
            ([None, None], 60),
            ([seconds(61), None], 60),
            ([None, seconds(59)], 59),
            ([seconds(58), seconds(59)], 58),
        ] {
            assert_eq!(shortest(&asked, &others), Ok(seconds(expected)));
        }
        let nothing = HeaderMap::new();
        assert_eq!(shortest(&nothing, &[None, None]), Ok(None));
        assert_eq!(shortest(&nothing, &[None, seconds(5)]), Ok(seconds(5)));
        assert!(shortest(&with(&["x"]), &[seconds(5)]).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_in_bounds(text in "[0-9]{0,22}|.{0,10}") {
            let Ok(value) = HeaderValue::from_str(&text) else {
                return Ok(());
            };
            let mut headers = HeaderMap::new();
            headers.insert(KEEP, value);
            if let Ok(time) = keep(&headers) {
                let seconds = time.expect("the field is there").as_secs();
                prop_assert!((1..=MAX_KEEP).contains(&seconds));
                prop_assert_eq!(text.parse::<u64>().ok(), Some(seconds));
            }
        }
    }
}
