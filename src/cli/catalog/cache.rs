//! What manifests told, kept as one age file in the user's cache folder, sealed to the user's own public key: whoever has
//! no key learns no more from it than from the server. It holds no file keys. Whatever is wrong with it, it is made anew.

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Cursor, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Description;
use crate::cli::Failure;
use crate::cli::client::listing::{Listed, ListedMeta};
use crate::cli::staged::Staged;
use crate::keys::NamedRecipient;
use crate::seal::{Identity, Recipient};
use crate::store::UploadId;
use crate::upload::{AgeReader, seal_stream};

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// No cache is larger, in bytes.
const MAX_SIZE: u64 = 256 << 20;

/// What stands in front.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Heading {
    v: u32,
    /// The server's URL.
    server: String,
    /// The public keys of those that opened, by their fingerprints.
    keys: Vec<String>,
}

/// One upload.
#[derive(Serialize, Deserialize)]
struct Line {
    id: UploadId,
    #[serde(flatten)]
    told: Told,
}

/// What its manifest told.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Told {
    /// `meta.age` as it was listed then.
    meta: Option<ListedMeta>,
    /// `None`: it does not open.
    pub(super) described: Option<Description>,
}

/// What is remembered of one server, for one set of keys.
pub(super) struct Cache {
    folder: PathBuf,
    name: String,
    recipient: Recipient,
    heading: Heading,
    told: HashMap<UploadId, Told>,
    changed: bool,
}

impl Cache {
    /// Reads it. `None` where there is no place for it, or no public key to seal it to.
    pub(super) fn open(url: &str, identities: &[Identity]) -> Option<Self> {
        let folder = folder()?;
        let recipients: Vec<_> = identities
            .iter()
            .filter_map(Identity::to_recipient)
            .collect();
        let mut keys: Vec<_> = recipients
            .iter()
            .map(|recipient| NamedRecipient::new(recipient.clone(), "").fingerprint())
            .collect();
        keys.sort();
        let heading = Heading {
            v: VERSION,
            server: url.to_owned(),
            keys,
        };
        let digest = Sha256::digest(serde_json::to_vec(&heading).ok()?);
        let mut cache = Self {
            name: format!("{}.age", HEXLOWER.encode(&digest[..16])),
            folder,
            recipient: recipients.into_iter().next()?,
            heading,
            told: HashMap::new(),
            changed: false,
        };
        cache.told = cache.read(identities).unwrap_or_default();
        Some(cache)
    }

    fn read(&self, identities: &[Identity]) -> Option<HashMap<UploadId, Told>> {
        let text = open_file(&self.folder.join(&self.name), identities)?;
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let heading: Heading = serde_json::from_slice(lines.next()?).ok()?;
        if heading != self.heading {
            return None;
        }
        let told = lines.map(|line| {
            let line: Line = serde_json::from_slice(line).ok()?;
            Some((line.id, line.told))
        });
        told.collect()
    }

    /// What was told of an upload, where its manifest is still the same.
    pub(super) fn find(&self, listed: &Listed) -> Option<&Told> {
        let told = self.told.get(&listed.id)?;
        (told.meta == listed.meta).then_some(told)
    }

    /// Remembers what a manifest told.
    pub(super) fn put(&mut self, listed: &Listed, described: Option<&Description>) {
        let told = Told {
            meta: listed.meta.clone(),
            described: described.cloned(),
        };
        self.told.insert(listed.id, told);
        self.changed = true;
    }

    fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        put(&mut text, &self.heading);
        for (id, told) in &self.told {
            let told = told.clone();
            put(&mut text, &Line { id: *id, told });
        }
        text
    }

    /// Keeps it for the next run, without what is not in `there`.
    pub(super) fn write(mut self, there: Option<&[UploadId]>) -> Result<(), Failure> {
        if let Some(there) = there {
            let there: HashSet<_> = there.iter().collect();
            let before = self.told.len();
            self.told.retain(|id, _| there.contains(id));
            self.changed |= self.told.len() != before;
        }
        if !self.changed {
            return Ok(());
        }
        let folder = &self.folder;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| Failure::io("make the folder", folder, &error))?;
        let text = self.to_text();
        let staged = Staged::in_folder(folder)?;
        let sealed = seal_stream(Cursor::new(text), staged, &[self.recipient], false)?;
        sealed.output.publish(Path::new(&self.name), true)
    }
}

