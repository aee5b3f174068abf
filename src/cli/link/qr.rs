//! A link as a QR code that a phone reads from the terminal.

use crate::cli::{Exit, Failure};
use crate::http::QrDrawing;

/// Black on white, whatever colours the terminal has: what comes out light on dark is not read by every phone.
const COLOURS: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

pub(super) fn drawing(url: &str) -> Result<QrDrawing, Failure> {
    let too_long = || Failure::new(Exit::Other, "the link is too long for a QR code");
    QrDrawing::of(url).ok_or_else(too_long)
}

/// Two modules one above the other in each character, whose two halves are about square.
pub(in crate::cli) fn on_terminal(url: &str) -> Result<String, Failure> {
    let drawing = drawing(url)?;
    let row = |y: i32| {
        let halves = |x: i32| match (drawing.is_dark(x, y), drawing.is_dark(x, y + 1)) {
            (false, false) => ' ',
            (true, false) => '▀',
            (false, true) => '▄',
            (true, true) => '█',
        };
        let halves: String = (0..drawing.size()).map(halves).collect();
        format!("{COLOURS}{halves}{RESET}")
    };
    let rows: Vec<_> = (0..drawing.size()).step_by(2).map(row).collect();
    Ok(rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://drop.example/d/0123456789abcdefghijklmnopqrstuv";

    #[test]
    fn what_the_terminal_shows_is_the_code() {
        let drawing = QrDrawing::of(URL).unwrap();
        let shown = on_terminal(URL).unwrap();
        let size = usize::try_from(drawing.size()).unwrap();
        assert!(size <= 79, "{size} columns");
        let mut rows = 0;
        for line in shown.lines() {
            let line = line.strip_prefix(COLOURS).unwrap();
            let line = line.strip_suffix(RESET).unwrap();
            assert_eq!(line.chars().count(), size);
            for (x, c) in (0..).zip(line.chars()) {
                assert_eq!("▀█".contains(c), drawing.is_dark(x, rows), "{x} {rows}");
                assert_eq!("▄█".contains(c), drawing.is_dark(x, rows + 1), "{x} {rows}");
            }
            rows += 2;
        }
        assert!(rows >= drawing.size());
    }
}
