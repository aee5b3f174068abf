//! Sizes as people read them: decimal, as shops and file managers have them.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// A size, rounded: `3.1 MB`, `107 GB`.
pub(super) fn size(bytes: u64) -> String {
    let (exact, _) = unit(bytes);
    let shown = if bytes / exact < 100 {
        exact / 10
    } else {
        exact
    };
    // Rounding may bring it to the next unit.
    let rounded = bytes.saturating_add(shown / 2);
    limit(rounded)
}

/// A limit: never rounded up, so that what is said is taken.
pub(super) fn limit(bytes: u64) -> String {
    let (unit, name) = unit(bytes);
    written(bytes, unit, (bytes % unit) / (unit / 10).max(1), name)
}

fn unit(bytes: u64) -> (u64, &'static str) {
    let mut unit = (1, UNITS[0]);
    for name in &UNITS[1..] {
        // What would be written as 1000 of one unit is 1 of the next.
        if bytes / unit.0 < 1000 {
            break;
        }
        unit = (unit.0 * 1000, name);
    }
    unit
}

/// One decimal where there are fewer than three digits in front of it.
fn written(bytes: u64, unit: u64, tenths: u64, name: &str) -> String {
    let tenths = bytes / unit * 10 + if unit == 1 { 0 } else { tenths };
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {name}"),
        (whole @ 0..100, decimal) => format!("{whole}.{decimal} {name}"),
        (whole, _) => format!("{whole} {name}"),
    }
}

/// Every byte of it: `3,145,728`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 kB"),
            (1049, "1 kB"),
            (1050, "1.1 kB"),
            (3_145_728, "3.1 MB"),
            (99_960_000, "100 MB"),
            (716_800, "717 kB"),
            (999_700, "1 MB"),
            (107_374_182_400, "107 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        assert_eq!(limit(1_990_000), "1.9 MB");
        assert_eq!(limit(999_999), "999 kB");
        assert_eq!(limit(107_374_182_400), "107 GB");
        assert_eq!(limit(12), "12 B");
    }

    #[test]
    fn bytes_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (3_145_728, "3,145,728"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
