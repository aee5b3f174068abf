//! One segment on its way in: filled and hashed, sealed and written, while the next bytes arrive.

use std::time::{Duration, Instant};

use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::digest::Digests;
use super::manifest::file_key_base64;
use super::receive::ReceiveError;
use crate::seal::{self, Begun, ChunkBuffer, FileKey, PayloadSealer, Recipient, SEALED_CHUNK_SIZE};
use crate::store::{SegmentName, SegmentWriter, StoreError};

/// Chunks that one buffer holds: 512 KiB, large enough that handing it over and writing it costs little, small enough to
/// stay in a core's cache while it is hashed, sealed and written. A segment has two: one is filled meanwhile.
const BUFFER_CHUNKS: usize = 8;

/// A buffer that does not fill within this goes off with the whole chunks that it holds, and is let go: a slow upload keeps the
/// chunk that it is at, and nothing else.
const SLOW: Duration = Duration::from_secs(1);

/// Whose segment it is. It travels with the segment, onto the threads that seal and write: whatever must not happen before
/// they are done hangs on its being dropped.
pub(super) trait Owner: Send + 'static {
    /// Names the segment that is to begin.
    fn name(&mut self) -> Result<SegmentName, StoreError>;

    /// Creates its file.
    fn create(&mut self, name: &SegmentName) -> Result<Box<dyn SegmentWriter>, StoreError>;

    /// The keys to seal to.
    fn recipients(&self) -> &[Recipient];

    /// Comes before anything of a segment is written that will not be ended at once. Blocks.
    fn begin(&mut self, _key: &FileKey, _name: &SegmentName) -> Result<(), ReceiveError> {
        Ok(())
    }

    /// Comes after each piece that was written, with where the segment stands. Blocks.
    fn wrote(
        &mut self,
        _writer: &mut dyn SegmentWriter,
        _progress: Progress<'_>,
    ) -> Result<(), ReceiveError> {
        Ok(())
    }

    /// Takes a segment that has reached its limit, and is durable but for its name. The next one follows it. Blocks.
    fn ended(&mut self, segment: SealedSegment, digests: &Digests) -> Result<(), ReceiveError>;
}

/// Where a segment stands, between two pieces: whole chunks only.
pub(super) struct Progress<'a> {
    pub(super) key: &'a FileKey,
    pub(super) name: SegmentName,
    /// Bytes of plaintext.
    pub(super) size: u64,
    /// Sealed bytes, with the header.
    pub(super) sealed_size: u64,
    /// The state of the sealed bytes' checksum in front of the last chunk, which recovery seals anew.
    pub(super) crc_before_last: u64,
    /// Of the upload, after these bytes.
    pub(super) digests: &'a Digests,
}

/// A segment that ended with its last chunk, and is durable but for its name.
#[derive(Serialize, Deserialize)]
pub(super) struct SealedSegment {
    #[serde(with = "file_key_base64")]
    pub(super) key: FileKey,
    /// `None` where it is named by its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<SegmentName>,
    /// Bytes of plaintext; more than 0.
    pub(super) size: u64,
    /// Bytes of the sealed file.
    pub(super) sealed_size: u64,
    /// CRC-64/NVME over the sealed file.
    pub(super) crc: u64,
}

impl SealedSegment {
    /// Its name in the store, where it is the upload's segment of this number.
    pub(super) fn name(&self, number: u32) -> Result<SegmentName, StoreError> {
        self.name.map_or_else(|| SegmentName::plain(number), Ok)
    }
}

/// The names of an upload's segments, in order.
pub(super) fn names<'a>(
    segments: impl IntoIterator<Item = &'a SealedSegment>,
) -> Result<Vec<SegmentName>, StoreError> {
    let segments = (0..).zip(segments);
    segments
        .map(|(number, segment)| segment.name(number))
        .collect()
}

/// A body that came to its end.
pub(super) struct Closed<O> {
    pub(super) owner: O,
    /// The last of its segments. `None` where nothing came: then there is none.
    pub(super) segment: Option<SealedSegment>,
    pub(super) digests: Digests,
}

/// Takes in the bytes of one body, in one segment, or in several where segments have a limit. Dropped before
/// [`close`](Self::close), it leaves the last one without an end.
pub(super) struct SegmentReceiver<O> {
    buffer: ChunkBuffer,
    /// Since when the buffer is being filled.
    since: Instant,
    digests: Digests,
    work: Work<O>,
}

