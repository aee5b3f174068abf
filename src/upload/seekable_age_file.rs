//! Parts of single age files.

use std::io;
use std::ops::Range;

use super::age_file::AgeFileError;
use super::open::ReadError;
use super::payload::{self, SeekError, SeekablePayload};
use crate::seal::{Identity, looks_armored};
use crate::store::{ReadAt, StoreError};

/// White space before armor, and the armor's first dashes.
const START: usize = 2048;

/// One age file that can be read anywhere, for parts of its plaintext: only the chunks that hold them are read, and the
/// last one, which says that the file ends where it seems to.
pub struct SeekableAgeFile {
    payload: SeekablePayload,
}

impl SeekableAgeFile {
    /// Reads the header and finds the file key. Blocks. What is armored has to be read from its start
    /// ([`AgeReader`](super::AgeReader)).
    pub fn open(file: Box<dyn ReadAt>, identities: &[Identity]) -> Result<Self, AgeFileError> {
        let mut start = [0; START];
        let size = file.read_at(&mut start, 0).map_err(read_failure)?;
        if looks_armored(&start[..size]) {
            return Err(AgeFileError::Armored);
        }
        let (header, start) = payload::read_header(&*file)?;
        let key = header.unwrap_file_key(identities)?;
        let payload = SeekablePayload::new(file, start, &key, header.nonce())?;
        Ok(Self { payload })
    }

    /// Bytes of plaintext, which the last chunk confirms: it is read now. Blocks.
    pub fn size(&mut self) -> Result<u64, AgeFileError> {
        self.payload.verify_end()?;
        Ok(self.payload.size())
    }

    /// The beginning of what lies at `range`, in bytes, at most a chunk of it. The range must not be empty, nor end behind
    /// the end. Blocks.
    pub fn piece(&mut self, range: Range<u64>) -> Result<&[u8], AgeFileError> {
        Ok(self.payload.piece(range)?)
    }
}

impl From<SeekError> for AgeFileError {
    fn from(error: SeekError) -> Self {
        match error {
            SeekError::Store(error) => read_failure(error),
            SeekError::Open(error) => Self::Open(error),
        }
    }
}

/// Where the file is the plaintext of an upload, the error is that of the upload.
fn read_failure(error: StoreError) -> AgeFileError {
    AgeFileError::Read(match error {
        StoreError::Io { source, .. }
            if source
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<ReadError>) =>
        {
            source
        }
        error => io::Error::other(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{self, ArmorEncoder, CHUNK_SIZE, OpenError};

    const IDENTITY: &str =
        "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
            let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
            let size = rest.len().min(buf.len());
            buf[..size].copy_from_slice(&rest[..size]);
            Ok(size)
        }
    }

    fn identity() -> Identity {
        Identity::X25519(IDENTITY.parse().unwrap())
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        seal::seal(&[identity().to_recipient().unwrap()], &[], plain).unwrap()
    }

    fn open(file: Vec<u8>) -> Result<SeekableAgeFile, AgeFileError> {
        SeekableAgeFile::open(Box::new(Bytes(file)), &[identity()])
    }

    #[test]
    fn a_part_is_that_of_the_whole() {
        let plain: Vec<u8> = (0..=250).cycle().take(2 * CHUNK_SIZE + 7).collect();
        let mut file = open(sealed(&plain)).unwrap();
        assert_eq!(file.size().unwrap(), plain.len() as u64);
        let (edge, end) = (CHUNK_SIZE as u64, plain.len() as u64);
        for (range, size) in [
            (0..1, 1),
            (edge - 1..edge + 1, 1),
            (edge..end, CHUNK_SIZE),
            (end - 3..end, 3),
        ] {
            let start = usize::try_from(range.start).unwrap();
            assert_eq!(file.piece(range).unwrap(), &plain[start..start + size]);
        }
        assert_eq!(open(sealed(b"")).unwrap().size().unwrap(), 0);
    }

    #[test]
    fn what_was_cut_off_has_no_size() {
        let whole = sealed(&vec![1; 2 * CHUNK_SIZE + 7]);
        for cut in [1, 7 + 16, 100] {
            let result = open(whole[..whole.len() - cut].to_vec()).and_then(|mut file| file.size());
            let error = result.unwrap_err();
            assert!(
                matches!(error, AgeFileError::Open(OpenError::Payload(_))),
                "{cut}: {error}"
            );
        }
    }

    #[test]
    fn armor_is_no_place_to_seek_in() {
        let (mut text, mut encoder) = (b"\r\n ".to_vec(), ArmorEncoder::new());
        encoder.push(&sealed(b"x"), &mut text);
        encoder.finish(&mut text);
        assert!(matches!(open(text), Err(AgeFileError::Armored)));
    }
}
