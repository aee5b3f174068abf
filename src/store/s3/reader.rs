//! Reading a segment: a little where somebody looks here and there, much and ahead of time where it is read in order.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::bucket::Bucket;
use super::budget::{self, Budget};
use super::published::Origin;
use crate::store::{ReadAt, StoreError};

/// Fetched at least: a header, and some of what is behind it.
const LEAST: u64 = 64 << 10;

/// Fetched at first of what is read in order; twice as much each time, up to the most.
const FIRST: u64 = 1 << 20;
const MOST: u64 = 8 << 20;

/// A file that is in memory as a whole.
pub(super) struct Held(pub(super) Bytes);

impl ReadAt for Held {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        Ok(copy(&self.0, buf, offset))
    }
}

/// Copies what there is of `bytes` from `offset` on.
fn copy(bytes: &[u8], buf: &mut [u8], offset: u64) -> usize {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let there = bytes.get(from..).unwrap_or_default();
    let size = there.len().min(buf.len());
    buf[..size].copy_from_slice(&there[..size]);
    size
}

/// A segment in the bucket.
pub(super) struct S3File {
    object: Arc<Place>,
    memory: Budget,
    len: u64,
    view: Mutex<View>,
}

struct Place {
    bucket: Bucket,
    key: String,
    origin: Option<Origin>,
}

impl Place {
    fn fetch(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        match (self.bucket.range(&self.key, range), &self.origin) {
            (Err(StoreError::NotFound), Some(origin)) => {
                origin.same_still(&self.bucket)?;
                Err(StoreError::NotFound)
            }
            (fetched, _) => fetched,
        }
    }
}

/// What of a file is in memory: at most two windows of it.
#[derive(Default)]
struct View {
    window: Option<Window>,
    ahead: Option<Ahead>,
    /// Where the last read ended: the next one that begins there reads in order.
    next: u64,
    /// Bytes of the next window, where it is read in order.
    step: u64,
}

struct Window {
    start: u64,
    bytes: Bytes,
    _held: Option<budget::Held>,
}

/// A window that is being fetched.
struct Ahead {
    range: Range<u64>,
    thread: JoinHandle<Result<Window, StoreError>>,
}

impl S3File {
    /// `origin`: through what it was found, where it is part of a published upload.
    pub(super) fn new(
        bucket: &Bucket,
        memory: &Budget,
        key: String,
        len: u64,
        origin: Option<Origin>,
    ) -> Self {
        let object = Place {
            bucket: bucket.clone(),
            key,
            origin,
        };
        Self {
            object: Arc::new(object),
            memory: memory.clone(),
            len,
            view: Mutex::default(),
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        // A window is put there as a whole.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the window to byte `at`, of which `wanted` bytes will be read.
    fn fill(&self, view: &mut View, at: u64, wanted: u64) -> Result<(), StoreError> {
        view.window = None;
        if let Some(ahead) = view.ahead.take()
            && ahead.range.contains(&at)
        {
            let fetched = ahead.thread.join();
            if let Ok(window) = fetched {
                view.window = Some(window?);
                self.look_ahead(view);
                return Ok(());
            }
        }
        let in_order = view.next == at && (at > 0 || view.step > 0);
        let size = if in_order {
            wanted.max(next_step(view))
        } else {
            view.step = 0;
            wanted.max(LEAST)
        };
        let mut size = size.min(MOST).min(self.len.saturating_sub(at));
        let held = self.memory.try_take_spare(size);
        if held.is_none() {
            // What everybody may have without asking.
            size = size.min(FIRST);
        }
        let end = at + size;
        view.window = Some(Window {
            start: at,
            bytes: self.object.fetch(at..end)?,
            _held: held,
        });
        if in_order {
            self.look_ahead(view);
        }
        Ok(())
    }

    /// Begins to fetch what lies behind the window, where there is memory for it.
    fn look_ahead(&self, view: &mut View) {
        let Some(window) = &view.window else {
            return;
        };
        let start = window.start + window.bytes.len() as u64;
        let end = start.saturating_add(view.step.max(FIRST)).min(self.len);
        if start >= end || window.bytes.is_empty() {
            return;
        }
        let Some(held) = self.memory.try_take_spare(end - start) else {
            return;
        };
        next_step(view);
        let object = Arc::clone(&self.object);
        let fetch = move || {
            let bytes = object.fetch(start..end)?;
            Ok(Window {
                start,
                bytes,
                _held: Some(held),
            })
        };
        let thread = thread::Builder::new().name("read-ahead".to_owned());
        // Where no thread can be had, it is fetched when it is asked for.
        if let Ok(thread) = thread.spawn(fetch) {
            view.ahead = Some(Ahead {
                range: start..end,
                thread,
            });
        }
    }
}

/// Bytes of the window that is fetched next.
fn next_step(view: &mut View) -> u64 {
    let step = view.step.max(FIRST);
    view.step = (step * 2).min(MOST);
    step
}

impl ReadAt for S3File {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let mut view = self.view();
        let mut filled = 0;
        while filled < wanted {
            let at = offset + filled as u64;
            let there = view.window.as_ref().map_or(0, |window| {
                let within = at.checked_sub(window.start);
                within.map_or(0, |within| {
                    copy(&window.bytes, &mut buf[filled..wanted], within)
                })
            });
            filled += there;
            if there > 0 {
                view.next = at + there as u64;
                continue;
            }
            self.fill(&mut view, at, (wanted - filled) as u64)?;
            if view.window.as_ref().is_none_or(|new| new.bytes.is_empty()) {
                // Cut short since it was opened; whoever opens the seal will notice.
                break;
            }
        }
        Ok(filled)
    }

    fn read_once(&self, end: u64) {
        if end == 0 {
            self.view().step = MOST;
        }
    }
}
