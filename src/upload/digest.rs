//! Digests: of an upload, running over all its segments, and of what one request brings.

use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// An algorithm that a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// SHA-1. It finds damage; against intent it is worth nothing.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// CRC-32C, its four bytes in network order.
    Crc32c,
}

/// What a client says that a digest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedDigest {
    /// Computed with this.
    pub algorithm: Algorithm,
    /// The digest's bytes.
    pub value: Vec<u8>,
}

impl ExpectedDigest {
    /// Compares in constant time, because it costs nothing to.
    pub fn is(&self, value: &[u8]) -> bool {
        self.value.ct_eq(value).into()
    }
}

/// A digest in the making, of what one request brings.
#[derive(Clone)]
pub struct RunningDigest(Running);

#[derive(Clone)]
enum Running {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Crc32c(Box<CrcDigest>),
}

impl RunningDigest {
    /// Of nothing so far.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha1 => Running::Sha1(Sha1::new()),
            Algorithm::Sha256 => Running::Sha256(Sha256::new()),
            Algorithm::Sha512 => Running::Sha512(Sha512::new()),
            Algorithm::Crc32c => {
                Running::Crc32c(Box::new(CrcDigest::new(CrcAlgorithm::Crc32Iscsi)))
            }
        })
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            Running::Sha1(digest) => digest.update(data),
            Running::Sha256(digest) => digest.update(data),
            Running::Sha512(digest) => digest.update(data),
            Running::Crc32c(digest) => digest.update(data),
        }
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            Running::Sha1(digest) => digest.finalize().to_vec(),
            Running::Sha256(digest) => digest.finalize().to_vec(),
            Running::Sha512(digest) => digest.finalize().to_vec(),
            // It has 32 bits, in the lower half of what is given.
            Running::Crc32c(digest) => digest.finalize().to_be_bytes()[4..].to_vec(),
        }
    }
}

/// The digests of an upload so far: SHA-256 always, SHA-512 where the client asked for it, because it costs as much again.
#[derive(Clone)]
pub(super) struct Digests {
    sha256: Sha256,
    sha512: Option<Sha512>,
}

/// [`Digests`] that are complete.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Digested {
    #[serde(with = "bytes_base64")]
    pub(super) sha256: Vec<u8>,
    #[serde(default, with = "bytes_base64", skip_serializing_if = "Vec::is_empty")]
    pub(super) sha512: Vec<u8>,
}

impl Digests {
    pub(super) fn new(with_sha512: bool) -> Self {
        Self {
            sha256: Sha256::new(),
            sha512: with_sha512.then(Sha512::new),
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        self.sha256.update(data);
        if let Some(digest) = &mut self.sha512 {
            digest.update(data);
        }
    }

    pub(super) fn finish(self) -> Digested {
        Digested {
            sha256: self.sha256.finalize().to_vec(),
            sha512: self
                .sha512
                .map_or_else(Vec::new, |digest| digest.finalize().to_vec()),
        }
    }

    pub(super) fn to_state(&self) -> DigestState {
        DigestState {
            sha256: self.sha256.serialize().to_vec(),
            sha512: self
                .sha512
                .as_ref()
                .map(|digest| digest.serialize().to_vec()),
        }
    }
}

impl Digested {
    /// The digest by an algorithm, if it was computed.
    pub(super) fn by(&self, algorithm: Algorithm) -> Option<&[u8]> {
        match algorithm {
            Algorithm::Sha256 => Some(&self.sha256),
            Algorithm::Sha512 if !self.sha512.is_empty() => Some(&self.sha512),
            _ => None,
        }
    }
}

/// Running digests as they are kept between requests. They hold up to 127 bytes of plaintext: only ever sealed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DigestState {
    #[serde(with = "bytes_base64")]
    sha256: Vec<u8>,
    #[serde(
        default,
        with = "option_base64",
        skip_serializing_if = "Option::is_none"
    )]
    sha512: Option<Vec<u8>>,
}

impl DigestState {
    /// Goes on where it stopped; `None` for what is no state.
    pub(super) fn resume(&self) -> Option<Digests> {
        Some(Digests {
            sha256: resume(&self.sha256)?,
            sha512: match &self.sha512 {
                Some(state) => Some(resume(state)?),
                None => None,
            },
        })
    }
}

impl Drop for DigestState {
    fn drop(&mut self) {
        self.sha256.zeroize();
        self.sha512.zeroize();
    }
}

fn resume<D: SerializableState>(state: &[u8]) -> Option<D> {
    let state = SerializedState::<D>::try_from(state).ok()?;
    D::deserialize(&state).ok()
}

pub(super) mod bytes_base64 {
    use super::{BASE64, Zeroizing};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::upload) fn serialize<S: Serializer>(
        bytes: &[u8],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(BASE64.encode(bytes)))
    }

    pub(in crate::upload) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        BASE64
            .decode(text.as_bytes())
            .map_err(|_| de::Error::custom("not base64"))
    }
}

mod option_base64 {
    use super::bytes_base64;
    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => bytes_base64::serialize(bytes, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        bytes_base64::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    fn digest(algorithm: Algorithm, data: &[u8]) -> String {
        let mut running = RunningDigest::new(algorithm);
        running.update(data);
        HEXLOWER.encode(&running.finish())
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        assert_eq!(
            digest(Algorithm::Sha1, b"abc"),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert!(digest(Algorithm::Sha256, b"abc").starts_with("ba7816bf8f01cfea"));
        assert!(digest(Algorithm::Sha512, b"abc").starts_with("ddaf35a193617aba"));
        // RFC 3720, appendix B.4: 32 bytes of zeros.
        assert_eq!(digest(Algorithm::Crc32c, &[0; 32]), "8a9136aa");
    }

    proptest! {
        #[test]
        fn a_digest_goes_on_where_it_stopped(before: Vec<u8>, after: Vec<u8>, with_sha512: bool) {
            let mut digests = Digests::new(with_sha512);
            digests.update(&before);
            let json = serde_json::to_vec(&digests.to_state()).unwrap();
            let state: DigestState = serde_json::from_slice(&json).unwrap();
            let mut resumed = state.resume().unwrap();
            resumed.update(&after);
            let all = [before, after].concat();
            let digested = resumed.finish();
            prop_assert_eq!(&digested.sha256[..], &Sha256::digest(&all)[..]);
            if with_sha512 {
                prop_assert_eq!(&digested.sha512[..], &Sha512::digest(&all)[..]);
            } else {
                prop_assert_eq!(digested.by(Algorithm::Sha512), None);
            }
        }

        #[test]
        fn what_is_no_state_is_refused(sha256: Vec<u8>) {
            let state = DigestState { sha256, sha512: None };
            let _ = state.resume();
        }
    }
}
