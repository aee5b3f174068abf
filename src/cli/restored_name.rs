//! From the name that a client gave, which may be anything, to one that a file can safely have here and elsewhere.

/// The longest file name that the usual file systems take, in bytes.
const MAX_NAME: usize = 255;
/// Longer than this, what follows the last dot is no extension that anybody wants kept.
const MAX_EXTENSION: usize = 32;

/// Makes a file name of `given`: one path component of 1 to 255 bytes that means nothing to a shell's or an
/// operating system's path walk, hides nothing and shows nothing that is not there. Where nothing of `given` is left,
/// it is `fallback`, which must be such a name already.
///
/// Separators, control and format characters (bidirectional overrides above all) and what Windows forbids become `_`;
/// dots and white space at either end go; a device name of Windows gets a `_` in front; a long name is cut before its
/// extension.
pub(super) fn restored_name(given: &str, fallback: &str) -> String {
    let name: String = given
        .chars()
        .map(|c| if is_unsafe(c) { '_' } else { c })
        .collect();
    let name = name.trim_matches(is_edge);
    if name.is_empty() {
        return fallback.to_owned();
    }
    if is_device(name) {
        return fit(&format!("_{name}"), "");
    }
    fit(name, "")
}

/// `given` on one line that shows what it is: characters that control a terminal, are not shown, or change how others
/// are shown, are written as `\u{202e}`, and a backslash as two.
pub(super) fn printable(given: &str) -> String {
    let mut line = String::with_capacity(given.len());
    for c in given.chars() {
        match c {
            '\\' => line.push_str(r"\\"),
            c if c.is_control() || is_format(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    line
}

/// `name` with ` (number)` before its extension, in 255 bytes.
pub(super) fn numbered(name: &str, number: u32) -> String {
    fit(name, &format!(" ({number})"))
}

/// Puts `mark` before the extension of `name`, and cuts what precedes it to what there is room for.
fn fit(name: &str, mark: &str) -> String {
    let (stem, extension) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    };
    let room = MAX_NAME - mark.len() - extension.len();
    if mark.is_empty() && stem.len() <= room {
        return name.to_owned();
    }
    let stem = &stem[..stem.floor_char_boundary(room)];
    format!("{}{mark}{extension}", stem.trim_end_matches(is_edge))
}

fn is_edge(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || r#"/\:<>"|?*"#.contains(c) || is_format(c)
}

/// Whether `c` is of the general category Cf (format), or separates lines (Zl, Zp), in Unicode 17: characters that
/// change how others are shown, or are not shown themselves.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}'
        | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Whether Windows would take `name` for a device, whatever its extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_uppercase();
    if matches!(
        &*stem,
        "CON" | "PRN" | "AUX" | "NUL" | "CLOCK$" | "CONIN$" | "CONOUT$"
    ) {
        return true;
    }
    // Superscript digits count as digits there.
    let port = stem.strip_prefix("COM").or(stem.strip_prefix("LPT"));
    port.is_some_and(|port| {
        let mut digits = port.chars();
        let one = digits.next().is_some_and(|c| "0123456789¹²³".contains(c));
        one && digits.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    fn restored(given: &str) -> String {
        restored_name(given, "fallback")
    }

    #[test]
    fn an_ordinary_name_stays() {
        for name in [
            "report.pdf",
            "Jahresabschluss 2026 (final).tar.gz",
            "été à l'été.txt",
            "報告書.docx",
            "_",
            "a",
            "no extension",
            "-rf",
            "COM10",
            "common.txt",
        ] {
            assert_eq!(restored(name), name);
        }
    }

    #[test]
    fn a_hostile_name_becomes_harmless() {
        for (given, name) in [
            ("../../etc/passwd", "_.._etc_passwd"),
            ("/etc/passwd", "_etc_passwd"),
            (r"C:\Windows\system.ini", "C__Windows_system.ini"),
            ("..", "fallback"),
            (".", "fallback"),
            ("...", "fallback"),
            ("", "fallback"),
            (" \u{3000} ", "fallback"),
            ("a\0b", "a_b"),
            ("a\nb\x1b[2Jc", "a_b_[2Jc"),
            ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
            ("\u{feff}x\u{200b}.txt", "_x_.txt"),
            (".bashrc", "bashrc"),
            ("name. . ", "name"),
            ("CON", "_CON"),
            ("nul.txt", "_nul.txt"),
            ("com1 .log", "_com1 .log"),
            ("LPT³", "_LPT³"),
            ("a<b>c\"d|e?f*g:h", "a_b_c_d_e_f_g_h"),
            ("x\u{e0041}y", "x_y"),
        ] {
            assert_eq!(restored(given), name, "{given:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let name = restored(&format!("{}.pdf", "ü".repeat(3000)));
        assert_eq!(name.len(), 254);
        assert!(name.ends_with("ü.pdf"));
        let name = restored(&format!("a.{}", "x".repeat(5000)));
        assert_eq!(name.len(), 255);
        assert_eq!(restored(&"z".repeat(255)).len(), 255);
    }

    #[test]
    fn a_number_stands_before_the_extension() {
        assert_eq!(numbered("a.pdf", 2), "a (2).pdf");
        assert_eq!(numbered("a", 3), "a (3)");
        let long = numbered(&format!("{}.pdf", "x".repeat(251)), 10);
        assert_eq!(long.len(), 255);
        assert!(long.ends_with("x (10).pdf"));
    }

    #[test]
    fn what_is_printed_says_what_it_is() {
        for (given, line) in [
            ("", ""),
            ("it's a \"name\".txt", "it's a \"name\".txt"),
            ("e\u{301}te\u{301}", "e\u{301}te\u{301}"),
            ("報告書", "報告書"),
            ("a\nb\x1b[2Jc", r"a\u{a}b\u{1b}[2Jc"),
            ("a\u{202e}b\u{85}", r"a\u{202e}b\u{85}"),
            (r"C:\x", r"C:\\x"),
        ] {
            assert_eq!(printable(given), line);
        }
    }

    fn any_name() -> impl Strategy<Value = String> {
        let hostile = prop::sample::select(vec![
            '/',
            '\\',
            '\0',
            '.',
            ' ',
            ':',
            '\u{202e}',
            '\u{85}',
            'é',
            'a',
            'N',
            'U',
            'L',
            '1',
            '\u{10ffff}',
        ]);
        let chars = prop_oneof![hostile, any::<char>()];
        prop::collection::vec(chars, 0..400).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn every_name_is_one_safe_component(given in any_name(), number in 2u32..10_000) {
            let name = restored(&given);
            for name in [numbered(&name, number), name] {
                prop_assert!((1..=MAX_NAME).contains(&name.len()));
                let mut components = Path::new(&name).components();
                prop_assert!(matches!(components.next(), Some(Component::Normal(whole)) if whole == &*name));
                prop_assert!(components.next().is_none());
                prop_assert!(!name.chars().any(is_unsafe));
                prop_assert!(!name.starts_with(is_edge) && !name.ends_with(is_edge));
                prop_assert!(!is_device(&name));
                // Nothing is left to make safe.
                prop_assert_eq!(restored(&name), name);
            }
        }
    }
}
