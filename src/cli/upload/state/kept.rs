//! The text of the small file that a later run goes on with.

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::cli::client::endpoint::UploadUrl;

/// A copy that was sealed here, complete on disk: what it is of, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::upload) struct SealedCopy {
    /// Of the plaintext: its size in bytes, and its SHA-256 in lowercase hex.
    pub(in crate::cli::upload) plaintext: (u64, String),
    /// Of the sealed file, in bytes.
    pub(in crate::cli::upload) size: u64,
}

/// What a state holds: a line with the path of the upload URL, or an empty one, and, where there is a sealed copy, another
/// one: `sealed`, the size of the plaintext, its SHA-256, and the size of the copy.
#[derive(Clone, Default)]
pub(super) struct Kept {
    pub(super) upload: Option<UploadUrl>,
    pub(super) sealed: Option<SealedCopy>,
}

impl Kept {
    /// What makes no sense is as good as nothing, and then all of it is.
    pub(super) fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let upload = match lines.next() {
            None | Some("") => None,
            Some(line) => match line.parse() {
                Ok(upload) => Some(upload),
                Err(_) => return Self::default(),
            },
        };
        let sealed = match lines.next().map(SealedCopy::parse) {
            None => None,
            Some(Some(sealed)) => Some(sealed),
            Some(None) => return Self::default(),
        };
        Self { upload, sealed }
    }

    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let upload = self.upload.as_ref().map_or("", UploadUrl::path);
        let mut text = Zeroizing::new(format!("{upload}\n"));
        if let Some(SealedCopy {
            plaintext: (plain_size, sha256),
            size,
        }) = &self.sealed
        {
            let sealed = format!("sealed {plain_size} {sha256} {size}\n");
            text.push_str(&sealed);
        }
        text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.upload.is_none() && self.sealed.is_none()
    }
}

impl SealedCopy {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("sealed ")?.split(' ');
        let plain_size = words.next()?.parse().ok()?;
        let sha256 = words.next()?;
        let size = words.next()?.parse().ok()?;
        let is_digest = HEXLOWER
            .decode(sha256.as_bytes())
            .is_ok_and(|digest| digest.len() == 32);
        (is_digest && words.next().is_none()).then(|| Self {
            plaintext: (plain_size, sha256.to_owned()),
            size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_all_else_is_nothing() {
        let digest = "ab".repeat(32);
        for text in [
            "\n".to_owned(),
            "/uploads/a.b\n".to_owned(),
            format!("\nsealed 5 {digest} 200\n"),
            format!("/uploads/a.b\nsealed 0 {digest} 18446744073709551615\n"),
        ] {
            assert_eq!(*Kept::parse(&text).to_text(), text);
        }
        for line in [
            "sealed".to_owned(),
            "sealed 5 abc 7".to_owned(),
            format!("sealed -1 {digest} 7"),
            format!("sealed 5 {digest}"),
            format!("sealed 5 {digest} 7 8"),
            format!("opened 5 {digest} 7"),
        ] {
            // An upload without the copy that it is of is worth nothing.
            assert!(Kept::parse(&format!("/uploads/a.b\n{line}\n")).is_empty());
        }
    }
}
