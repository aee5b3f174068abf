//! Weights, by which clients say what they would rather have (RFC 9110, section 12.4.2).

/// A weight of one, in thousandths.
pub(super) const FULL: u16 = 1000;

/// What stands in front of the parameters, with its weight in thousandths. What is malformed, or has another parameter, says
/// nothing.
pub(super) fn weighted(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let value = parts.next().filter(|value| !value.is_empty())?;
    let Some(parameter) = parts.next() else {
        return Some((value, FULL));
    };
    if parts.next().is_some() {
        return None;
    }
    Some((value, weight(q(parameter)?)?))
}

/// The value of a parameter that is a weight.
pub(super) fn q(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.eq_ignore_ascii_case("q").then_some(value)
}

/// From `0` to `1`, with up to three decimals, in thousandths.
pub(super) fn weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = match whole {
        "0" => 0,
        "1" => FULL,
        _ => return None,
    };
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    Some(whole + thousandths).filter(|&weight| weight <= FULL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_are_exact() {
        for (text, thousandths) in [
            ("0", 0),
            ("0.", 0),
            ("0.000", 0),
            ("0.001", 1),
            ("0.5", 500),
            ("0.29", 290),
            ("1", 1000),
            ("1.", 1000),
            ("1.000", 1000),
        ] {
            assert_eq!(weight(text), Some(thousandths), "{text}");
        }
        for text in [
            "", ".", ".5", "1.001", "2", "-0", "+1", "0.0000", "0,5", "1e0", "NaN", "inf", "0.5 ",
            "٠",
        ] {
            assert_eq!(weight(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_has_at_most_a_weight() {
        for (text, found) in [
            ("gzip", Some(("gzip", 1000))),
            (" ko ; Q=0.3 ", Some(("ko", 300))),
            ("a;q=0", Some(("a", 0))),
            ("", None),
            (";q=1", None),
            ("a;", None),
            ("a;q", None),
            ("a;x=1", None),
            ("a;q=1;x", None),
            ("a;q = 1", None),
        ] {
            assert_eq!(weighted(text), found, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_none_weighs_too_much(text in "[a-z*/]{0,3}[;,]? ?[qQ]?=?[01]?\\.?[0-9]{0,4}|\\PC{0,20}") {
            if let Some((value, weight)) = weighted(&text) {
                prop_assert!(weight <= FULL && text.contains(value));
            }
        }

        #[test]
        fn every_weight_is_read_as_written(thousandths in 0_u16..=FULL) {
            let text = format!("{}.{:03}", thousandths / FULL, thousandths % FULL);
            prop_assert_eq!(weight(&text), Some(thousandths));
        }
    }
}
