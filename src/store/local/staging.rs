//! Staged segments: their names made durable, removed, mended, shared.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use super::{LocalFolder, LocalStore, LocalWriter, durable, open_if_there};
use crate::store::{
    SealedFile, SealedUpload, SegmentName, SegmentWriter, Staging, StoreError, UploadId,
};

/// What stands before the tail in a file that mends: the number of the segment, where the tail belongs, and a checksum over
/// all of it but itself, so that half a file is not taken for one.
const MEND_HEAD: usize = 4 + 8 + 8;

/// A tail is at most a sealed chunk, with room to spare.
const MAX_MEND: u64 = 1 << 20;

impl Staging for LocalStore {
    fn secure_segment(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        self.suspects.note(id, self.sync_names(id, segment))
    }

    fn open_staged(
        &self,
        id: &UploadId,
        _segments: &[SegmentName],
    ) -> Result<Box<dyn SealedUpload>, StoreError> {
        self.complete_mending(id)?;
        let folder = open_if_there(&self.staging, &id.to_string())?.ok_or(StoreError::NotFound)?;
        Ok(Box::new(LocalFolder::new(folder)))
    }

    fn is_staged(&self, id: &UploadId) -> Result<bool, StoreError> {
        Ok(open_if_there(&self.staging, &id.to_string())?.is_some())
    }

    fn forget_cached(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        let name = staged(id, segment);
        let file = match self.staging.open_to_write(&name, false) {
            Err(Errno::NOENT) => return Ok(()),
            file => file.map_err(|errno| self.staging.error("open", &name, errno))?,
        };
        // Only what is clean is let go.
        let forgotten = durable::sync_data(&file)
            .and_then(|()| Ok(fadvise(&file, 0, None, Advice::DontNeed)?))
            .map_err(|source| StoreError::io("sync", self.staging.path().join(name), source));
        self.suspects.note(id, forgotten)
    }

    fn mend_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
        at: u64,
        tail: &[u8],
    ) -> Result<(), StoreError> {
        let begun = self.begin_mending(id, segment, at, tail);
        let mended = begun.and_then(|()| self.complete_mending(id));
        self.suspects.note(id, mended)
    }

    fn remove_segment(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        let name = staged(id, segment);
        match self.staging.remove(&name) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed.map_err(|errno| self.staging.error("remove", &name, errno)),
        }
    }

    fn link_segment(
        &self,
        from: (&UploadId, &SegmentName),
        to: (&UploadId, &SegmentName),
    ) -> Result<(), StoreError> {
        let folder = to.0.to_string();
        self.staging
            .make_folder(&folder)
            .map_err(|errno| self.staging.error("create", &folder, errno))?;
        let (from, to) = (staged(from.0, from.1), staged(to.0, to.1));
        match self.staging.link(&from, &self.staging, &to) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(StoreError::Exists),
            Err(Errno::NOENT) => Err(StoreError::NotFound),
            // Not every file system gives a file two names.
            Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK) => {
                self.copy_staged(&from, &to)
            }
            Err(errno) => Err(self.staging.error("link", &to, errno)),
        }
    }
}

impl LocalStore {
    fn sync_names(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        let name = id.to_string();
        let folder = self.staging.open_folder(&name);
        folder
            .map_err(|errno| self.staging.error("open", &name, errno))?
            .sync()?;
        if segment.number() == 0 {
            // Guards the folder's own name, which came with its first segment.
            self.staging.sync()?;
        }
        Ok(())
    }

    /// Writes down what a segment is to end with, before anything of the segment is touched.
    pub(super) fn begin_mending(
        &self,
        id: &UploadId,
        segment: &SegmentName,
        at: u64,
        tail: &[u8],
    ) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(MEND_HEAD + tail.len());
        bytes.extend_from_slice(&segment.number().to_le_bytes());
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&checksum(&bytes, tail).to_le_bytes());
        bytes.extend_from_slice(tail);
        let name = mend_name(id);
        self.sessions
            .remove(&name)
            .map_err(|errno| self.sessions.error("remove", &name, errno))?;
        let mut writer = LocalWriter::create(&self.sessions, &name)?;
        writer.write(&bytes)?;
        Box::new(writer).finish()?;
        // Guards the name: from here on the segment itself may be torn.
        self.sessions.sync()
    }

    /// Puts a new end that was written down into its place. None written down is fine, and usual.
    pub(super) fn complete_mending(&self, id: &UploadId) -> Result<(), StoreError> {
        let name = mend_name(id);
        let failed = |source: io::Error| StoreError::io("mend", self.sessions.path(), source);
        let file = match self.sessions.open_file(&name) {
            Err(Errno::NOENT) => return Ok(()),
            file => file.map_err(|errno| self.sessions.error("open", &name, errno))?,
        };
        // Half a file says that the segment was not touched yet.
        if let Some((segment, at, tail)) = read_mend(&file).map_err(failed)? {
            let segment = format!("{id}/{}", SealedFile::Segment(segment));
            match self.staging.open_to_write(&segment, false) {
                Ok(file) => self
                    .put_tail(&file, at, &tail)
                    .map_err(|source| StoreError::io("mend", self.staging.path(), source))?,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.staging.error("open", &segment, errno)),
            }
        }
        self.sessions
            .remove(&name)
            .map_err(|errno| self.sessions.error("remove", &name, errno))?;
        // So that it does not come back after the segment has gone on.
        self.sessions.sync()
    }

    /// Overwrites before it cuts, so that the blocks that are there are used again.
    fn put_tail(&self, segment: &File, at: u64, tail: &[u8]) -> io::Result<()> {
        let before = segment.metadata()?.len();
        let after = at + tail.len() as u64;
        segment.write_all_at(tail, at)?;
        segment.set_len(after)?;
        self.room.resized(before, after);
        durable::sync_data(segment)
    }

    fn copy_staged(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let mut source = self
            .staging
            .open_file(from)
            .map_err(|errno| self.staging.error("open", from, errno))?;
        let mut copy = match self.staging.create_file(to) {
            Err(Errno::EXIST) => return Err(StoreError::Exists),
            created => created.map_err(|errno| self.staging.error("create", to, errno))?,
        };
        io::copy(&mut source, &mut copy)
            .and_then(|size| {
                self.room.resized(0, size);
                durable::sync_data(&copy)
            })
            .map_err(|source| StoreError::io("copy to", self.staging.path().join(to), source))
    }
}

fn staged(id: &UploadId, segment: &SegmentName) -> String {
    format!("{id}/{}", segment.file())
}

pub(super) fn mend_name(id: &UploadId) -> String {
    format!("{id}.mend")
}

fn checksum(head: &[u8], tail: &[u8]) -> u64 {
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    crc.update(head);
    crc.update(tail);
    crc.finalize()
}

/// `None`: it was not written to its end.
fn read_mend(file: &File) -> io::Result<Option<(u32, u64, Vec<u8>)>> {
    let size = file.metadata()?.len().min(MAX_MEND);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    let Some((head, tail)) = bytes.split_first_chunk::<MEND_HEAD>() else {
        return Ok(None);
    };
    let (place, sum) = head.split_at(MEND_HEAD - 8);
    if checksum(place, tail).to_le_bytes() != sum {
        return Ok(None);
    }
    let mut segment = [0; 4];
    segment.copy_from_slice(&place[..4]);
    let mut at = [0; 8];
    at.copy_from_slice(&place[4..]);
    Ok(Some((
        u32::from_le_bytes(segment),
        u64::from_le_bytes(at),
        tail.to_vec(),
    )))
}
