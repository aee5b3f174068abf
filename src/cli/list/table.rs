//! Uploads as a table for people. Names stand last, and are as wide as they are.

use crate::cli::catalog::Entry;
use crate::cli::client::listing::Listed;
use crate::cli::restored_name::printable;

/// Most media types are not longer, in characters.
const TYPE: usize = 24;
/// Nor are sizes.
const SIZE: usize = 9;

/// How wide its columns are.
pub(in crate::cli) struct Table {
    link: usize,
    expires: usize,
    /// Whether it shows what manifests tell.
    opened: bool,
}

impl Table {
    /// For these uploads.
    pub(in crate::cli) fn of(uploads: &[Listed], opened: bool) -> Self {
        let widest = |heading: &str, cell: fn(&Listed) -> Option<&String>| {
            let cells = uploads.iter().filter_map(cell);
            let widths = cells.map(|cell| printable(cell).chars().count());
            widths.max().unwrap_or(0).max(heading.len())
        };
        Self {
            link: widest("LINK", |listed| listed.link.as_ref()),
            expires: widest("EXPIRES", |listed| listed.expires.as_ref()),
            opened,
        }
    }

    /// What the columns are.
    pub(in crate::cli) fn heading(&self) -> String {
        let size = if self.opened { "SIZE" } else { "SEALED" };
        self.row(["ID", "RECEIVED", size, "LINK", "EXPIRES", "TYPE", "NAME"])
    }

    /// One upload.
    pub(in crate::cli) fn line(&self, entry: &Entry) -> String {
        let listed = &entry.listed;
        let described = entry.described.as_ref();
        let size = described.map_or(listed.sealed_size, |described| described.size);
        let size = match described {
            None if self.opened => "-".to_owned(),
            _ => human(size),
        };
        let or_dash = |text: Option<&str>| printable(text.unwrap_or("-"));
        let media_type = described.and_then(|described| described.media_type.as_deref());
        let name = match described {
            Some(described) => or_dash(described.name.as_deref()),
            None => "(does not open with this key)".to_owned(),
        };
        // All of it comes from the server or from a sender.
        self.row([
            &listed.id.to_string(),
            &printable(&listed.time),
            &size,
            &or_dash(listed.link.as_deref()),
            &or_dash(listed.expires.as_deref()),
            &or_dash(media_type),
            &name,
        ])
    }

    fn row(&self, cells: [&str; 7]) -> String {
        let [id, received, size, link, expires, media_type, name] = cells;
        let Self {
            link: link_width,
            expires: expires_width,
            opened,
        } = *self;
        let known = format!(
            "{id:<32}  {received:<20}  {size:>SIZE$}  {link:<link_width$}  {expires:<expires_width$}"
        );
        if opened {
            format!("{known}  {media_type:<TYPE$}  {name}")
        } else {
            known.trim_end().to_owned()
        }
    }
}

/// Bytes for people.
pub(in crate::cli) fn human(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::catalog::Description;
    use serde_json::{from_value, json};

    fn entry(name: Option<&str>) -> Entry {
        let id = "0".repeat(32);
        let listed = json!({
            "id": id, "time": "2026-11-23T12:00:00Z", "sealed_size": 2048, "files": [], "link": null, "expires": null,
        });
        let described = name.map(|name| {
            let described = json!({
                "submission": id, "kind": "file", "name": name, "type": "image/png", "size": 5, "sha256": "",
            });
            from_value::<Description>(described).unwrap()
        });
        Entry {
            listed: from_value(listed).unwrap(),
            described,
        }
    }

    #[test]
    fn a_line_shows_what_is_known_on_one_line() {
        let id = "0".repeat(32);
        let of = |entry: Entry, opened| {
            Table::of(std::slice::from_ref(&entry.listed), opened).line(&entry)
        };
        assert_eq!(
            of(entry(None), false),
            format!("{id}  2026-11-23T12:00:00Z    2.0 KiB  -     -")
        );
        assert_eq!(
            of(entry(Some("a\n\u{202e}b")), true),
            format!(
                "{id}  2026-11-23T12:00:00Z        5 B  -     -        image/png                 a\\u{{a}}\\u{{202e}}b"
            )
        );
        let unopened = of(entry(None), true);
        assert!(
            unopened.ends_with("  (does not open with this key)"),
            "{unopened}"
        );
        let heading = Table::of(&[], true).heading();
        assert!(
            heading.ends_with("NAME") && heading.starts_with("ID   "),
            "{heading}"
        );
    }
}
