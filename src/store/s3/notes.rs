//! What is noted beside a manifest: the names of the upload's segments, and a checksum.

use crc_fast::CrcAlgorithm::Crc64Nvme;

use super::bucket::{Bucket, Notes};
use super::keys;
use crate::store::{MAX_SEGMENTS, SegmentName, StoreError, UploadId};

/// The names of the segments, with commas between them; or [`NONE`]; or [`LISTED`] and the tag of the object that lists them.
const SEGMENTS: &str = "sealslot-segments";
const CHECKSUM: &str = "sealslot-crc64nvme";

/// Some engines lose a note that is empty.
const NONE: &str = "none";
const LISTED: &str = "listed-";

/// So many names fit beside an object: engines take 2 KiB of notes in all.
const MOST_BESIDE: usize = 60;

/// Bytes of the longest list of names: one a line.
const MAX_LIST: u64 = MAX_SEGMENTS as u64 * 22;

/// Where an upload says what its segments are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Beside(Vec<SegmentName>),
    /// In an object with this tag.
    Listed(String),
    /// Nowhere: whoever copied the bucket lost it.
    Lost,
}

/// Notes what a manifest and its segments are. More names than fit beside it are put into an object of their own, at once.
pub(super) fn write(
    bucket: &Bucket,
    id: &UploadId,
    meta: &[u8],
    segments: &[SegmentName],
) -> Result<Notes, StoreError> {
    let joined = |between: &str| {
        let names: Vec<String> = segments.iter().map(SegmentName::to_string).collect();
        names.join(between)
    };
    let named = match segments.len() {
        0 => NONE.to_owned(),
        1..=MOST_BESIDE => joined(","),
        _ => {
            let tag = keys::tag();
            let list = joined("\n").into_bytes();
            bucket.put(&keys::names(id, &tag), list, &Notes::default())?;
            format!("{LISTED}{tag}")
        }
    };
    Ok(of(meta, named))
}

/// Notes what a manifest is whose segments' names are in an object of their own already.
pub(super) fn with_list(meta: &[u8], tag: &str) -> Notes {
    of(meta, format!("{LISTED}{tag}"))
}

fn of(meta: &[u8], named: String) -> Notes {
    let checksum = crc_fast::checksum(Crc64Nvme, meta);
    Notes::default()
        .with(SEGMENTS, named)
        .with(CHECKSUM, format!("{checksum:016x}"))
}

/// Where the segments' names are. What cannot be read is as good as lost.
pub(super) fn named(notes: &Notes) -> Named {
    let Some(value) = notes.value(SEGMENTS) else {
        return Named::Lost;
    };
    if value == NONE {
        return Named::Beside(Vec::new());
    }
    if let Some(tag) = value.strip_prefix(LISTED).filter(|tag| keys::is_tag(tag)) {
        return Named::Listed(tag.to_owned());
    }
    parse(value, ',').map_or(Named::Lost, Named::Beside)
}

/// Reads the names out of an object of their own.
pub(super) fn listed(
    bucket: &Bucket,
    id: &UploadId,
    tag: &str,
) -> Result<Option<Vec<SegmentName>>, StoreError> {
    let list = bucket.get(&keys::names(id, tag), MAX_LIST)?;
    Ok(str::from_utf8(&list.bytes)
        .ok()
        .and_then(|list| parse(list, '\n')))
}

/// Names in order of their numbers, no number twice.
fn parse(text: &str, between: char) -> Option<Vec<SegmentName>> {
    let names: Vec<SegmentName> = text
        .split(between)
        .take(MAX_SEGMENTS as usize + 1)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let ordered = names.is_sorted_by(|one, next| one.number() < next.number());
    (ordered && !names.iter().any(SegmentName::is_plain)).then_some(names)
}

/// The checksum over the manifest.
pub(super) fn checksum(notes: &Notes) -> Option<u64> {
    let is_hex =
        |text: &&str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = notes.value(CHECKSUM).filter(is_hex)?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(value: &str) -> Notes {
        Notes::default().with(SEGMENTS, value)
    }

    #[test]
    fn names_are_read_as_they_are_noted() {
        let names: Vec<_> = (0..60).map(|n| SegmentName::tagged(n).unwrap()).collect();
        let texts: Vec<_> = names.iter().map(SegmentName::to_string).collect();
        let value = texts.join(",");
        assert!(value.len() < 1400);
        assert_eq!(named(&note(&value)), Named::Beside(names.clone()));
        assert_eq!(named(&note(NONE)), Named::Beside(Vec::new()));
        let tag = keys::tag();
        assert_eq!(named(&note(&format!("listed-{tag}"))), Named::Listed(tag));
        assert_eq!(parse(&texts.join("\n"), '\n'), Some(names));
    }

    #[test]
    fn what_is_no_list_of_names_is_lost() {
        let [one, two] = [0, 1].map(|n| SegmentName::tagged(n).unwrap());
        for value in [
            "",
            "0000",
            "listed-",
            "listed-x",
            "NONE",
            &format!("{one},"),
            &format!("{two},{one}"),
            &format!("{one},{one}"),
            &format!("{one} {two}"),
        ] {
            assert_eq!(named(&note(value)), Named::Lost, "{value:?}");
        }
        assert_eq!(named(&Notes::default()), Named::Lost);
    }

    #[test]
    fn a_checksum_is_16_digits() {
        let noted = |value: &str| checksum(&Notes::default().with(CHECKSUM, value));
        assert_eq!(noted("00000000000000ff"), Some(255));
        for other in ["", "ff", "00000000000000fg", "+0000000000000ff"] {
            assert_eq!(noted(other), None, "{other}");
        }
    }
}
