//! What a client says about an upload (tus, "Upload-Metadata").

use data_encoding::BASE64;
use http::HeaderMap;
use zeroize::Zeroizing;

use super::UPLOAD_METADATA;
use crate::http::problem::Problem;
use crate::upload::{ClientName, MetadataEntry};

/// The longest header that is taken, in bytes.
const MAX_SIZE: usize = 64 * 1024;
/// The keys that clients give a name and a media type under, the usual one first.
const NAME_KEYS: [&str; 2] = ["filename", "name"];
const TYPE_KEYS: [&str; 2] = ["filetype", "type"];

/// The pairs of key and value, in order, and the header as it came.
#[derive(Default)]
pub(in crate::http::resumable) struct Metadata {
    raw: Option<String>,
    pairs: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl Metadata {
    /// Reads the header. None, or an empty one, is no metadata.
    pub(in crate::http::resumable) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(UPLOAD_METADATA).iter();
        let Some(value) = values.next() else {
            return Ok(Self::default());
        };
        let malformed = || {
            Problem::malformed_tus(
                "Upload-Metadata is a list of different keys, each with a space and a value in base64.",
            )
        };
        let text = value.to_str().map_err(|_| malformed())?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        if values.next().is_some() || text.len() > MAX_SIZE {
            return Err(malformed());
        }
        Self::parse(text).ok_or_else(malformed)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut pairs: Vec<(String, _)> = Vec::new();
        for pair in text.split(',') {
            let pair = pair.trim_matches(' ');
            let (key, encoded) = pair.split_once(' ').unwrap_or((pair, ""));
            let value = BASE64.decode(encoded.trim_matches(' ').as_bytes()).ok()?;
            if key.is_empty() || pairs.iter().any(|(known, _)| known == key) {
                return None;
            }
            pairs.push((key.to_owned(), Zeroizing::new(value)));
        }
        Some(Self {
            raw: Some(text.to_owned()),
            pairs,
        })
    }

    fn first(&self, keys: [&str; 2]) -> Option<&[u8]> {
        let value = |key| self.pairs.iter().find(|(known, _)| known == key);
        let value = keys.into_iter().find_map(value)?;
        (!value.1.is_empty()).then_some(&value.1)
    }

    /// The file's name.
    pub(in crate::http::resumable) fn name(&self) -> Option<ClientName> {
        self.first(NAME_KEYS).map(ClientName::new)
    }

    /// The file's media type. One that is no visible ASCII is none.
    pub(in crate::http::resumable) fn media_type(&self) -> Option<String> {
        let text = std::str::from_utf8(self.first(TYPE_KEYS)?).ok()?;
        let visible = text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
        visible.then(|| text.to_owned())
    }

    /// All of it, for the manifest.
    pub(in crate::http::resumable) fn entries(&self) -> Vec<MetadataEntry> {
        let entry = |(key, value): &(String, Zeroizing<Vec<u8>>)| MetadataEntry::new(key, value);
        self.pairs.iter().map(entry).collect()
    }

    /// The header as it came.
    pub(in crate::http::resumable) fn into_raw(self) -> Option<String> {
        self.raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_types_are_found() {
        let metadata = Metadata::parse(
            "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential,filetype YS9i",
        )
        .unwrap();
        assert_eq!(
            metadata.name().unwrap().as_bytes(),
            b"world_domination_plan.pdf"
        );
        assert_eq!(metadata.media_type().unwrap(), "a/b");
        assert_eq!(metadata.entries().len(), 3);
        let metadata = Metadata::parse("name YQ==,type AA==,empty ,x eQ==").unwrap();
        assert_eq!(metadata.name().unwrap().as_bytes(), b"a");
        assert!(metadata.media_type().is_none());
        assert!(Metadata::parse("filename").unwrap().name().is_none());
    }

    #[test]
    fn unclear_metadata_is_refused() {
        for text in [
            ",",
            "a,",
            "a YQ==,,b",
            "a YQ==,a Yg==",
            "a YQ",
            "a *",
            "a YQ== YQ==",
            " ,a",
        ] {
            assert!(Metadata::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::btree_map("[a-z]{1,5}", proptest::collection::vec(any::<u8>(), 0..20), 1..5)) {
            let text: Vec<_> = pairs.iter().map(|(key, value)| format!("{key} {}", BASE64.encode(value))).collect();
            let metadata = Metadata::parse(&text.join(",")).unwrap();
            let read: Vec<_> = metadata.pairs.iter().map(|(key, value)| (key.clone(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn no_text_panics(text in "[ ,a-c=YQ]{0,20}|.{0,30}") {
            let _ = Metadata::parse(&text);
        }
    }
}
