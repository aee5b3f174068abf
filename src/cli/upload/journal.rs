//! What has arrived of a command line that names several files, as long as not all have: so that the same command, run again,
//! sends what is missing and nothing twice.
//!
//! A file beside the states of single uploads, with a JSON object on a line: the upload that the others join, and then each file
//! that has arrived, under the name of its state, with its receipt. Lines are only ever put behind each other. One that makes no
//! sense, as a crash leaves it, is passed over: what it was about is sent again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::state::{JOURNAL, StateError, StateFolder, is_the_same, lock};
use crate::cli::client::endpoint::UploadUrl;

/// After so long it is not the same sending any more: no server keeps upload URLs for longer by itself.
const LIFETIME: Duration = Duration::from_hours(7 * 24);
/// Longer than any line with a receipt.
const MAX_LINE: u64 = 1 << 20;

/// A file that has arrived.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Arrived {
    /// As the server gave it, on one line.
    pub(super) receipt: String,
    /// Size and SHA-256 of what was sealed before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plaintext: Option<(u64, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// The path of the upload URL of the first one.
    First(String),
    /// The name of a state, and what has arrived.
    Arrived(String, Arrived),
}

/// The memory of one command line. Locked until it is dropped.
pub(super) struct Journal {
    folder: StateFolder,
    path: PathBuf,
    file: File,
    /// Where the next line begins.
    end: u64,
    anchor: Option<UploadUrl>,
    /// Where the line of each file begins, by the first 16 bytes of its state's name.
    arrived: HashMap<u128, u64>,
}

impl Journal {
    /// That of the command line with this name, which nobody else may work on meanwhile.
    pub(super) fn claim(folder: &StateFolder, name: &str) -> Result<Self, StateError> {
        let path = folder.path().join(format!("{name}{JOURNAL}"));
        let claimed = Self::try_claim(folder, path);
        claimed.map_err(|error| folder.failed(error))
    }

    fn try_claim(folder: &StateFolder, path: PathBuf) -> io::Result<Self> {
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.mode(0o600).open(&path)?;
            lock(&file)?;
            if !is_the_same(&file, &path)? {
                continue;
            }
            let modified = file.metadata()?.modified()?;
            let age = SystemTime::now().duration_since(modified);
            if age.is_ok_and(|age| age > LIFETIME) {
                file.set_len(0)?;
            }
            let mut journal = Self {
                folder: folder.clone(),
                path,
                file,
                end: 0,
                anchor: None,
                arrived: HashMap::new(),
            };
            journal.read()?;
            return Ok(journal);
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut reader = BufReader::new(self.file.try_clone()?);
        reader.seek(SeekFrom::Start(0))?;
        let mut line = Vec::new();
        loop {
            let mut next = Vec::new();
            if reader.read_until(b'\n', &mut next)? == 0 {
                break;
            }
            line = next;
            match serde_json::from_slice(&line) {
                Ok(Line::First(upload)) => self.anchor = upload.parse().ok(),
                Ok(Line::Arrived(name, _)) => {
                    if let Some(key) = key(&name) {
                        self.arrived.insert(key, self.end);
                    }
                }
                Err(_) => {}
            }
            self.end += line.len() as u64;
        }
        if !line.is_empty() && line.last() != Some(&b'\n') {
            self.append(b"\n")?;
        }
        Ok(())
    }

    /// The upload that the others join.
    pub(super) fn anchor(&self) -> Option<&UploadUrl> {
        self.anchor.as_ref()
    }

    /// What has arrived of the file with this state.
    pub(super) fn find(&self, name: &str) -> Option<Arrived> {
        let start = *self.arrived.get(&key(name)?)?;
        let line = line_at(&self.file, start).ok()?;
        match serde_json::from_slice(&line).ok()? {
            Line::Arrived(other, arrived) if other == name => Some(arrived),
            _ => None,
        }
    }

    /// Others join this upload. Durable: what is created after it belongs there.
    pub(super) fn begin(&mut self, upload: &UploadUrl) -> Result<(), StateError> {
        self.anchor = Some(upload.clone());
        self.put(&Line::First(upload.path().to_owned()))?;
        let synced = self.file.sync_all();
        synced.map_err(|error| self.folder.failed(error))
    }

