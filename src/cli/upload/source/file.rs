//! A file: read from any offset, digested once, and checked not to have changed before its last bytes go out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Blocking, Identity, Rest, SourceError, ended};
use crate::cli::client::body::{Body, FRAME};

/// How many frames are read ahead.
const AHEAD: usize = 4;

pub(in crate::cli::upload) struct FileSource {
    identity: Identity,
    reader: Blocking<Reader>,
    /// Feeds a body.
    feeding: Option<JoinHandle<Result<(), SourceError>>>,
}

impl FileSource {
    pub(super) fn new(file: File, identity: Identity) -> Self {
        Self {
            identity,
            reader: Blocking::new(Reader {
                file,
                identity,
                digest: Sha256::new(),
                digested: 0,
            }),
            feeding: None,
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) async fn rest(&mut self, offset: u64) -> Result<Rest, SourceError> {
        self.settle().await?;
        let left = self.identity.size.checked_sub(offset);
        let left = left.ok_or(SourceError::Changed)?;
        // Before the request begins: the server does not wait for long in the midst of a body.
        self.reader
            .run(move |reader| {
                reader.digest_up_to(offset)?;
                // Where nothing is left to be read, nothing else would notice.
                reader.check()
            })
            .await?;
        let (frames, receiver) = mpsc::channel(AHEAD);
        let feeding = self
            .reader
            .begin(move |reader| reader.feed(offset, &frames));
        self.feeding = Some(feeding);
        Ok(Rest {
            body: Body::read(receiver, left),
            last: true,
        })
    }

    pub(super) async fn settle(&mut self) -> Result<(), SourceError> {
        match self.feeding.take() {
            Some(feeding) => ended(feeding).await,
            None => Ok(()),
        }
    }

    pub(super) async fn digest(&mut self) -> Result<(u64, String), SourceError> {
        self.settle().await?;
        let size = self.identity.size;
        self.reader
            .run(move |reader| {
                reader.digest_up_to(size)?;
                Ok((size, HEXLOWER.encode(&reader.digest.clone().finalize())))
            })
            .await
    }
}

struct Reader {
    file: File,
    /// As it was when it was opened.
    identity: Identity,
    /// Of the first `digested` bytes.
    digest: Sha256,
    digested: u64,
}

impl Reader {
    /// Reads from `offset` to the end, until nobody wants it any more.
    fn feed(&mut self, offset: u64, frames: &mpsc::Sender<Bytes>) -> Result<(), SourceError> {
        let mut at = offset;
        while at < self.identity.size {
            let frame = self.frame(at)?;
            at += frame.len() as u64;
            if at == self.identity.size {
                // Without its last bytes the upload cannot be completed.
                self.check()?;
            }
            if frames.blocking_send(frame).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn digest_up_to(&mut self, offset: u64) -> Result<(), SourceError> {
        while self.digested < offset {
            self.frame(self.digested)?;
        }
        Ok(())
    }

    /// Reads some bytes at `at`, and digests those that have not been yet. `at` is not beyond those that have.
    fn frame(&mut self, at: u64) -> Result<Bytes, SourceError> {
        let left = self.identity.size - at;
        let size = usize::try_from(left).unwrap_or(FRAME).min(FRAME);
        let mut frame = vec![0; size];
        self.file
            .read_exact_at(&mut frame, at)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => SourceError::Changed,
                _ => SourceError::Read(error),
            })?;
        let known = usize::try_from(self.digested - at).unwrap_or(size);
        if let Some(new) = frame.get(known..) {
            self.digest.update(new);
            self.digested = self.digested.max(at + size as u64);
        }
        Ok(frame.into())
    }

    /// Whether the file is what it was when it was opened.
    fn check(&self) -> Result<(), SourceError> {
        let now = self.file.metadata().map_err(SourceError::Read)?;
        if Identity::from(&now) == self.identity {
            Ok(())
        } else {
            Err(SourceError::Changed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::upload::source::{Opened, Source};
    use http_body_util::BodyExt;
    use std::io::Write;

    fn temporary(contents: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents).unwrap();
        file
    }

    async fn sent(source: &mut Source, offset: u64) -> Option<Vec<u8>> {
        let rest = source.rest(offset).await.ok()?;
        assert!(rest.last);
        let body = rest.body.collect().await.ok()?;
        Some(body.to_bytes().to_vec())
    }

    fn sha256(bytes: &[u8]) -> String {
        HEXLOWER.encode(&Sha256::digest(bytes))
    }

    #[tokio::test]
    async fn a_file_is_digested_once_however_it_is_sent() {
        let contents: Vec<u8> = (0..=250).cycle().take(3 * FRAME + 5).collect();
        let file = temporary(&contents);
        let size = contents.len() as u64;
        let all_ways: [&[u64]; 5] = [
            &[0],
            &[7],
            &[size],
            &[FRAME as u64 + 3, 5, 0],
            &[0, size - 1],
        ];
        for offsets in all_ways {
            let mut source = Source::of(Opened::at(file.path()).unwrap());
            for &offset in offsets {
                let rest = sent(&mut source, offset).await.unwrap();
                assert!(rest == contents[usize::try_from(offset).unwrap()..]);
            }
            assert_eq!(source.digest().await.unwrap(), (size, sha256(&contents)));
        }
    }

    #[tokio::test]
    async fn a_body_that_was_dropped_stops_the_reading() {
        let contents = vec![1; 20 * FRAME];
        let file = temporary(&contents);
        let mut source = Source::of(Opened::at(file.path()).unwrap());
        let mut rest = source.rest(0).await.unwrap();
        rest.body.frame().await.unwrap().unwrap();
        drop(rest);
        source.settle().await.unwrap();
        assert_eq!(sent(&mut source, 0).await.unwrap(), contents);
        assert_eq!(source.digest().await.unwrap().1, sha256(&contents));
    }

    #[tokio::test]
    async fn a_file_that_changes_is_not_sent_to_its_end() {
        for change in ["x", ""] {
            let mut file = temporary(&vec![1; 20 * FRAME]);
            let mut source = Source::of(Opened::at(file.path()).unwrap());
            let rest = source.rest(0).await.unwrap();
            if change.is_empty() {
                file.as_file().set_len(10 * FRAME as u64).unwrap();
            } else {
                file.write_all(change.as_bytes()).unwrap();
            }
            rest.body.collect().await.unwrap_err();
            assert!(matches!(source.settle().await, Err(SourceError::Changed)));
            assert!(sent(&mut source, 20 * FRAME as u64).await.is_none());
        }
    }

    #[tokio::test]
    async fn an_empty_file_is_sent_too() {
        let file = temporary(b"");
        let mut source = Source::of(Opened::at(file.path()).unwrap());
        assert_eq!(sent(&mut source, 0).await.unwrap(), b"");
        assert_eq!(source.digest().await.unwrap(), (0, sha256(b"")));
        assert!(matches!(source.rest(1).await, Err(SourceError::Changed)));
    }
}