/// Where the segment is: here, or on a blocking thread with the other buffer.
enum Work<O> {
    Here(Box<Segment<O>>, Option<ChunkBuffer>),
    Away(JoinHandle<Result<Written<O>, ReceiveError>>),
    /// An error ended it.
    Failed,
}

/// A segment, and the buffer that was written and is empty now.
type Written<O> = (Box<Segment<O>>, ChunkBuffer);

impl<O: Owner> SegmentReceiver<O> {
    /// Goes on with the upload's `digests`. Nothing touches the store before there is something to write. `limit`: bytes after
    /// which a segment ends and the next one begins.
    pub(super) fn new(owner: O, digests: Digests, limit: Option<u64>) -> Self {
        let segment = Segment {
            owner,
            limit: limit.unwrap_or(u64::MAX),
            crc: CrcDigest::new(CrcAlgorithm::Crc64Nvme),
            crc_before_last: 0,
            size: 0,
            sealed_size: 0,
            open: None,
        };
        Self {
            buffer: ChunkBuffer::new(BUFFER_CHUNKS),
            since: Instant::now(),
            digests,
            work: Work::Here(Box::new(segment), None),
        }
    }

    /// Takes in bytes. Waits only where the other buffer is still being written when this one has to go. After an error there is nothing more to do with it.
    pub(super) async fn write(&mut self, mut data: &[u8]) -> Result<(), ReceiveError> {
        if data.is_empty() {
            return Ok(());
        }
        if self.buffer.has_whole_chunk() && self.since.elapsed() >= SLOW {
            self.send_off(true).await?;
        }
        while !data.is_empty() {
            // A full buffer goes off only now, when more follows: the last chunk is sealed otherwise.
            if self.buffer.is_full() {
                self.send_off(false).await?;
            }
            self.buffer.fill(&mut data);
        }
        Ok(())
    }

    /// Seals what is left as the last chunk and makes the segment's bytes durable.
    pub(super) async fn close(mut self) -> Result<Closed<O>, ReceiveError> {
        let (segment, _) = self.take_back().await?;
        let Self {
            buffer, digests, ..
        } = self;
        tokio::task::spawn_blocking(move || segment.close(buffer, digests))
            .await
            .map_err(|_| ReceiveError::Abandoned)?
    }

    /// Gives the owner back as soon as nobody works on the segment any more, which is left without an end.
    pub(super) async fn give_up(mut self) -> Result<O, ReceiveError> {
        self.take_back().await.map(|(segment, _)| segment.owner)
    }

    /// Hands the whole chunks in the buffer over to be sealed and written. `slow`: buffers are let go then.
    ///
    /// They are hashed here and not there: hashing costs as much as sealing and writing together, and so the work of a
    /// long upload is shared out evenly between two cores. It takes a fraction of a millisecond.
    async fn send_off(&mut self, slow: bool) -> Result<(), ReceiveError> {
        hash(self.buffer.whole_chunks(), &mut self.digests);
        let (mut segment, empty) = self.take_back().await?;
        let empty = empty.filter(|_| !slow);
        let mut next = empty.unwrap_or_else(|| ChunkBuffer::new(BUFFER_CHUNKS));
        self.buffer.move_rest(&mut next);
        let mut full = std::mem::replace(&mut self.buffer, next);
        self.since = Instant::now();
        let after = self.digests.clone();
        self.work = Work::Away(tokio::task::spawn_blocking(move || {
            segment.absorb(&mut full, &after)?;
            Ok((
                segment,
                if slow {
                    ChunkBuffer::new(BUFFER_CHUNKS)
                } else {
                    full
                },
            ))
        }));
        Ok(())
    }

    async fn take_back(&mut self) -> Result<(Box<Segment<O>>, Option<ChunkBuffer>), ReceiveError> {
        match std::mem::replace(&mut self.work, Work::Failed) {
            Work::Here(segment, buffer) => Ok((segment, buffer)),
            Work::Away(job) => {
                let (segment, buffer) = job.await.map_err(|_| ReceiveError::Abandoned)??;
                Ok((segment, Some(buffer)))
            }
            Work::Failed => Err(ReceiveError::Abandoned),
        }
    }
}

fn hash<'a>(chunks: impl Iterator<Item = &'a [u8]>, digests: &mut Digests) {
    for chunk in chunks {
        digests.update(chunk);
    }
}

struct Segment<O> {
    /// Before the owner: a writer that is dropped may still write, and what follows it is let in by the owner's end.
    open: Option<OpenSegment>,
    owner: O,
    limit: u64,
    crc: CrcDigest,
    crc_before_last: u64,
    size: u64,
    sealed_size: u64,
}

