//! Taking an upload in: fill, hash, seal, write, while the next bytes arrive.

use std::sync::Arc;
use std::time::SystemTime;

use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Uploads;
use super::manifest::{
    ClientName, FileEntry, Kind, Manifest, Record, SegmentEntry, VERSION, seal_meta,
};
use crate::seal::{self, Begun, ChunkBuffer, FileKey, PayloadSealer, Recipient, SealError};
use crate::store::{SealedFile, SegmentWriter, Store, StoreError, UploadId};

/// Chunks that one buffer holds: 512 KiB, large enough that handing it over and writing it costs little, small enough to
/// stay in a core's cache while it is hashed, sealed and written. An upload has two: one is filled meanwhile.
const BUFFER_CHUNKS: usize = 8;

/// Why an upload could not be taken in. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The store refused.
    #[error("the upload could not be stored")]
    Store(#[from] StoreError),
    /// Sealing failed.
    #[error("the upload could not be sealed")]
    Seal(#[from] SealError),
    /// The thread that sealed or wrote is gone: the server is stopping, or has a defect.
    #[error("the upload was abandoned inside the server")]
    Abandoned,
}

/// What is known of an upload before its bytes arrive.
pub struct NewUpload {
    /// The id that all uploads of one form share; `None` for an upload by itself.
    pub submission: Option<UploadId>,
    /// What it is.
    pub kind: Kind,
    /// The name that the client gave.
    pub name: Option<ClientName>,
    /// The media type that the client gave.
    pub media_type: Option<String>,
}

/// Takes in the bytes of one upload.
///
/// Sealing and writing run on threads that may block, beside the task that fills the next buffer. A receiver that is
/// dropped, or fails, leaves nothing behind.
pub struct Receiver {
    buffer: ChunkBuffer,
    digest: Sha256,
    work: Work,
}

/// Where the segment is: here, or on a blocking thread with the other buffer.
enum Work {
    Here(Box<Segment>, Option<ChunkBuffer>),
    Away(JoinHandle<Result<(Box<Segment>, ChunkBuffer), ReceiveError>>),
    /// An error ended it.
    Failed,
}

impl Receiver {
    /// Begins an upload. Nothing touches the store before there is something to write.
    pub fn new(uploads: &Uploads, new: NewUpload) -> Self {
        let id = UploadId::generate(SystemTime::now());
        let staged = Staged {
            store: Arc::clone(&uploads.store),
            pending: uploads.staged.token(),
            id,
            published: false,
        };
        Self {
            buffer: ChunkBuffer::new(BUFFER_CHUNKS),
            digest: Sha256::new(),
            work: Work::Here(
                Box::new(Segment::new(staged, new, Arc::clone(&uploads.recipients))),
                None,
            ),
        }
    }

    /// Takes in bytes. Waits only where both buffers are full.
    pub async fn write(&mut self, mut data: &[u8]) -> Result<(), ReceiveError> {
        while !data.is_empty() {
            // A full buffer goes off only now, when more follows: the last chunk is sealed otherwise.
            if self.buffer.is_full() {
                self.send_off().await?;
            }
            self.buffer.fill(&mut data);
        }
        Ok(())
    }

    /// Ends the upload, where its body truly ended: seals the last chunk and makes the segment durable.
    pub async fn finish(mut self) -> Result<Received, ReceiveError> {
        let (segment, _) = self.take_back().await?;
        let Self { buffer, digest, .. } = self;
        tokio::task::spawn_blocking(move || segment.complete(buffer, digest))
            .await
            .map_err(|_| ReceiveError::Abandoned)?
    }

    /// Hands the full buffer over to be sealed and written.
    ///
    /// It is hashed here and not there: hashing costs as much as sealing and writing together, and so the work of a
    /// long upload is shared out evenly between two cores. It takes a fraction of a millisecond.
    async fn send_off(&mut self) -> Result<(), ReceiveError> {
        hash(&self.buffer, &mut self.digest);
        let (mut segment, empty) = self.take_back().await?;
        let empty = empty.unwrap_or_else(|| ChunkBuffer::new(BUFFER_CHUNKS));
        let mut full = std::mem::replace(&mut self.buffer, empty);
        self.work = Work::Away(tokio::task::spawn_blocking(move || {
            segment.absorb(&mut full)?;
            Ok((segment, full))
        }));
        Ok(())
    }

    async fn take_back(&mut self) -> Result<(Box<Segment>, Option<ChunkBuffer>), ReceiveError> {
        match std::mem::replace(&mut self.work, Work::Failed) {
            Work::Here(segment, buffer) => Ok((segment, buffer)),
            Work::Away(job) => {
                let (segment, buffer) = job.await.map_err(|_| ReceiveError::Abandoned)??;
                Ok((segment, Some(buffer)))
            }
            Work::Failed => unreachable!("a receiver is not used again after an error"),
        }
    }
}

fn hash(buffer: &ChunkBuffer, digest: &mut Sha256) {
    for chunk in buffer.plaintext() {
        digest.update(chunk);
    }
}

/// What is staged for an upload. Dropped before it was published, it is discarded.
struct Staged {
    store: Arc<dyn Store>,
    /// Whoever stops the server waits until there are none.
    pending: TaskTrackerToken,
    id: UploadId,
    published: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let (store, id) = (Arc::clone(&self.store), self.id);
        let pending = self.pending.clone();
        let discard = move || {
            let _pending = pending;
            if let Err(error) = store.discard(&id) {
                tracing::warn!(%id, error = &error as &dyn std::error::Error,
                    "what was staged for a broken-off upload could not be removed; the next start will");
            }
        };
        // Dropped on a thread of the runtime, it must not block there.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(discard)),
            Err(_) => discard(),
        }
    }
}

