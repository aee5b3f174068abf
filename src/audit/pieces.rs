//! A log in the store that several servers share: each server has one of its own, and a chain of its own.
//!
//! Lines are put in pieces, none of which is ever written anew. A piece that was put is durable. One of which that is not known is put
//! again as it is, before anything that follows it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use super::AuditError;
use super::chain::{Chain, Hash};
use super::sink::{Sink, Stamped};
use crate::store::{LogStore, RecordName, StoreError};

/// Pieces asked for at a time.
const PAGE: usize = 1000;

/// Writes the log of one server.
pub(super) struct Pieces {
    store: Arc<dyn LogStore>,
    log: RecordName,
    /// The number of the next piece.
    next: u32,
    chain: Chain,
    /// A piece that may have been put or not.
    pending: Option<Pending>,
}

struct Pending {
    bytes: Vec<u8>,
    /// How many entries it holds.
    count: usize,
    /// Behind it.
    chain: Chain,
}

impl Pieces {
    /// Begins a new log.
    pub(super) fn new(store: Arc<dyn LogStore>, log: RecordName) -> Self {
        Self {
            store,
            log,
            next: 0,
            chain: Chain::new(),
            pending: None,
        }
    }

    fn pack(&self, entries: &[Stamped]) -> Pending {
        let mut chain = self.chain.clone();
        let mut bytes = Vec::with_capacity(entries.len() * 320);
        for stamped in entries {
            chain.extend(stamped.time, &stamped.entry, &mut bytes);
        }
        Pending {
            bytes,
            count: entries.len(),
            chain,
        }
    }

    fn put(&self, pending: &Pending) -> Result<u32, AuditError> {
        let next = self.next.checked_add(1).ok_or(AuditError::NotHere)?;
        match self.store.put_piece(&self.log, self.next, &pending.bytes) {
            Ok(()) => Ok(next),
            // Nobody else may write there. Whatever it is, nothing can be told any more.
            Err(StoreError::Exists) => Err(AuditError::Foreign(self.log.clone())),
            Err(source) => Err(AuditError::Store(source)),
        }
    }
}

impl Sink for Pieces {
    fn write(&mut self, entries: &[Stamped]) -> (usize, Result<(), AuditError>) {
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None if entries.is_empty() => return (0, Ok(())),
            None => self.pack(entries),
        };
        match self.put(&pending) {
            Ok(next) => {
                self.next = next;
                self.chain = pending.chain;
                (pending.count, Ok(()))
            }
            Err(error) => {
                self.pending = Some(pending);
                (0, Err(error))
            }
        }
    }

    /// What was put is durable.
    fn sync(&self) -> Result<(), AuditError> {
        Ok(())
    }

    fn head(&self) -> (u64, Hash) {
        (self.chain.seq, self.chain.head())
    }

    fn gathers(&self) -> bool {
        true
    }
}

/// Reads a log in a store, from its beginning.
pub struct StoredLog {
    logs: Arc<dyn LogStore>,
    log: RecordName,
    /// Numbers of pieces that come next.
    coming: VecDeque<u32>,
    last: Option<u32>,
    piece: io::Cursor<Vec<u8>>,
}

impl StoredLog {
    /// The log of this name.
    pub fn new(logs: Arc<dyn LogStore>, log: RecordName) -> Self {
        Self {
            logs,
            log,
            coming: VecDeque::new(),
            last: None,
            piece: io::Cursor::default(),
        }
    }

    /// The next piece. `None`: that was the last one.
    fn next_piece(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.coming.is_empty() {
            self.coming = self.logs.pieces(&self.log, self.last, PAGE)?.into();
        }
        let Some(number) = self.coming.pop_front() else {
            return Ok(None);
        };
        self.last = Some(number);
        self.logs.piece(&self.log, number).map(Some)
    }
}

impl Read for StoredLog {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            match self.next_piece().map_err(io::Error::other)? {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::BufReader;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::SystemTime;

    use super::*;
    use crate::audit::entry::{Entry, Event};
    use crate::audit::{AuditLog, Verified, Verifier, VerifyError};
    use crate::store::NodeId;

    /// Logs in memory, in a store that may be away, or whose answers get lost.
    #[derive(Default)]
    struct Logs {
        pieces: Mutex<BTreeMap<(RecordName, u32), Vec<u8>>>,
        away: AtomicBool,
        unheard: AtomicBool,
    }

