//! Where sealed uploads are kept (DESIGN.md sections 4.2 and 6).
//!
//! A store holds folders of sealed files and knows nothing of what is in them. An upload is *staged*, seen by nobody,
//! until [`Store::publish`] makes it visible, whole and durable in one step. What an error or a crash leaves staged is
//! never visible. It is removed, unless a [session record](SessionStore) says that more of it is to come.
//!
//! Every call here may block on the disk or the network: call from a thread that may.

mod error;
mod id;
mod lease;
mod local;
mod logs;
mod nodes;
mod records;
mod s3;
mod sealed_file;
mod segment_name;
mod sessions;
mod shelf;
mod staging;

#[cfg(test)]
pub(crate) mod conformance;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use error::{NameError, StoreError};
pub use id::{Day, UploadId};
pub use lease::Lease;
pub use local::{LocalFolder, LocalReader, LocalRecords, LocalStore, StoreLimits};
pub use logs::{LogStore, MAX_PIECE};
pub use nodes::{NodeId, Nodes};
pub use records::{Change, Collection, MAX_RECORD, RecordName, RecordStore};
#[cfg(test)]
pub(crate) use s3::SmallEngine;
pub use s3::{
    AwsEnvironment, AwsProfile, EndpointError, ProfileError, ProfileFile, S3Options, S3Settings,
    S3SettingsError, S3Url, S3UrlError,
};
pub use s3::{Checksum as S3Checksum, Engine as S3Engine, RequestCounts as S3RequestCounts};
pub use s3::{S3Limits, S3Store};
pub use sealed_file::{MAX_SEGMENTS, SealedFile};
pub use segment_name::SegmentName;
pub use sessions::{ENTRY_SIZE, EntryBytes, SessionStore};
pub use shelf::Shelf;
pub use staging::Staging;

/// Where sealed uploads are kept. All calls may block: call from a thread that may.
///
/// An upload's way: [`create_segment`](Self::create_segment) for each of its segments, each writer
/// [finished](SegmentWriter::finish), then [`publish`](Self::publish). Whoever cannot go on calls
/// [`discard`](Self::discard). An id is staged by one caller at a time.
///
/// A store that [several servers share](Self::is_shared) promises the same but for this. What is durable is as durable as the engine
/// keeps it, and of a segment nothing is before it has [finished](SegmentWriter::finish). Callers on other servers may stage segments of
/// the same upload, under names of their own: who writes it down first is in, the other gets [`StoreError::Overtaken`]. What is left
/// to be removed when a store is opened is removed by [`sweep_staged`](Self::sweep_staged) there.
pub trait Store: Staging + SessionStore + RecordStore {
    /// A name for segment number `number` (below [`MAX_SEGMENTS`]) of an upload, before there is anything of it. Asks nobody.
    fn name_segment(&self, number: u32) -> Result<SegmentName, StoreError> {
        SegmentName::plain(number)
    }

    /// Bytes of plaintext after which a segment is to be ended and the next one begun; `None`: a segment may have any size.
    ///
    /// Where a segment is not kept before it has come to its end, this is what is lost with a server.
    fn segment_limit(&self) -> Option<u64> {
        None
    }

    /// Whether other servers may use the store at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// Creates the file of a segment of an upload that nobody sees yet.
    ///
    /// A segment that is staged already is [`StoreError::Exists`]; it is never opened again or truncated.
    fn create_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<Box<dyn SegmentWriter>, StoreError>;

