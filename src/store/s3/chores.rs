//! What is tidied up behind somebody's back, where nothing depends on it.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::bucket::{Bucket, Parts};

/// Chores that may wait. More are left undone: sweeping finds what they would have removed.
const WAITING: usize = 1024;

/// Objects that are deleted at once.
const AT_ONCE: usize = 256;

enum Chore {
    Delete(String),
    Abort(Box<Parts>, String),
}

/// Hands chores to a thread, which ends when nobody can hand it any more.
#[derive(Clone)]
pub(super) struct Chores(SyncSender<Chore>);

impl Chores {
    /// Starts the thread.
    pub(super) fn start(bucket: Bucket) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        thread::Builder::new()
            .name("bucket-chores".to_owned())
            .spawn(move || work(&bucket, &receiver))?;
        Ok(Self(sender))
    }

    /// Deletes an object some time.
    pub(super) fn delete(&self, key: String) {
        let _ = self.0.try_send(Chore::Delete(key));
    }

    /// Drops what was sent of an object, and then what remembers it. What is under way of it is let go of at once.
    pub(super) fn abort(&self, parts: Parts, marker: String) {
        parts.stop();
        let _ = self.0.try_send(Chore::Abort(Box::new(parts), marker));
    }
}

fn work(bucket: &Bucket, chores: &Receiver<Chore>) {
    while let Ok(first) = chores.recv() {
        let more = chores.try_iter().take(AT_ONCE);
        let keys = std::iter::once(first).chain(more);
        let keys = keys.filter_map(|chore| match chore {
            Chore::Delete(key) => Some(key),
            // Where it is not done, sweeping finds by the marker what to do.
            Chore::Abort(parts, marker) => parts.abort().then_some(marker),
        });
        let keys: Vec<String> = keys.collect();
        if let Err(error) = bucket.delete_all(&keys) {
            tracing::debug!(%error, count = keys.len(), "objects that nobody needs stay until they are swept");
        }
    }
}
