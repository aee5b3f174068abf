//! Identity files that are protected by a passphrase in the way of age: an age file with the identities in it.

use zeroize::Zeroizing;

use super::text::SEALED;
use super::{KeyError, Place};
use crate::seal::{
    self, ArmorDecoder, ArmorEncoder, Header, HeaderError, Identity, OpenError, scrypt,
};

const BINARY: &[u8] = b"age-encryption.org/";
const ARMORED: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// Whether a file is sealed, and not identities as they are.
pub(super) fn is_sealed(file: &[u8]) -> bool {
    file.starts_with(BINARY) || file.trim_ascii_start().starts_with(ARMORED)
}

/// Opens it with the passphrase, which is asked for only where one is of use.
pub(super) fn open(
    file: &[u8],
    place: &Place,
    expected: &'static str,
    passphrase: &mut dyn FnMut() -> Result<Zeroizing<String>, KeyError>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let sealed = |source| KeyError::Sealed {
        place: place.clone(),
        source,
    };
    let binary = binary(file).map_err(sealed)?;
    let header = Header::parse(&binary)
        .and_then(|parsed| parsed.ok_or(HeaderError::Truncated))
        .map_err(|error| sealed(error.into()))?;
    let (header, _) = header;
    if !header.stanzas().iter().any(scrypt::is_type_of) {
        return Err(KeyError::Unsupported {
            place: place.clone(),
            found: SEALED.to_owned(),
            expected,
        });
    }
    let identity = scrypt::Identity::new(passphrase()?);
    let opened = seal::open(&binary, &[Identity::External(Box::new(identity))]);
    opened.map_err(|error| match error {
        OpenError::NoMatch => KeyError::WrongPassphrase {
            place: place.clone(),
        },
        error => sealed(error),
    })
}

/// Seals identities with a passphrase, as text.
pub(super) fn seal(identities: &str, passphrase: &str) -> Result<Vec<u8>, seal::SealError> {
    let sealed = seal::seal_with_passphrase(passphrase, identities.as_bytes())?;
    let mut text = Vec::new();
    let mut encoder = ArmorEncoder::new();
    encoder.push(&sealed, &mut text);
    encoder.finish(&mut text);
    Ok(text)
}

fn binary(file: &[u8]) -> Result<Vec<u8>, OpenError> {
    if file.starts_with(BINARY) {
        return Ok(file.to_vec());
    }
    let mut bytes = Vec::new();
    let mut decoder = ArmorDecoder::new();
    decoder.push(file, &mut bytes)?;
    decoder.finish(&mut bytes)?;
    Ok(bytes)
}
