//! Which keys the files of an upload have.

use data_encoding::BASE32_DNSSEC;

use crate::store::{Day, NameError, SegmentName, UploadId};

/// What all uploads are below.
pub(super) const UPLOADS: &str = "uploads/";

/// What the uploads are below in which somebody removes or replaces something: whoever finds one left there goes on with it.
pub(super) const UNFINISHED: &str = "unfinished/";

const META: &str = "meta.age";
pub(super) const SEALED: &str = ".age";
pub(super) const PARTS: &str = ".parts";
const NAMES: &str = "segments-";

/// What is below the folder of an upload, and sorts behind all of its segments and before everything else there.
const BEHIND_SEGMENTS: &str = "9~";

/// What sorts behind everything in a folder.
const BEHIND_ALL: &str = "~";

const TAG_BYTES: usize = 10;
const TAG_TEXT: usize = 16;

/// The folder of an upload, with the `/` at its end.
pub(super) fn folder(id: &UploadId) -> String {
    format!("{UPLOADS}{}/{id}/", id.day())
}

/// The folder of a day, with the `/` at its end.
pub(super) fn day(day: Day) -> String {
    format!("{UPLOADS}{day}/")
}

/// The manifest: with it, the upload is published.
pub(super) fn meta(id: &UploadId) -> String {
    format!("{}{META}", folder(id))
}

/// A segment.
pub(super) fn segment(id: &UploadId, name: &SegmentName) -> String {
    format!("{}{name}{SEALED}", folder(id))
}

/// What the engine calls a segment that it is sent in parts.
pub(super) fn parts(id: &UploadId, name: &SegmentName) -> String {
    format!("{}{name}{PARTS}", folder(id))
}

/// The names of an upload's segments, where they do not fit beside its manifest.
pub(super) fn names(id: &UploadId, tag: &str) -> String {
    format!("{}{NAMES}{tag}", folder(id))
}

/// Says that somebody removes or replaces something of an upload.
pub(super) fn unfinished(id: &UploadId) -> String {
    format!("{UNFINISHED}{id}")
}

/// Sorts behind all segments of an upload, and before its manifest.
pub(super) fn behind_segments(id: &UploadId) -> String {
    format!("{}{BEHIND_SEGMENTS}", folder(id))
}

/// Sorts behind everything of an upload.
pub(super) fn behind(id: &UploadId) -> String {
    format!("{}{BEHIND_ALL}", folder(id))
}

/// Random text that nobody else ever chooses.
///
/// # Panics
/// Where the operating system has no randomness to give: two servers must never write one name.
pub(super) fn tag() -> String {
    let mut tag = [0; TAG_BYTES];
    getrandom::fill(&mut tag).expect("the operating system has randomness");
    BASE32_DNSSEC.encode(&tag)
}

/// Whether [`tag`] could have given it.
pub(super) fn is_tag(text: &str) -> bool {
    let fits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'v');
    text.len() == TAG_TEXT && text.bytes().all(fits)
}

/// What an object in an upload's folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Meta,
    Segment(SegmentName),
    /// What a segment that is sent in parts is called.
    Parts(SegmentName),
    /// The segments' names, under this tag.
    Names(String),
}

impl Entry {
    /// Reads the name of an object in an upload's folder. `None`: it does not belong there.
    pub(super) fn of(name: &str) -> Option<Self> {
        if name == META {
            return Some(Self::Meta);
        }
        if let Some(tag) = name.strip_prefix(NAMES) {
            return is_tag(tag).then(|| Self::Names(tag.to_owned()));
        }
        let tagged = |name: &str| -> Result<SegmentName, NameError> {
            let name: SegmentName = name.parse()?;
            Some(name)
                .filter(|name| !name.is_plain())
                .ok_or(NameError::Segment)
        };
        if let Some(name) = name.strip_suffix(SEALED) {
            return tagged(name).ok().map(Self::Segment);
        }
        let name = name.strip_suffix(PARTS)?;
        tagged(name).ok().map(Self::Parts)
    }
}

/// Reads a key below [`UPLOADS`]: whose it is, and its name in that one's folder. `None`: it is in no upload's folder.
pub(super) fn in_folder(key: &str) -> Option<(UploadId, &str)> {
    let (day, rest) = key.strip_prefix(UPLOADS)?.split_once('/')?;
    let (id, name) = rest.split_once('/')?;
    let day: Day = day.parse().ok()?;
    let id: UploadId = id.parse().ok()?;
    (id.day() == day).then_some((id, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn id() -> UploadId {
        // 2026-11-23T13:39:00.123Z
        UploadId::generate(UNIX_EPOCH + Duration::from_millis(1_795_441_140_123))
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let id = id();
        let name = SegmentName::tagged(42).unwrap();
        let tag = tag();
        assert_eq!(folder(&id), format!("uploads/2026-11-23/{id}/"));
        for (key, entry) in [
            (meta(&id), Entry::Meta),
            (segment(&id, &name), Entry::Segment(name)),
            (parts(&id, &name), Entry::Parts(name)),
            (names(&id, &tag), Entry::Names(tag.clone())),
        ] {
            let (read, name) = in_folder(&key).unwrap();
            assert_eq!(read, id, "{key}");
            assert_eq!(Entry::of(name), Some(entry), "{key}");
        }
    }

    #[test]
    fn what_does_not_belong_there_is_told_apart() {
        let id = id();
        for key in [
            String::new(),
            "uploads/".to_owned(),
            format!("uploads/2026-11-24/{id}/meta.age"),
            format!("uploads/2026-11-23/{id}"),
            format!("uploads/x/{id}/meta.age"),
            format!("upload/2026-11-23/{id}/meta.age"),
            "uploads/2026-11-23/x/meta.age".to_owned(),
        ] {
            assert_eq!(in_folder(&key), None, "{key}");
        }
        let tag = tag();
        for name in [
            "",
            "meta",
            "meta.age ",
            "0000.age",
            "0000.parts",
            "segments-",
            "segments-x",
            "x/meta.age",
            &format!("0000-{tag}"),
            &format!("0000-{tag}.AGE"),
            &format!("00000-{tag}.age"),
            &format!("segments-{}", tag.to_uppercase() + "A"),
        ] {
            assert_eq!(Entry::of(name), None, "{name:?}");
        }
    }

    #[test]
    fn keys_sort_as_listing_needs_it() {
        let id = id();
        let last = SegmentName::tagged(9999).unwrap();
        let first = SegmentName::tagged(0).unwrap();
        let sorted = [
            folder(&id),
            segment(&id, &first),
            segment(&id, &last),
            parts(&id, &last),
            behind_segments(&id),
            meta(&id),
            names(&id, &tag()),
            behind(&id),
            folder(&UploadId::generate(id.time() + Duration::from_millis(1))),
        ];
        assert!(sorted.is_sorted(), "{sorted:#?}");
    }
}