    impl LogStore for Logs {
        fn put_piece(&self, log: &RecordName, number: u32, bytes: &[u8]) -> Result<(), StoreError> {
            let away = || StoreError::Unavailable {
                source: "it is away".into(),
            };
            if self.away.load(Ordering::SeqCst) {
                return Err(away());
            }
            let mut pieces = self.pieces.lock().unwrap();
            let there = pieces
                .entry((log.clone(), number))
                .or_insert_with(|| bytes.to_vec());
            if there != bytes {
                return Err(StoreError::Exists);
            }
            if self.unheard.swap(false, Ordering::SeqCst) {
                return Err(away());
            }
            Ok(())
        }

        fn pieces(
            &self,
            log: &RecordName,
            after: Option<u32>,
            most: usize,
        ) -> Result<Vec<u32>, StoreError> {
            let pieces = self.pieces.lock().unwrap();
            let numbers = pieces.keys().filter(|(name, _)| name == log);
            let numbers = numbers.map(|(_, number)| *number);
            let numbers = numbers.filter(|number| after.is_none_or(|after| *number > after));
            Ok(numbers.take(most).collect())
        }

        fn piece(&self, log: &RecordName, number: u32) -> Result<Vec<u8>, StoreError> {
            let pieces = self.pieces.lock().unwrap();
            let piece = pieces.get(&(log.clone(), number)).cloned();
            piece.ok_or(StoreError::NotFound)
        }

        fn log_names(&self) -> Result<Vec<RecordName>, StoreError> {
            let pieces = self.pieces.lock().unwrap();
            let mut names: Vec<_> = pieces.keys().map(|(name, _)| name.clone()).collect();
            names.dedup();
            Ok(names)
        }
    }

    fn entries(count: usize) -> Vec<Stamped> {
        let entry = |_| Stamped {
            time: SystemTime::now(),
            entry: Entry::new(Event::Read),
        };
        (0..count).map(entry).collect()
    }

    fn verify(logs: &Arc<Logs>, log: &RecordName) -> Result<Verified, VerifyError> {
        let stored = StoredLog::new(Arc::clone(logs) as _, log.clone());
        let mut verifier = Verifier::new(None);
        verifier.read(&mut BufReader::with_capacity(100, stored))?;
        verifier.finish()
    }

    #[test]
    fn a_piece_that_may_be_there_is_put_again_as_it_was() {
        let logs = Arc::<Logs>::default();
        let log = RecordName::from(&NodeId::generate());
        let mut sink = Pieces::new(Arc::clone(&logs) as _, log.clone());
        sink.write(&entries(2)).1.unwrap();
        logs.unheard.store(true, Ordering::SeqCst);
        let waiting = entries(3);
        assert!(matches!(
            sink.write(&waiting),
            (0, Err(AuditError::Store(_)))
        ));
        // More has come meanwhile.
        let more = waiting.into_iter().chain(entries(2)).collect::<Vec<_>>();
        assert!(matches!(sink.write(&more), (3, Ok(()))));
        assert!(matches!(sink.write(&more[3..]), (2, Ok(()))));
        assert!(matches!(sink.write(&[]), (0, Ok(()))));
        let verified = verify(&logs, &log).unwrap();
        assert_eq!((verified.lines, verified.from), (7, 1));
        assert_eq!((verified.lines, verified.head), sink.head());
        assert_eq!(logs.log_names().unwrap(), std::slice::from_ref(&log));

        // What is taken out of the middle is missed, and nobody else writes behind it.
        logs.pieces.lock().unwrap().remove(&(log.clone(), 1));
        assert!(verify(&logs, &log).is_err());
        logs.pieces
            .lock()
            .unwrap()
            .insert((log, 3), b"other".to_vec());
        assert!(matches!(
            sink.write(&entries(1)),
            (0, Err(AuditError::Foreign(_)))
        ));
        assert!(matches!(
            sink.write(&entries(1)),
            (0, Err(AuditError::Foreign(_)))
        ));
    }

    #[test]
    fn what_somebody_waits_for_is_there_and_the_rest_is_gathered() {
        let logs = Arc::<Logs>::default();
        let node = NodeId::generate();
        let log = RecordName::from(&node);
        let audit = AuditLog::begin_in(Arc::clone(&logs) as _, &node).unwrap();
        for _ in 0..20 {
            audit.append(Entry::new(Event::Read));
        }
        audit.append_durably(Entry::new(Event::Finished)).unwrap();
        assert_eq!(verify(&logs, &log).unwrap().lines, 22);
        // The start, what had been waiting or not when the writer looked, and what was waited for.
        assert!(logs.pieces.lock().unwrap().len() <= 4);

        logs.away.store(true, Ordering::SeqCst);
        assert!(audit.append_durably(Entry::new(Event::Finished)).is_err());
        assert!(audit.is_failing());
        logs.away.store(false, Ordering::SeqCst);
        audit.close();
        assert_eq!(verify(&logs, &log).unwrap().lines, 24);
    }
}