struct OpenSegment {
    name: SegmentName,
    writer: Box<dyn SegmentWriter>,
    sealer: PayloadSealer,
    file_key: FileKey,
}

impl<O: Owner> Segment<O> {
    /// Seals and writes whole chunks, behind which more comes. Blocks.
    fn absorb(&mut self, buffer: &mut ChunkBuffer, after: &Digests) -> Result<(), ReceiveError> {
        let size = buffer.len() as u64;
        if self.size + size >= self.limit {
            let segment = self.end(buffer)?;
            return self.owner.ended(segment, after);
        }
        let (mut open, prefix) = self.reopen(true)?;
        self.write_chunks(&mut open, prefix, buffer)?;
        self.size += size;
        let progress = Progress {
            key: &open.file_key,
            name: open.name,
            size: self.size,
            sealed_size: self.sealed_size,
            crc_before_last: self.crc_before_last,
            digests: after,
        };
        self.owner.wrote(&mut *open.writer, progress)?;
        self.open = Some(open);
        Ok(())
    }

    /// Hashes, seals and writes what is left, and makes the segment durable. Blocks.
    fn close(
        mut self,
        mut buffer: ChunkBuffer,
        mut digests: Digests,
    ) -> Result<Closed<O>, ReceiveError> {
        hash(buffer.plaintext(), &mut digests);
        let is_empty = self.open.is_none() && buffer.is_empty();
        let segment = if is_empty {
            None
        } else {
            Some(self.end(&mut buffer)?)
        };
        Ok(Closed {
            owner: self.owner,
            segment,
            digests,
        })
    }

    /// Seals and writes the last piece of the segment, and makes it durable. Blocks.
    fn end(&mut self, last: &mut ChunkBuffer) -> Result<SealedSegment, ReceiveError> {
        self.size += last.len() as u64;
        let (mut open, prefix) = self.reopen(false)?;
        let sealed = last.seal_last(open.sealer)?;
        self.write(&mut *open.writer, prefix, sealed)?;
        open.writer.finish()?;
        let crc = CrcDigest::new(CrcAlgorithm::Crc64Nvme);
        let segment = SealedSegment {
            key: open.file_key,
            name: Some(open.name).filter(|name| !name.is_plain()),
            size: std::mem::take(&mut self.size),
            sealed_size: std::mem::take(&mut self.sealed_size),
            crc: std::mem::replace(&mut self.crc, crc).finalize(),
        };
        self.crc_before_last = 0;
        Ok(segment)
    }

    /// The segment being written; begun, with what its file starts with, where there is none yet. `more`: whether it goes on
    /// behind this piece.
    fn reopen(&mut self, more: bool) -> Result<(OpenSegment, Vec<u8>), ReceiveError> {
        if let Some(open) = self.open.take() {
            return Ok((open, Vec::new()));
        }
        let Begun {
            prefix,
            sealer,
            file_key,
        } = seal::begin(self.owner.recipients(), &[])?;
        let name = self.owner.name()?;
        if more {
            self.owner.begin(&file_key, &name)?;
        }
        let writer = self.owner.create(&name)?;
        Ok((
            OpenSegment {
                name,
                writer,
                sealer,
                file_key,
            },
            prefix,
        ))
    }

    /// Seals whole chunks to where they are written from, or in place where the writer does not say where that is.
    fn write_chunks(
        &mut self,
        open: &mut OpenSegment,
        prefix: Vec<u8>,
        buffer: &mut ChunkBuffer,
    ) -> Result<(), ReceiveError> {
        let size = prefix.len() + buffer.sealed_len();
        let Some(place) = open.writer.place(size)? else {
            let sealed = buffer.seal(&mut open.sealer)?;
            return Ok(self.write(&mut *open.writer, prefix, sealed)?);
        };
        let (head, sealed) = place.split_at_mut(prefix.len());
        head.copy_from_slice(&prefix);
        buffer.seal_to(&mut open.sealer, sealed)?;
        self.sum(place, size - prefix.len());
        Ok(open.writer.placed()?)
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
        self.sum(bytes, sealed.len());
        writer.write(bytes)
    }

    /// Takes in the checksum of bytes that are about to be written; so many of them, at their end, are sealed chunks.
    fn sum(&mut self, bytes: &[u8], sealed: usize) {
        let last = bytes.len() - sealed.min(SEALED_CHUNK_SIZE);
        self.crc.update(&bytes[..last]);
        self.crc_before_last = self.crc.get_state();
        self.crc.update(&bytes[last..]);
        self.sealed_size += bytes.len() as u64;
    }
}