/// Puts a line behind the others.
fn put(text: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *text, value).expect("plain data with text keys");
    text.push(b'\n');
}

/// The user's own, as the XDG base directory specification has it: what is not absolute does not count.
fn folder() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("sealslot").join("lists"))
}

/// What is sealed in a file. `None` where it does not open.
fn open_file(path: &Path, identities: &[Identity]) -> Option<Vec<u8>> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file: File = options.read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > MAX_SIZE {
        return None;
    }
    let mut text = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
    let mut reader = AgeReader::open(file.take(MAX_SIZE), identities).ok()?;
    while let Some(chunk) = reader.next_chunk().ok()? {
        text.extend_from_slice(chunk);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn identity(key: &str) -> Vec<Identity> {
        vec![Identity::X25519(key.parse().unwrap())]
    }

    fn listed(id: u8, crc: &str) -> Listed {
        let document = json!({
            "id": format!("{id:032}"), "time": "2026-11-23T12:00:00Z", "sealed_size": 1, "files": [], "link": null,
            "expires": null, "meta": { "size": 500, "crc64nvme": crc },
        });
        serde_json::from_value(document).unwrap()
    }

    const KEY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
    const OTHER: &str =
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

    fn cache(folder: &Path, key: &str) -> Cache {
        let identities = identity(key);
        let mut cache = Cache {
            folder: folder.to_owned(),
            name: "x.age".to_owned(),
            recipient: identities[0].to_recipient().unwrap(),
            heading: Heading {
                v: VERSION,
                server: "https://host/".to_owned(),
                keys: Vec::new(),
            },
            told: HashMap::new(),
            changed: false,
        };
        cache.told = cache.read(&identities).unwrap_or_default();
        cache
    }

    fn described(name: &str) -> Description {
        Description {
            submission: format!("{:032}", 0).parse().unwrap(),
            kind: crate::upload::Kind::File,
            name: Some(name.to_owned()),
            media_type: None,
            size: 7,
            sha256: String::new(),
        }
    }

    #[test]
    fn what_was_told_is_found_while_the_manifest_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (listed(1, "aa"), listed(2, "bb"), listed(3, "cc"));
        let mut first = cache(dir.path(), KEY);
        first.put(&a, Some(&described("secret-name")));
        first.put(&b, None);
        first.put(&c, Some(&described("gone")));
        first.write(Some(&[a.id, b.id])).unwrap();
        let file = fs::read(dir.path().join("x.age")).unwrap();
        assert!(!file.windows(6).any(|window| window == b"secret"));
        let second = cache(dir.path(), KEY);
        let found = second.find(&a).unwrap().described.as_ref().unwrap();
        assert_eq!(found.name.as_deref(), Some("secret-name"));
        assert!(second.find(&b).unwrap().described.is_none());
        assert!(second.find(&listed(1, "ab")).is_none());
        assert!(second.find(&c).is_none());
    }

    #[test]
    fn what_is_damaged_or_of_somebody_else_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let a = listed(1, "aa");
        let path = dir.path().join("x.age");
        let write = || {
            let mut cache = cache(dir.path(), KEY);
            cache.put(&a, Some(&described("x")));
            cache.write(None).unwrap();
        };
        write();
        let whole = fs::read(&path).unwrap();
        assert!(cache(dir.path(), KEY).find(&a).is_some());
        assert!(cache(dir.path(), OTHER).find(&a).is_none());
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert!(cache(dir.path(), KEY).find(&a).is_none(), "{at}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(cache(dir.path(), KEY).find(&a).is_none());
        write();
        assert!(cache(dir.path(), KEY).find(&a).is_some());
    }
}
