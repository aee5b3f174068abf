//! The header fields of tus 1.0.0 that have an inner form: `Upload-Metadata`, `Upload-Checksum` and `Upload-Concat`.

use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::upload::{Algorithm, ExpectedDigest, Role, UploadUrl};

/// The longest `Upload-Metadata` that is taken, in bytes.
const MAX_METADATA: usize = 64 * 1024;
/// The most pairs in it.
const MAX_PAIRS: usize = 128;
/// The most parts of one upload.
const MAX_PARTS: usize = 256;
/// The keys that clients give a name and a media type under, the usual one first.
const NAME_KEYS: [&str; 2] = ["filename", "name"];
const TYPE_KEYS: [&str; 2] = ["filetype", "type"];

/// What `Tus-Checksum-Algorithm` says.
pub const CHECKSUM_ALGORITHMS: &str = "sha1,sha256,crc32c";
/// The same, with the size of their checksums in bytes.
const CHECKSUMS: [(&str, Algorithm, usize); 3] = [
    ("sha1", Algorithm::Sha1, 20),
    ("sha256", Algorithm::Sha256, 32),
    ("crc32c", Algorithm::Crc32c, 4),
];

/// Why a field of tus could not be read. Never contains what the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TusFieldError {
    /// Not a list of pairs, or a key without a name or twice.
    #[error(
        "Upload-Metadata is a list of different keys, each with a space and a value in base64: at most {MAX_PAIRS}, and 64 KiB in all"
    )]
    Metadata,
    /// Not an algorithm that is supported and a checksum of its size.
    #[error(
        "Upload-Checksum is one of sha1, sha256 and crc32c, a space, and the checksum in base64"
    )]
    Checksum,
    /// Neither a part nor made of parts.
    #[error("Upload-Concat is partial, or final; and the URLs of the parts, at most {MAX_PARTS}")]
    Concat,
    /// A URL that is none of an upload here.
    #[error("Upload-Concat names an upload that is not here")]
    Part,
}

/// What a client says about an upload: the pairs of key and value, in order, and the field as it came. Without `Debug`: it
/// holds names.
#[derive(Default)]
pub struct UploadMetadata {
    raw: Option<String>,
    pairs: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl UploadMetadata {
    /// Reads the field. An empty one is no metadata.
    pub fn parse(text: &str) -> Result<Self, TusFieldError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        if text.len() > MAX_METADATA {
            return Err(TusFieldError::Metadata);
        }
        let mut keys = std::collections::BTreeSet::new();
        let mut pairs = Vec::new();
        for pair in text.split(',') {
            let pair = pair.trim_matches(' ');
            let (key, encoded) = pair.split_once(' ').unwrap_or((pair, ""));
            let value = BASE64.decode(encoded.trim_matches(' ').as_bytes());
            let value = value.map_err(|_| TusFieldError::Metadata)?;
            if key.is_empty() || !keys.insert(key) || pairs.len() == MAX_PAIRS {
                return Err(TusFieldError::Metadata);
            }
            pairs.push((key.to_owned(), Zeroizing::new(value)));
        }
        Ok(Self {
            raw: Some(text.to_owned()),
            pairs,
        })
    }

    /// The pairs, in order. A value is any bytes.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.pairs.iter().map(|(key, value)| (&key[..], &value[..]))
    }

    /// The file's name, if there is one.
    pub fn name(&self) -> Option<&[u8]> {
        self.first(NAME_KEYS)
    }

    /// The file's media type. One that is not visible ASCII is none.
    pub fn media_type(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.first(TYPE_KEYS)?).ok()?;
        let visible = text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
        visible.then_some(text)
    }

    /// The field as it came, to be told again.
    pub fn into_raw(self) -> Option<String> {
        self.raw
    }

    fn first(&self, keys: [&str; 2]) -> Option<&[u8]> {
        let value = |wanted| self.pairs().find(|(key, _)| *key == wanted);
        let (_, value) = keys.into_iter().find_map(value)?;
        (!value.is_empty()).then_some(value)
    }
}

/// Reads `Upload-Checksum`.
pub fn upload_checksum(text: &str) -> Result<ExpectedDigest, TusFieldError> {
    let (name, encoded) = text.split_once(' ').ok_or(TusFieldError::Checksum)?;
    let known = CHECKSUMS.iter().find(|(known, ..)| *known == name);
    let &(_, algorithm, size) = known.ok_or(TusFieldError::Checksum)?;
    let value = BASE64.decode(encoded.trim().as_bytes());
    let value = value.map_err(|_| TusFieldError::Checksum)?;
    if value.len() != size {
        return Err(TusFieldError::Checksum);
    }
    Ok(ExpectedDigest { algorithm, value })
}

