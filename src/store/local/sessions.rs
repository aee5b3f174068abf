//! Session records as files: a head, and the entries in a file of their own, each in its place.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::staging::mend_name;
use super::{LocalStore, LocalWriter, durable};
use crate::store::{ENTRY_SIZE, EntryBytes, SegmentWriter, SessionStore, StoreError, UploadId};

/// The longest head that is read, in bytes.
const MAX_HEAD: u64 = 4 << 20;

impl SessionStore for LocalStore {
    fn create_session(&self, id: &UploadId, head: &[u8]) -> Result<(), StoreError> {
        let mut writer = LocalWriter::create(&self.sessions, &head_name(id))?;
        writer.write(head)?;
        Box::new(writer).finish()?;
        self.sessions.sync()
    }

    fn session_head(&self, id: &UploadId) -> Result<Vec<u8>, StoreError> {
        let name = head_name(id);
        if self.suspects.contains(id) {
            let source = io::Error::other(
                "it could not be synced before; the next start looks what the disk has",
            );
            return Err(self.failed("trust", &name, source));
        }
        let file = match self.sessions.open_file(&name) {
            Err(Errno::NOENT) => return Err(StoreError::NotFound),
            file => file.map_err(|errno| self.sessions.error("open", &name, errno))?,
        };
        let mut head = Vec::new();
        file.take(MAX_HEAD)
            .read_to_end(&mut head)
            .map_err(|source| self.failed("read", &name, source))?;
        Ok(head)
    }

    fn put_entry(&self, id: &UploadId, number: u32, entry: &EntryBytes) -> Result<(), StoreError> {
        let name = entries_name(id);
        let file = self
            .sessions
            .open_to_write(&name, number == 0)
            .map_err(|errno| self.sessions.error("open", &name, errno))?;
        let put = file
            .write_all_at(entry, place(number))
            .and_then(|()| durable::sync_data(&file))
            .map_err(|source| self.failed("write", &name, source))
            .and_then(|()| {
                if number == 0 {
                    self.sessions.sync()
                } else {
                    Ok(())
                }
            });
        if put.is_err() {
            // Whether it is durable is not known, so it must not be read again as if it were.
            let _ = file.set_len(place(number));
        }
        self.suspects.note(id, put)
    }

    fn last_entries(&self, id: &UploadId, most: u32) -> Result<(u32, Vec<EntryBytes>), StoreError> {
        let Some((file, count)) = self.open_entries(id)? else {
            return Ok((0, Vec::new()));
        };
        let first = count.saturating_sub(most);
        Ok((first, self.read_entries(id, &file, first..count)?))
    }

    fn entries(&self, id: &UploadId, first: u32, most: u32) -> Result<Vec<EntryBytes>, StoreError> {
        let Some((file, count)) = self.open_entries(id)? else {
            return Ok(Vec::new());
        };
        let end = first.saturating_add(most).min(count);
        self.read_entries(id, &file, first..end)
    }

    fn replace_entries(&self, id: &UploadId, entry: &EntryBytes) -> Result<(), StoreError> {
        let (name, new) = (entries_name(id), format!("{id}.replacing"));
        self.sessions
            .remove(&new)
            .map_err(|errno| self.sessions.error("remove", &new, errno))?;
        let mut writer = LocalWriter::create(&self.sessions, &new)?;
        writer.write(entry)?;
        Box::new(writer).finish()?;
        self.sessions
            .rename(&new, &name)
            .map_err(|errno| self.sessions.error("replace", &name, errno))?;
        self.sessions.sync()
    }

    fn sessions(&self) -> Result<Vec<UploadId>, StoreError> {
        let unreadable = |errno| StoreError::io("read", self.sessions.path(), errno);
        let mut ids = Vec::new();
        for entry in self.sessions.entries().map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.name;
            ids.extend(name.to_str().and_then(session_of));
        }
        Ok(ids)
    }

    fn remove_session(&self, id: &UploadId) -> Result<(), StoreError> {
        let new = format!("{id}.replacing");
        self.suspects.forget(id);
        for name in [head_name(id), entries_name(id), mend_name(id), new] {
            self.sessions
                .remove(&name)
                .map_err(|errno| self.sessions.error("remove", &name, errno))?;
        }
        self.sessions.sync()
    }
}

impl LocalStore {
    fn failed(&self, doing: &'static str, name: &str, source: io::Error) -> StoreError {
        StoreError::io(doing, self.sessions.path().join(name), source)
    }

    /// The file of an upload's entries, with how many there are; `None` before the first.
    fn open_entries(&self, id: &UploadId) -> Result<Option<(File, u32)>, StoreError> {
        let name = entries_name(id);
        let file = match self.sessions.open_file(&name) {
            Err(Errno::NOENT) => return Ok(None),
            file => file.map_err(|errno| self.sessions.error("open", &name, errno))?,
        };
        let metadata = file.metadata();
        let size = metadata
            .map_err(|source| self.failed("read", &name, source))?
            .len();
        let count = u32::try_from(size / ENTRY_SIZE as u64).unwrap_or(u32::MAX);
        Ok(Some((file, count)))
    }

    fn read_entries(
        &self,
        id: &UploadId,
        file: &File,
        numbers: Range<u32>,
    ) -> Result<Vec<EntryBytes>, StoreError> {
        let mut entries = vec![[0; ENTRY_SIZE]; numbers.len()];
        if !entries.is_empty() {
            file.read_exact_at(entries.as_flattened_mut(), place(numbers.start))
                .map_err(|source| self.failed("read", &entries_name(id), source))?;
        }
        Ok(entries)
    }

    /// Removes what belongs to no record any more, and gives the ids of those that are there.
    pub(super) fn sweep_sessions(&self) -> Result<BTreeSet<UploadId>, StoreError> {
        let kept: BTreeSet<UploadId> = self.sessions()?.into_iter().collect();
        let unreadable = |errno| StoreError::io("read", self.sessions.path(), errno);
        let entries = self.sessions.entries().map_err(unreadable)?;
        let names = entries.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        for name in names.iter().filter_map(|entry| entry.name.to_str()) {
            let id = name.split_once('.').and_then(|(id, _)| id.parse().ok());
            let interrupted = name.ends_with(".replacing");
            if interrupted || !id.is_some_and(|id: UploadId| kept.contains(&id)) {
                self.sessions
                    .remove(name)
                    .map_err(|errno| self.sessions.error("remove", name, errno))?;
            }
        }
        Ok(kept)
    }
}

const HEAD: &str = ".head";

fn head_name(id: &UploadId) -> String {
    format!("{id}{HEAD}")
}

/// Whose head a file is.
pub(super) fn session_of(name: &str) -> Option<UploadId> {
    name.strip_suffix(HEAD)?.parse().ok()
}

fn entries_name(id: &UploadId) -> String {
    format!("{id}.entries")
}

fn place(number: u32) -> u64 {
    u64::from(number) * ENTRY_SIZE as u64
}