    /// The file with this state has arrived.
    pub(super) fn add(&mut self, name: &str, arrived: &Arrived) -> Result<(), StateError> {
        self.put(&Line::Arrived(name.to_owned(), arrived.clone()))
    }

    fn put(&mut self, line: &Line) -> Result<(), StateError> {
        let mut text = serde_json::to_vec(line).expect("it is plain data with text keys");
        text.push(b'\n');
        let put = self.append(&text);
        put.map_err(|error| self.folder.failed(error))
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all_at(text, self.end)?;
        self.end += text.len() as u64;
        Ok(())
    }

    /// All of it has arrived.
    pub(super) fn remove(&mut self) {
        if is_the_same(&self.file, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.end == 0 {
            self.remove();
        }
        let _ = self.file.unlock();
    }
}

/// The line that begins at `start`, as far as it is one.
fn line_at(file: &File, start: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    while (line.len() as u64) < MAX_LINE {
        let size = file.read_at(&mut piece, start + line.len() as u64)?;
        let piece = &piece[..size];
        let end = piece.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&piece[..end.unwrap_or(size)]);
        if end.is_some() || size == 0 {
            break;
        }
    }
    Ok(line)
}

/// Two files of one command line have the same by no accident.
fn key(name: &str) -> Option<u128> {
    u128::from_str_radix(name.get(..32)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs::FileTimes;

    fn name(number: u8) -> String {
        format!("{number:02x}").repeat(32)
    }

    fn arrived(id: &str) -> Arrived {
        Arrived {
            receipt: format!(r#"{{"id":"{id}","name":"a\nb"}}"#),
            plaintext: Some((5, "00".to_owned())),
        }
    }

    fn id(journal: &Journal, number: u8) -> Option<Value> {
        let arrived = journal.find(&name(number))?;
        let receipt: Value = serde_json::from_str(&arrived.receipt).unwrap();
        Some(receipt["id"].clone())
    }

    #[test]
    fn what_has_arrived_is_found_again_also_after_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(dir.path().join("uploads")).unwrap();
        let mut journal = Journal::claim(&folder, &name(0)).unwrap();
        assert!(matches!(
            Journal::claim(&folder, &name(0)),
            Err(StateError::Busy)
        ));
        journal.begin(&"/uploads/a.b".parse().unwrap()).unwrap();
        for number in 1..4 {
            journal
                .add(&name(number), &arrived(&number.to_string()))
                .unwrap();
        }
        let path = journal.path.clone();
        // As a process has it that is just being started.
        let _inherited = journal.file.try_clone().unwrap();
        drop(journal);
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 3]).unwrap();
        let mut journal = Journal::claim(&folder, &name(0)).unwrap();
        assert_eq!(journal.anchor().unwrap().path(), "/uploads/a.b");
        assert_eq!(id(&journal, 2), Some(json!("2")));
        assert_eq!(id(&journal, 3), None);
        journal.add(&name(3), &arrived("again")).unwrap();
        drop(journal);
        let mut journal = Journal::claim(&folder, &name(0)).unwrap();
        assert_eq!(id(&journal, 3), Some(json!("again")));
        assert_eq!(id(&journal, 4), None);
        assert_eq!(journal.find(&name(1)).unwrap().plaintext.unwrap().0, 5);
        journal.remove();
        drop(journal);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_too_old_or_empty_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(dir.path().join("uploads")).unwrap();
        let mut journal = Journal::claim(&folder, &name(0)).unwrap();
        journal.add(&name(1), &arrived("1")).unwrap();
        let old = SystemTime::now() - LIFETIME - Duration::from_secs(5);
        let times = FileTimes::new().set_modified(old);
        journal.file.set_times(times).unwrap();
        let path = journal.path.clone();
        drop(journal);
        let journal = Journal::claim(&folder, &name(0)).unwrap();
        assert_eq!(id(&journal, 1), None);
        drop(journal);
        assert!(!path.exists());
    }
}
