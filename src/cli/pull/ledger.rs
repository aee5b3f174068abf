//! What `pull` has of a server, by id and for good: a file of JSON lines that only grows while it is open, each line synced
//! before what it says is relied on.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::receipt::Receipt;
use crate::cli::client::listing::ListedMeta;
use crate::cli::restored_path::RestoredPath;
use crate::store::UploadId;

/// So many lines that say nothing any more are worth no rewriting.
const SPARE_LINES: usize = 1000;

/// Why nothing can be remembered.
#[derive(Debug, thiserror::Error)]
pub(super) enum LedgerError {
    /// The system refused something.
    #[error("cannot keep what was fetched in {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else wrote to it, or the disk lost some of it.
    #[error(
        "{} is damaged in line {line}: move it away, and everything that is still on the server is fetched anew",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// A file that is complete and about to get its name.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Publishing {
    /// What is known of it, with the path that is tried.
    pub(super) receipt: Receipt,
    /// Where it was to go, before numbers. `None`: an upload that stays sealed has its place.
    pub(super) wanted: Option<RestoredPath>,
}

/// An upload that does not open.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unopened {
    /// `meta.age` as it was.
    pub(super) meta: Option<ListedMeta>,
    /// The keys that were tried, by a digest of their fingerprints.
    pub(super) keys: String,
}

/// What has become of an upload.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(super) enum Standing {
    /// It is about to get its name.
    Publishing(Box<Publishing>),
    /// It is here.
    Fetched,
    /// It is here, and no longer on the server.
    Removed,
    /// It does not open.
    Unopened(Unopened),
    /// It is to be fetched, whatever was before.
    Wanted,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: UploadId,
    #[serde(flatten)]
    standing: Standing,
}

/// All that is known of one server's uploads.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    /// How far the file is good.
    end: u64,
    standings: HashMap<UploadId, Standing>,
}

impl Ledger {
    /// Reads it, or begins it. Nobody else may have it open.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        let io = |source| LedgerError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = open_file(path).map_err(io)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io)?;
        // What follows the last end of a line was cut off while it was written, and nothing relied on it.
        let end = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        file.set_len(end as u64).map_err(io)?;
        let mut standings = HashMap::new();
        let mut lines = 0;
        for line in text[..end].split_inclusive(|byte| *byte == b'\n') {
            lines += 1;
            let Line { id, standing } =
                serde_json::from_slice(line).map_err(|_| LedgerError::Damaged {
                    path: path.to_owned(),
                    line: lines,
                })?;
            match standing {
                Standing::Wanted => drop(standings.remove(&id)),
                standing => drop(standings.insert(id, standing)),
            }
        }
        let mut ledger = Self {
            path: path.to_owned(),
            file,
            end: end as u64,
            standings,
        };
        if lines > 2 * ledger.standings.len() + SPARE_LINES {
            ledger.rewrite().map_err(io)?;
        }
        Ok(ledger)
    }

    /// What has become of an upload; `None`: nothing that counts.
    pub(super) fn standing(&self, id: &UploadId) -> Option<&Standing> {
        self.standings.get(id)
    }

    /// Uploads that were about to get their names when it was last closed.
    pub(super) fn publishing(&self) -> Vec<UploadId> {
        let all = self.standings.iter();
        let publishing = all.filter(|(_, standing)| matches!(standing, Standing::Publishing(_)));
        publishing.map(|(id, _)| *id).collect()
    }

    /// Remembers, durably.
    pub(super) fn put(&mut self, id: UploadId, standing: Standing) -> Result<(), LedgerError> {
        let line = Line { id, standing };
        let written = self.append(&line);
        written.map_err(|source| LedgerError::Io {
            path: self.path.clone(),
            source,
        })?;
        match line.standing {
            Standing::Wanted => drop(self.standings.remove(&id)),
            standing => drop(self.standings.insert(id, standing)),
        }
        Ok(())
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let text = to_text(line)?;
        // Where an earlier line was cut off, as on a full disk, this one takes its place.
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.end += text.len() as u64;
        Ok(())
    }

    /// Leaves out what later lines have changed.
    fn rewrite(&mut self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // Of a name that is always the same, so that a crash leaves no more than one.
        let unnamed = folder.join("ledger.new");
        let file = open_file(&unnamed)?;
        file.set_len(0)?;
        let mut end = 0;
        let mut writer = io::BufWriter::new(&file);
        for (id, standing) in &self.standings {
            let standing = standing.clone();
            let text = to_text(&Line { id: *id, standing })?;
            writer.write_all(&text)?;
            end += text.len() as u64;
        }
        writer.flush()?;
        drop(writer);
        file.sync_all()?;
        fs::rename(&unnamed, &self.path)?;
        self.file = file;
        self.end = end;
        File::open(folder)?.sync_all()
    }
}

fn to_text(line: &Line) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600);
    options.custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0));
    let file = options.open(path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn id(second: u64) -> UploadId {
        UploadId::generate(UNIX_EPOCH + Duration::from_secs(second))
    }

    fn is_fetched(ledger: &Ledger, id: &UploadId) -> bool {
        matches!(ledger.standing(id), Some(Standing::Fetched))
    }

    #[test]
    fn what_is_put_is_there_after_it_was_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let (a, b, c) = (id(1), id(2), id(3));
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.put(a, Standing::Fetched).unwrap();
        let unopened = Unopened {
            meta: None,
            keys: "k".to_owned(),
        };
        ledger.put(b, Standing::Unopened(unopened.clone())).unwrap();
        ledger.put(c, Standing::Fetched).unwrap();
        ledger.put(c, Standing::Wanted).unwrap();
        drop(ledger);
        let ledger = Ledger::open(&path).unwrap();
        assert!(is_fetched(&ledger, &a) && ledger.standing(&c).is_none());
        assert!(matches!(ledger.standing(&b), Some(Standing::Unopened(same)) if *same == unopened));
    }

    #[test]
    fn a_line_that_was_cut_off_is_none_and_a_damaged_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let (a, b) = (id(1), id(2));
        Ledger::open(&path)
            .unwrap()
            .put(a, Standing::Fetched)
            .unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, [&whole[..], &whole[..cut]].concat()).unwrap();
            let mut ledger = Ledger::open(&path).unwrap();
            assert!(is_fetched(&ledger, &a));
            ledger.put(b, Standing::Fetched).unwrap();
            let ledger = Ledger::open(&path).unwrap();
            assert!(is_fetched(&ledger, &a) && is_fetched(&ledger, &b), "{cut}");
        }
        fs::write(&path, [&whole[..], b"{}\n", &whole[..]].concat()).unwrap();
        let damaged = Ledger::open(&path);
        assert!(matches!(damaged, Err(LedgerError::Damaged { line: 2, .. })));
    }

    #[test]
    fn what_says_nothing_any_more_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let (a, b) = (id(1), id(2));
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.put(a, Standing::Fetched).unwrap();
        drop(ledger);
        let line = fs::read(&path).unwrap();
        fs::write(&path, line.repeat(SPARE_LINES + 3)).unwrap();
        let mut ledger = Ledger::open(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), line);
        ledger.put(b, Standing::Removed).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        assert!(is_fetched(&ledger, &a));
        assert!(matches!(ledger.standing(&b), Some(Standing::Removed)));
    }
}