    /// The same for an upload of which nothing is promised before it is published, by whoever creates this: the store may leave to
    /// [`publish`](Self::publish) what [finishing](SegmentWriter::finish) would make durable.
    fn create_segment_to_publish(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<Box<dyn SegmentWriter>, StoreError> {
        self.create_segment(id, segment)
    }

    /// Makes staged uploads visible and durable, each with the bytes of its `meta.age`.
    ///
    /// Every writer of these uploads must have finished. An upload without segments needs no staging. When this
    /// returns, all of them survive power loss.
    ///
    /// After an error, each upload is visible whole or not at all; [`StoreError::Unsettled`] says that some may be visible,
    /// and these stay; any other error, that none is. Discard them, or publish again: `meta.age` is then written anew,
    /// because a sync that failed once may seem to succeed when repeated, with the data lost. An id that is published already is [`StoreError::Exists`], and the published upload is
    /// left as it is.
    fn publish(&self, uploads: &[Publication]) -> Result<(), StoreError>;

    /// Makes sure that a published upload stays published: for whoever cannot tell whether [`publish`](Self::publish) came
    /// to its end. [`StoreError::NotFound`] where it is not published.
    fn settle(&self, id: &UploadId) -> Result<(), StoreError>;

    /// Removes what was staged for an id. Nothing staged is fine; a published upload is not touched.
    fn discard(&self, id: &UploadId) -> Result<(), StoreError>;

    /// Opens a published upload for reading, or says [`StoreError::NotFound`].
    fn open(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError>;

    /// The same for many, in this order; a store that is far away asks for several at a time, and may refuse one whose manifest is
    /// too long for that. What comes back is in memory at the same time: ask for some tens.
    fn open_all(&self, ids: &[UploadId]) -> Vec<Result<Box<dyn SealedUpload>, StoreError>> {
        ids.iter().map(|id| self.open(id)).collect()
    }

    /// Published ids in order, those after `after` only, at most `limit`.
    ///
    /// Ids sort by the time an upload began, so one that took long appears among older ones. A published folder is
    /// listed even where it was damaged later, so that verifying finds it.
    fn list(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError>;

    /// Deletes a published upload: gone from [`list`](Self::list) and [`open`](Self::open) in one atomic, durable
    /// step. Then `meta.age` and the beginnings of the segments, where file keys are wrapped, are overwritten, as far as the
    /// medium can do that, and then everything is removed, `meta.age` first.
    ///
    /// After an error it can be called again and goes on where it stopped; what it could not remove is also removed, in
    /// the same order, when the store is next opened.
    fn delete(&self, id: &UploadId) -> Result<(), StoreError>;

    /// Puts new headers in the place of those of a published upload: the bytes of a new `meta.age`, and, where `headers` are
    /// given, one for each of its segments, in order, whose payloads stay.
    ///
    /// `old_meta`: the bytes of the `meta.age` that all of that was made from. Where another one is there, be it that another server
    /// has put it there in this moment, this is [`StoreError::Replaced`], and nothing was changed.
    ///
    /// Whoever opens the upload finds all of the old or all of the new, at any time and after any crash; when this returns, the new
    /// survives power loss. Then the old `meta.age` and the old headers are overwritten, as far as the medium can do that, and
    /// removed. What a crash leaves of either is overwritten and removed when the store is next opened. Whoever is reading the old
    /// files gets [`StoreError::Replaced`] or [`StoreError::NotFound`] where they are gone.
    ///
    /// With `headers` the segments are copied, which needs [room](Self::has_room) for another of each, and is
    /// [`StoreError::CannotExchange`] where the store cannot put all of them in place in one step. An upload that has other
    /// segments than `headers` are given for is [`StoreError::UnexpectedFile`] or [`StoreError::NotFound`].
    ///
    /// After an error the upload is as it was, or as it is to be; [`StoreError::Unsettled`] says that it may not stay so before the
    /// store was opened anew. An id is rewrapped or deleted by one caller at a time, or, in a shared store, by one on each server.
    fn rewrap(
        &self,
        id: &UploadId,
        old_meta: &[u8],
        meta: &[u8],
        headers: Option<&[SegmentHeader<'_>]>,
    ) -> Result<(), StoreError>;

    /// Whether an upload that was just published is there with all its segments, and nobody is at deleting it. Only in a store that
    /// several servers share can it be otherwise: two of them may publish it, and one put it there when it was deleted again.
    fn is_kept(&self, _id: &UploadId) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Published uploads that are to be looked at by `until` because their time is over then, and when; at most `limit`, the first
    /// ones first. `None`: the store keeps no such list, and all records have to be looked at.
    fn expiring(
        &self,
        _until: SystemTime,
        _limit: usize,
    ) -> Result<Option<Vec<Expiring>>, StoreError> {
        Ok(None)
    }

    /// Takes off that list what was looked at and is gone, or is not to go after all.
    fn expired(&self, _expiring: &[Expiring]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Removes what servers left staged that died: of uploads that began more than `lifetime` ago, and that have no session record.
    /// Gives how many files it were. `after`: where an earlier call came to, which is told again at the end.
    ///
    /// A store that one server has for itself does this when it is opened.
    fn sweep_staged(
        &self,
        _lifetime: Duration,
        _after: Option<Day>,
        _now: SystemTime,
    ) -> Result<(usize, Option<Day>), StoreError> {
        Ok((0, None))
    }

    /// Where logs can be kept that servers write; `None`: in files of their own.
    fn logs(self: Arc<Self>) -> Option<Arc<dyn LogStore>> {
        None
    }

    /// What can be told of an engine that keeps the store's bytes; `None` where it is the system's own disk.
    fn engine(&self) -> Option<EngineStatus> {
        None
    }

    /// Whether the store can take uploads now. Cheap enough for a readiness probe.
    fn check(&self) -> Result<(), StoreError>;

    /// Whether so many more bytes of sealed files would fit now, as far as that can be told: [`StoreError::QuotaReached`] or
    /// [`StoreError::Full`] where not. Cheap enough to ask before every upload.
    ///
    /// It keeps nothing free for whoever asks: what is written is held to the quota all the same.
    fn has_room(&self, bytes: u64) -> Result<(), StoreError>;

    /// The same where it can be told at once: this neither blocks nor asks anybody. `None`: ask [`has_room`](Self::has_room).
    fn has_room_now(&self, _bytes: u64) -> Option<Result<(), StoreError>> {
        None
    }

    /// Bytes of all sealed files, staged and published. Where the store has no quota to hold them to it measures them first,
    /// which takes its time.
    fn stored(&self) -> Result<u64, StoreError>;
}

/// A staged upload that is to be published.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Which one.
    pub id: UploadId,
    /// The bytes of its `meta.age`.
    pub meta: Vec<u8>,
    /// Its segments, in order, from number 0 on. What else is staged for it is rubbish.
    pub segments: Vec<SegmentName>,
    /// When somebody should look whether its time is over, where that was agreed.
    pub expires: Option<SystemTime>,
}

/// What is to stand in front of a segment's payload.
#[derive(Debug, Clone, Copy)]
pub struct SegmentHeader<'a> {
    /// Bytes of what stands there now: header and nonce.
    pub old_size: u64,
    /// The new header and nonce.
    pub new: &'a [u8],
}

/// An upload whose time will be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiring {
    /// When.
    pub time: SystemTime,
    /// Which one.
    pub id: UploadId,
}

/// What an engine does that keeps the store's bytes, and what it was asked so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineStatus {
    /// Whether two servers that go on with one upload are told apart by the engine itself. Where not, they take turns, and one that
    /// stands still for more than half a minute, or a write that the engine does so late, may go over what another wrote.
    pub conditional_writes: bool,
    /// Whether it compares what is to be replaced only where its `ETag` comes without quotation marks, which it does then.
    pub bare_etags: bool,
    /// What finds damage on the way to the engine: `crc64nvme`, `sha256` or `none`.
    pub checksum: &'static str,
    /// Whether it keeps what was deleted.
    pub keeps_versions: bool,
    /// Requests since the start, by kind.
    #[serde(skip)]
    pub requests: Vec<(&'static str, u64)>,
    /// Requests that failed, or had to be sent again.
    #[serde(skip)]
    pub failures: u64,
    /// Bytes sent to it and received from it.
    #[serde(skip)]
    pub bytes: (u64, u64),
}

/// Writes one segment file of a staged upload.
///
/// Dropping it without [`finish`](Self::finish) leaves the segment staged and unfinished: discard the upload.
pub trait SegmentWriter: Send {
    /// Makes the bytes written so far durable, while more is to come; in a shared store it does nothing. May block for as long as the
    /// disk needs.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Appends `sealed` as it is, in one call to the disk: hand over large pieces (256 KiB to 1 MiB). May block.
    ///
    /// After an error it is unknown how much was written.
    fn write(&mut self, sealed: &[u8]) -> Result<(), StoreError>;

    /// Where the next `size` bytes may be put instead of being handed to [`write`](Self::write), which spares a copy; `None` where
    /// nothing is gained by it. What was put there is written by [`placed`](Self::placed), which has to follow.
    fn place(&mut self, size: usize) -> Result<Option<&mut [u8]>, StoreError> {
        let _ = size;
        Ok(None)
    }

    /// Appends what was put into the [`place`](Self::place) that was given last, all of it. As [`write`](Self::write).
    fn placed(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes the bytes written so far durable and closes the segment. Its name becomes durable when the upload is
    /// published, and so do the bytes where that was [agreed](Store::create_segment_to_publish). May block for as long as the disk
    /// needs to take what is not written back yet.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// The sealed files of one upload, read-only.
pub trait SealedUpload: Send + Sync {
    /// The files that are there, sorted: `meta.age`, then the segments. May block.
    ///
    /// Anything else beside them is [`StoreError::UnexpectedFile`].
    fn files(&self) -> Result<Vec<SealedFile>, StoreError>;

    /// Opens one of the files, or says [`StoreError::NotFound`]. May block.
    fn open(&self, file: SealedFile) -> Result<Box<dyn ReadAt>, StoreError>;

    /// Bytes of each of these segments, or [`StoreError::NotFound`] where one is not there. May block.
    fn sizes(&self, segments: &[SegmentName]) -> Result<Vec<u64>, StoreError> {
        let size = |segment: &SegmentName| Ok(self.open(segment.file())?.len());
        segments.iter().map(size).collect()
    }

    /// CRC-64/NVME over `meta.age`, as the store noted it when it wrote that file; `None` where it keeps no such note, or lost
    /// it. May block. It finds damage; nothing that opens an upload depends on it.
    fn meta_checksum(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

/// Reads a sealed file at any offset, from any number of threads.
#[expect(
    clippy::len_without_is_empty,
    reason = "no sealed file is empty; nobody would ask"
)]
pub trait ReadAt: Send + Sync {
    /// The file's size in bytes when it was opened.
    fn len(&self) -> u64;

    /// Fills `buf` from `offset` and returns how many bytes were read: fewer than asked for only at the end of the
    /// file, 0 past it. May block.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError>;

    /// Says that the file is read in order, once, and has been read up to `end`; 0 before the first read. A store may let go of what
    /// it holds of that in memory, and then reads what lies on the disk: whoever looks for damage wants that, and nobody else loses what is
    /// in memory for them.
    fn read_once(&self, _end: u64) {}
}
