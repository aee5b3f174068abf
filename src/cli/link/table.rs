//! Links as a table for people.

use serde::Deserialize;
use serde_json::Value;

use crate::cli::restored_name::printable;

/// What the table shows of a link. The server may say more.
#[derive(Deserialize)]
struct Row {
    id: String,
    label: String,
    state: String,
    expires: Option<String>,
    max_uploads: Option<u64>,
    max_bytes: Option<u64>,
    #[serde(default)]
    max_file: Option<u64>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    extensions: Vec<String>,
    used: Amount,
    reserved: Amount,
}

#[derive(Deserialize)]
struct Amount {
    uploads: u64,
    bytes: u64,
}

const HEADINGS: [&str; 7] = ["ID", "STATE", "FILES", "SIZE", "EXPIRES", "TAKES", "LABEL"];

/// A line for each link below the headings; only these where there is none. `None` where these are no links.
pub(super) fn lines(links: &[Value]) -> Option<Vec<String>> {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for link in links {
        let row = Row::deserialize(link).ok()?;
        rows.push(row.cells());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..HEADINGS.len()).filter_map(width).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<_> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    Some(rows.iter().map(line).collect())
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let size = |bytes: u64| bytesize::ByteSize(bytes).display().iec().to_string();
        let of = |used: String, most: Option<String>, more: Option<String>| {
            let most = most.map(|most| format!(" of {most}")).unwrap_or_default();
            let more = more.map(|more| format!(" (+{more})")).unwrap_or_default();
            used + &most + &more
        };
        let under_way = |number: u64, text: String| (number > 0).then_some(text);
        let Amount { uploads, bytes } = self.reserved;
        let expires = self.expires.as_deref().unwrap_or("never");
        // All of it comes from the server.
        [
            printable(&self.id),
            printable(&self.state),
            of(
                self.used.uploads.to_string(),
                self.max_uploads.map(|most| most.to_string()),
                under_way(uploads, uploads.to_string()),
            ),
            of(
                size(self.used.bytes),
                self.max_bytes.map(size),
                under_way(bytes, size(bytes)),
            ),
            printable(expires),
            self.takes(),
            printable(&self.label),
        ]
    }

    /// Which files, as they are named when a link is made.
    fn takes(&self) -> String {
        let size = |bytes| format!("<={}", bytesize::ByteSize(bytes).display().iec());
        let extensions = self
            .extensions
            .iter()
            .map(|extension| format!(".{extension}"));
        let kinds: Vec<_> = self.types.iter().cloned().chain(extensions).collect();
        let kinds = (!kinds.is_empty()).then(|| kinds.join(","));
        let said: Vec<_> = kinds.into_iter().chain(self.max_file.map(size)).collect();
        if said.is_empty() {
            "any".to_owned()
        } else {
            printable(&said.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_stand_below_each_other() {
        let link = |id: &str, label: &str| {
            json!({
                "id": id, "label": label, "state": "open", "expires": null, "max_uploads": 20, "max_bytes": null,
                "used": { "uploads": 3, "bytes": 2048 }, "reserved": { "uploads": 1, "bytes": 0 }, "more": 1,
            })
        };
        let shown = lines(&[link("abc", "김"), link("d", "\x1b[2J")]).unwrap();
        assert_eq!(
            shown,
            [
                "ID   STATE  FILES         SIZE     EXPIRES  TAKES  LABEL",
                "abc  open   3 of 20 (+1)  2.0 KiB  never    any    김",
                "d    open   3 of 20 (+1)  2.0 KiB  never    any    \\u{1b}[2J",
            ]
        );
        let mut limited = link("e", "");
        limited["types"] = json!(["image/*"]);
        limited["extensions"] = json!(["pdf"]);
        limited["max_file"] = json!(1024);
        let shown = lines(&[limited]).unwrap();
        assert!(shown[1].ends_with("  image/*,.pdf <=1.0 KiB"), "{shown:?}");
        assert_eq!(lines(&[]).unwrap().len(), 1);
        assert!(lines(&[json!({})]).is_none());
    }
}
