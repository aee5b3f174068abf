//! QR codes: an address that a camera reads.

use std::fmt::Write;

use qrcodegen::{QrCode, QrCodeEcc};

/// Modules of white around a QR code (ISO/IEC 18004, section 6.3.8).
const QUIET: i32 = 4;

/// A QR code with the white around it, to be drawn.
pub struct QrDrawing(QrCode);

impl QrDrawing {
    /// The code of a text; `None` where that is longer than any code.
    pub fn of(text: &str) -> Option<Self> {
        QrCode::encode_text(text, QrCodeEcc::Medium).ok().map(Self)
    }

    /// Modules from one side to the other.
    pub fn size(&self) -> i32 {
        self.0.size() + 2 * QUIET
    }

    /// Whether a module is dark. What lies outside is not.
    pub fn is_dark(&self, x: i32, y: i32) -> bool {
        self.0.get_module(x - QUIET, y - QUIET)
    }

    /// As a picture of its own.
    pub fn to_svg(&self) -> String {
        let size = self.size();
        let shapes = self.shapes();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\">{shapes}</svg>\n"
        )
    }

    /// What is in that picture: black on white, whatever it is put on.
    pub(super) fn shapes(&self) -> String {
        let size = self.size();
        let path = self.path();
        format!(
            "<rect width=\"{size}\" height=\"{size}\" fill=\"#fff\"/><path d=\"{path}\" fill=\"#000\"/>"
        )
    }

    /// The dark modules, each row in strokes of those that stand side by side.
    fn path(&self) -> String {
        let mut path = String::new();
        for y in 0..self.size() {
            let mut x = 0;
            while x < self.size() {
                let run = (x..self.size()).take_while(|&x| self.is_dark(x, y)).count();
                let run = i32::try_from(run).unwrap_or_default();
                if run > 0 {
                    let _ = write!(path, "M{x} {y}h{run}v1h-{run}z");
                }
                x += run.max(1);
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_the_code() {
        let url = "https://192.0.2.7:8443/";
        let code = QrCode::encode_text(url, QrCodeEcc::Medium).unwrap();
        let svg = QrDrawing::of(url).unwrap().to_svg();
        let (_, path) = svg.split_once(" d=\"").unwrap();
        let (path, _) = path.split_once('"').unwrap();
        let mut dark = std::collections::BTreeSet::new();
        for stroke in path.split('M').skip(1) {
            let stroke = stroke.strip_suffix('z').unwrap();
            let (at, shape) = stroke.split_once('h').unwrap();
            let (x, y) = at.split_once(' ').unwrap();
            let (run, back) = shape.split_once("v1h-").unwrap();
            assert_eq!(run, back);
            let (x, y): (i32, i32) = (x.parse().unwrap(), y.parse().unwrap());
            let run: i32 = run.parse().unwrap();
            dark.extend((x..x + run).map(|x| (x - QUIET, y - QUIET)));
        }
        for y in -QUIET..code.size() + QUIET {
            for x in -QUIET..code.size() + QUIET {
                assert_eq!(dark.contains(&(x, y)), code.get_module(x, y), "{x} {y}");
            }
        }
    }

    #[test]
    fn what_no_code_holds_is_not_drawn() {
        assert!(QrDrawing::of(&"x".repeat(3000)).is_none());
    }
}
