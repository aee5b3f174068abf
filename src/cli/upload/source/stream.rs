//! A stream: standard input or a pipe. It cannot be read again, so a piece of it is held until the server has it.

use std::io::{self, Read};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Blocking, Rest, SourceError};
use crate::cli::client::body::Body;

/// How much is held, in bytes.
const PIECE: usize = 8 << 20;

pub(in crate::cli::upload) struct StreamSource {
    reader: Blocking<Reader>,
    /// Erased when nobody sends it any more.
    piece: Bytes,
    /// Where the piece begins.
    start: u64,
    /// Whether nothing follows the piece.
    last: bool,
}

struct Reader {
    input: Box<dyn Read + Send>,
    /// Of everything that was read.
    digest: Sha256,
}

impl StreamSource {
    pub(super) fn new(input: impl Read + Send + 'static) -> Self {
        Self {
            reader: Blocking::new(Reader {
                input: Box::new(input),
                digest: Sha256::new(),
            }),
            piece: Bytes::new(),
            start: 0,
            last: false,
        }
    }

    pub(super) async fn rest(&mut self, offset: u64) -> Result<Rest, SourceError> {
        if offset == self.end() && !self.last {
            let (piece, last) = self.reader.run(Reader::piece).await?;
            (self.start, self.piece, self.last) = (offset, piece, last);
        }
        let known = offset.checked_sub(self.start);
        let known = known.and_then(|known| usize::try_from(known).ok());
        let known = known.filter(|known| *known <= self.piece.len());
        let body = self.piece.slice(known.ok_or(SourceError::Lost)?..);
        Ok(Rest {
            body: Body::whole(body),
            last: self.last,
        })
    }

    pub(super) fn rewinds(&self) -> bool {
        self.start == 0
    }

    pub(super) async fn digest(&self) -> Result<(u64, String), SourceError> {
        let digest = self.reader.run(|reader| Ok(reader.digest.clone())).await?;
        Ok((self.end(), HEXLOWER.encode(&digest.finalize())))
    }

    fn end(&self) -> u64 {
        self.start + self.piece.len() as u64
    }
}

impl Reader {
    /// The next piece, and whether it is the last one.
    fn piece(&mut self) -> Result<(Bytes, bool), SourceError> {
        // Of its size at once: growing would leave copies behind.
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        let mut size = 0;
        let mut ended = false;
        while size < PIECE && !ended {
            match self.input.read(&mut piece[size..]) {
                Ok(0) => ended = true,
                Ok(read) => size += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SourceError::Read(error)),
            }
        }
        piece.truncate(size);
        self.digest.update(&*piece);
        Ok((Bytes::from_owner(piece), ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn sent(source: &mut StreamSource, offset: u64) -> Result<(Vec<u8>, bool), SourceError> {
        let rest = source.rest(offset).await?;
        let body = rest.body.collect().await.unwrap().to_bytes();
        Ok((body.to_vec(), rest.last))
    }

    #[tokio::test]
    async fn a_stream_is_sent_piece_by_piece() {
        for (size, sizes) in [
            (0, vec![0]),
            (5, vec![5]),
            (PIECE - 1, vec![PIECE - 1]),
            (PIECE, vec![PIECE, 0]),
            (PIECE + 1, vec![PIECE, 1]),
        ] {
            let contents: Vec<u8> = (0..=250).cycle().take(size).collect();
            let mut source = StreamSource::new(io::Cursor::new(contents.clone()));
            let (mut all, mut pieces) = (Vec::new(), Vec::new());
            loop {
                let (piece, last) = sent(&mut source, all.len() as u64).await.unwrap();
                pieces.push(piece.len());
                all.extend(piece);
                if last {
                    break;
                }
            }
            assert_eq!(pieces, sizes);
            assert!(all == contents);
            let expected = HEXLOWER.encode(&Sha256::digest(&contents));
            assert_eq!(source.digest().await.unwrap(), (size as u64, expected));
        }
    }

    #[tokio::test]
    async fn a_piece_is_held_until_the_next_one() {
        let mut source = StreamSource::new(io::Cursor::new(vec![3; PIECE + 5]));
        assert!(source.rewinds());
        let (piece, last) = sent(&mut source, 0).await.unwrap();
        assert_eq!((piece.len(), last), (PIECE, false));
        assert_eq!(sent(&mut source, 100).await.unwrap().0.len(), PIECE - 100);
        assert_eq!(sent(&mut source, 0).await.unwrap().0.len(), PIECE);
        assert!(source.rewinds());
        let end = PIECE as u64;
        assert_eq!(sent(&mut source, end).await.unwrap(), (vec![3; 5], true));
        assert!(!source.rewinds());
        assert_eq!(sent(&mut source, end + 5).await.unwrap(), (vec![], true));
        for lost in [end - 1, end + 6] {
            let sent = sent(&mut source, lost).await;
            assert!(matches!(sent, Err(SourceError::Lost)));
        }
        let (size, digest) = source.digest().await.unwrap();
        assert_eq!(size, end + 5);
        assert_eq!(digest, HEXLOWER.encode(&Sha256::digest(vec![3; PIECE + 5])));
    }
}