/// The one segment of an upload that comes in one body, as it is sealed.
struct Segment {
    staged: Staged,
    new: NewUpload,
    recipients: Arc<[Recipient]>,
    crc: CrcDigest,
    size: u64,
    sealed_size: u64,
    open: Option<OpenSegment>,
}

struct OpenSegment {
    writer: Box<dyn SegmentWriter>,
    sealer: PayloadSealer,
    file_key: FileKey,
}

impl Segment {
    fn new(staged: Staged, new: NewUpload, recipients: Arc<[Recipient]>) -> Self {
        Self {
            staged,
            new,
            recipients,
            crc: CrcDigest::new(CrcAlgorithm::Crc64Nvme),
            size: 0,
            sealed_size: 0,
            open: None,
        }
    }

    /// Seals and writes a full buffer. Blocks.
    fn absorb(&mut self, buffer: &mut ChunkBuffer) -> Result<(), ReceiveError> {
        self.size += buffer.len() as u64;
        let (mut open, prefix) = self.reopen()?;
        let sealed = buffer.seal(&mut open.sealer)?;
        self.write(&mut *open.writer, prefix, sealed)?;
        self.open = Some(open);
        Ok(())
    }

    /// Hashes, seals and writes what is left, and makes the segment durable. An empty upload has no segment. Blocks.
    fn complete(
        mut self: Box<Self>,
        mut buffer: ChunkBuffer,
        mut digest: Sha256,
    ) -> Result<Received, ReceiveError> {
        hash(&buffer, &mut digest);
        self.size += buffer.len() as u64;
        let file_key = if self.open.is_none() && buffer.is_empty() {
            None
        } else {
            let (mut open, prefix) = self.reopen()?;
            let sealed = buffer.seal_last(open.sealer)?;
            self.write(&mut *open.writer, prefix, sealed)?;
            open.writer.finish()?;
            Some(open.file_key)
        };
        Ok(Received {
            segment: self,
            sha256: digest.finalize().into(),
            file_key,
        })
    }

    /// The segment being written; begun, with what its file starts with, where there is none yet.
    fn reopen(&mut self) -> Result<(OpenSegment, Vec<u8>), ReceiveError> {
        if let Some(open) = self.open.take() {
            return Ok((open, Vec::new()));
        }
        let Begun {
            prefix,
            sealer,
            file_key,
        } = seal::begin(&self.recipients, &[])?;
        let writer = self.staged.store.create_segment(&self.staged.id, 0)?;
        Ok((
            OpenSegment {
                writer,
                sealer,
                file_key,
            },
            prefix,
        ))
    }

    fn write(
        &mut self,
        writer: &mut dyn SegmentWriter,
        mut prefix: Vec<u8>,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        // The first write carries the header too: one call for a small upload.
        let bytes = if prefix.is_empty() {
            sealed
        } else {
            prefix.extend_from_slice(sealed);
            &prefix
        };
        self.crc.update(bytes);
        self.sealed_size += bytes.len() as u64;
        writer.write(bytes)
    }
}

/// An upload whose body arrived whole, sealed and durable, not yet visible. Dropped, it is discarded.
pub struct Received {
    segment: Box<Segment>,
    sha256: [u8; 32],
    file_key: Option<FileKey>,
}

impl Received {
    /// Bytes of plaintext.
    pub fn size(&self) -> u64 {
        self.segment.size
    }

    /// Makes and seals the manifest.
    pub(super) fn seal_meta(
        &self,
        recipients: &[Recipient],
        now: SystemTime,
    ) -> Result<(Manifest, Vec<u8>), SealError> {
        let Segment { staged, new, .. } = &*self.segment;
        let mut manifest = Manifest {
            v: VERSION,
            id: staged.id,
            submission: new.submission.unwrap_or(staged.id),
            kind: new.kind,
            name: None,
            name_bytes: None,
            media_type: new.media_type.clone(),
            size: self.segment.size,
            sha256: HEXLOWER.encode(&self.sha256),
            time: now,
            segments: Vec::new(),
        };
        manifest.set_name(new.name.as_ref());
        let mut record = Record {
            v: VERSION,
            id: staged.id,
            time: now,
            link: None,
            expires: None,
            files: Vec::new(),
        };
        if let Some(key) = &self.file_key {
            manifest.segments.push(SegmentEntry {
                size: self.segment.size,
                key: FileKey::try_from(&key.expose()[..]).expect("a file key has the size of one"),
            });
            record.files.push(FileEntry {
                name: SealedFile::Segment(0).to_string(),
                size: self.segment.sealed_size,
                crc64nvme: format!("{:016x}", self.segment.crc.finalize()),
            });
        }
        let meta = seal_meta(recipients, &manifest, &record)?;
        Ok((manifest, meta))
    }

    pub(super) fn published(mut self) {
        self.segment.staged.published = true;
    }
}
