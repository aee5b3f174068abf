//! The operator's logo.

/// Bytes of a logo, at the most.
pub const MAX_LOGO: usize = 64 << 10;

/// What pictures begin with, and what they are then. WebP is told by two marks.
const MAGIC: [(&[u8], &str); 4] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
];

/// A picture that browsers show.
#[derive(Debug, Clone)]
pub struct Logo {
    pub(super) content_type: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// Why a file is no logo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogoError {
    /// It would weigh more than the page.
    #[error("a logo has at most 64 KiB: make the picture smaller, or save it as SVG")]
    TooLarge,
    /// It is nothing that all browsers show.
    #[error("not a picture that browsers show: give an SVG, PNG, JPEG, WebP or GIF")]
    Unknown,
    /// Browsers show it as text.
    #[error(
        "an SVG without xmlns=\"http://www.w3.org/2000/svg\": browsers do not show it; save it again as plain SVG"
    )]
    NoNamespace,
}

impl Logo {
    /// Tells what a picture is by its content.
    pub fn new(bytes: Vec<u8>) -> Result<Self, LogoError> {
        if bytes.len() > MAX_LOGO {
            return Err(LogoError::TooLarge);
        }
        let content_type = content_type(&bytes)?;
        Ok(Self {
            content_type,
            bytes,
        })
    }
}

fn content_type(bytes: &[u8]) -> Result<&'static str, LogoError> {
    if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Ok(name);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Ok("image/webp");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| LogoError::Unknown)?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with('<') || !text.contains("<svg") {
        return Err(LogoError::Unknown);
    }
    if !text.contains("http://www.w3.org/2000/svg") {
        return Err(LogoError::NoNamespace);
    }
    Ok("image/svg+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_told_by_its_content() {
        let svg =
            "\u{feff}<?xml version=\"1.0\"?><!-- a --><svg xmlns=\"http://www.w3.org/2000/svg\"/>";
        for (bytes, name) in [
            (&b"\x89PNG\r\n\x1a\n..."[..], "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF....WEBPVP8 ", "image/webp"),
            (svg.as_bytes(), "image/svg+xml"),
        ] {
            assert_eq!(Logo::new(bytes.to_vec()).unwrap().content_type, name);
        }
    }

    #[test]
    fn what_browsers_do_not_show_is_refused() {
        for (bytes, error) in [
            (&b""[..], LogoError::Unknown),
            (b"BM", LogoError::Unknown),
            (b"RIFF....WAVE", LogoError::Unknown),
            (b"<html><body></body></html>", LogoError::Unknown),
            (b"\xfe\xff\x00<", LogoError::Unknown),
            (b"<svg viewBox='0 0 1 1'/>", LogoError::NoNamespace),
        ] {
            assert_eq!(Logo::new(bytes.to_vec()).unwrap_err(), error);
        }
        let large = Logo::new(vec![0; MAX_LOGO + 1]);
        assert_eq!(large.unwrap_err(), LogoError::TooLarge);
    }
}