/// The algorithms that a checksum may be made with.
pub(super) fn checksum_algorithms() -> Vec<Algorithm> {
    CHECKSUMS.map(|(_, algorithm, _)| algorithm).to_vec()
}

/// Reads `Upload-Concat`: what part the new upload plays, and of a final one its parts, in order.
pub fn upload_concat(text: &str) -> Result<(Role, Option<Vec<UploadUrl>>), TusFieldError> {
    if text == "partial" {
        return Ok((Role::Partial, None));
    }
    let urls = text.strip_prefix("final;").ok_or(TusFieldError::Concat)?;
    let urls = urls.split(' ').filter(|url| !url.is_empty());
    let parts = urls.take(MAX_PARTS + 1).map(upload_url);
    let parts = parts
        .collect::<Option<Vec<_>>>()
        .ok_or(TusFieldError::Part)?;
    if parts.is_empty() || parts.len() > MAX_PARTS {
        return Err(TusFieldError::Concat);
    }
    Ok((Role::Final(text.to_owned()), Some(parts)))
}

/// Reads the URL of an upload here, absolute or relative. Which host it names does not matter: behind a proxy it is another
/// than ours, and the secret says whose it is.
pub(super) fn upload_url(url: &str) -> Option<UploadUrl> {
    let path = url.split(['?', '#']).next()?;
    path.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_types_are_found() {
        let text = "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential,filetype YS9i";
        let metadata = UploadMetadata::parse(text).unwrap();
        assert_eq!(metadata.name(), Some(&b"world_domination_plan.pdf"[..]));
        assert_eq!(metadata.media_type(), Some("a/b"));
        assert_eq!(metadata.pairs().count(), 3);
        assert_eq!(metadata.into_raw().as_deref(), Some(text));
        let metadata = UploadMetadata::parse("name YQ==,type AA==,empty ,x eQ==").unwrap();
        assert_eq!(metadata.name(), Some(&b"a"[..]));
        assert!(metadata.media_type().is_none());
        assert!(UploadMetadata::parse("filename").unwrap().name().is_none());
        assert!(UploadMetadata::parse(" ").unwrap().into_raw().is_none());
    }

    #[test]
    fn unclear_metadata_is_refused() {
        let long = format!("a {}", "AAAA".repeat(MAX_METADATA / 4));
        for text in [
            ",",
            "a,",
            "a YQ==,,b",
            "a YQ==,a Yg==",
            "a YQ",
            "a *",
            "a YQ== YQ==",
            " ,a",
            &long,
        ] {
            assert!(UploadMetadata::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unclear_checksums_are_refused() {
        let checksum = upload_checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").unwrap();
        assert_eq!(checksum.algorithm, Algorithm::Sha1);
        for value in [
            "",
            "sha1",
            "sha1 ",
            "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "md5 XUFAKrxLKna5cZ2REBfFkg==",
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu",
            "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha1 *",
        ] {
            assert_eq!(
                upload_checksum(value),
                Err(TusFieldError::Checksum),
                "{value}"
            );
        }
    }

    #[test]
    fn parts_are_found_by_absolute_and_relative_urls() {
        let segment = format!("{}.{}", "0".repeat(32), "1".repeat(32));
        let value = format!(
            "final;/uploads/{segment} https://proxy.example:1/uploads/{segment}  {segment}"
        );
        let (role, parts) = upload_concat(&value).ok().unwrap();
        assert!(role == Role::Final(value));
        assert_eq!(parts.unwrap().len(), 3);
        assert!(matches!(
            upload_concat("partial"),
            Ok((Role::Partial, None))
        ));
        for value in ["", "final", "final;", "final; ", "Partial"] {
            assert_eq!(
                upload_concat(value).err(),
                Some(TusFieldError::Concat),
                "{value}"
            );
        }
        let foreign = upload_concat("final;/uploads/x");
        assert_eq!(foreign.err(), Some(TusFieldError::Part));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::btree_map("[a-z]{1,5}", proptest::collection::vec(any::<u8>(), 0..20), 1..5)) {
            let text: Vec<_> = pairs.iter().map(|(key, value)| format!("{key} {}", BASE64.encode(value))).collect();
            let metadata = UploadMetadata::parse(&text.join(",")).unwrap();
            let read: Vec<_> = metadata.pairs().map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn no_text_panics(text in "[ ,a-c=YQ]{0,20}|.{0,30}") {
            let _ = UploadMetadata::parse(&text);
            let _ = upload_checksum(&text);
            let _ = upload_concat(&format!("final;{text}"));
        }
    }
}
