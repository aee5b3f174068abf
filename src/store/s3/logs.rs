//! Logs in a bucket.
//!
//! ```text
//! audit/{log}/{number:010}   a piece
//! ```

use std::io;

use bytes::Bytes;

use super::bucket::{Bucket, Notes};
use super::store::S3Store;
use super::walk::Walk;
use crate::store::{LogStore, MAX_PIECE, RecordName, StoreError};

const FOLDER: &str = "audit/";
/// Names asked for at a time.
const PAGE: usize = 1000;
/// Logs in one bucket: one for each node that there ever was.
const MOST_LOGS: usize = 1_000_000;

impl LogStore for S3Store {
    fn put_piece(&self, log: &RecordName, number: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let key = key(log, number);
        if bytes.len() > MAX_PIECE {
            let source = io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a piece of a log has at most {MAX_PIECE} bytes"),
            );
            return Err(StoreError::io("write", key, source));
        }
        let bytes = Bytes::copy_from_slice(bytes);
        self.bucket.create(&key, bytes, &Notes::default())
    }

    fn pieces(
        &self,
        log: &RecordName,
        after: Option<u32>,
        most: usize,
    ) -> Result<Vec<u32>, StoreError> {
        let folder = folder(log);
        let mut after = after.map(|after| key(log, after));
        let mut pieces = Vec::new();
        let mut walk = Walk::through(&folder, usize::MAX);
        loop {
            let most = most - pieces.len();
            let page = self
                .bucket
                .list(&folder, after.as_deref(), most.min(PAGE))?;
            for object in &page.objects {
                let number = object.key.strip_prefix(&folder).and_then(number);
                walk.met(number.is_some())?;
                pieces.extend(number);
            }
            match page.objects.last() {
                Some(last) if page.more && most > page.objects.len() => {
                    after = Some(last.key.clone());
                }
                _ => return Ok(pieces),
            }
        }
    }

    fn piece(&self, log: &RecordName, number: u32) -> Result<Vec<u8>, StoreError> {
        let object = self.bucket.get(&key(log, number), MAX_PIECE as u64)?;
        Ok(object.bytes.into())
    }

    fn log_names(&self) -> Result<Vec<RecordName>, StoreError> {
        names(&self.bucket)
    }
}

fn names(bucket: &Bucket) -> Result<Vec<RecordName>, StoreError> {
    let mut names = Vec::new();
    let mut walk = Walk::through(FOLDER, MOST_LOGS);
    let mut after: Option<String> = None;
    loop {
        let page = bucket.folders(FOLDER, after.as_deref(), PAGE)?;
        for name in &page.names {
            let name = name.parse().ok();
            walk.met(name.is_some())?;
            names.extend(name);
        }
        match page.names.last() {
            Some(last) if page.more => after = Some(last.clone()),
            _ => return Ok(names),
        }
    }
}

fn folder(log: &RecordName) -> String {
    format!("{FOLDER}{log}/")
}

fn key(log: &RecordName, number: u32) -> String {
    format!("{FOLDER}{log}/{number:010}")
}

/// Written as this store writes it.
fn number(name: &str) -> Option<u32> {
    let sound = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|_| sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_sort_by_their_numbers() {
        let log: RecordName = "node".parse().unwrap();
        let mut keys = [u32::MAX, 9, 100_000_000, 10].map(|number| key(&log, number));
        keys.sort_unstable();
        let numbers = keys.map(|key| number(key.strip_prefix(&folder(&log)).unwrap()));
        assert_eq!(
            numbers,
            [Some(9), Some(10), Some(100_000_000), Some(u32::MAX)]
        );
        for name in ["", "9", "+000000009", "0000000009.x", "9999999999"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
