//! A record as it stands in the bucket: one line that makes every write differ from every other, and the record's bytes.
//!
//! ```text
//! sealslot-record 1 {nonce}\n{bytes}
//! sealslot-record 1 {nonce} removed\n
//! ```
//!
//! The nonce is 80 random bits, 16 characters of lowercase base32hex. With it equal bytes are one write, whose answer was lost, and a
//! record that is put back to what it once was has another `ETag`.

use bytes::{BufMut, Bytes, BytesMut};
use data_encoding::BASE32_DNSSEC;

use crate::store::MAX_RECORD;

const NAME: &[u8] = b"sealslot-record 1 ";
const NONCE_BYTES: usize = 10;
const NONCE_TEXT: usize = 16;
const REMOVED: &[u8] = b" removed\n";

/// Bytes of the largest envelope.
pub(super) const MAX_ENVELOPE: usize = NAME.len() + NONCE_TEXT + REMOVED.len() + MAX_RECORD;

/// What an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Envelope {
    Record(Bytes),
    /// It is gone, and its object is about to go.
    Removed,
}

impl Envelope {
    /// What an object says; `None` where it is none of ours.
    pub(super) fn parse(object: &Bytes) -> Option<Self> {
        let rest = object.strip_prefix(NAME)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_TEXT)?;
        let fits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'v');
        if !nonce.iter().all(fits) {
            return None;
        }
        if rest == REMOVED {
            return Some(Self::Removed);
        }
        let bytes = rest.strip_prefix(b"\n")?;
        Some(Self::Record(object.slice_ref(bytes)))
    }

    /// A new object that says this.
    ///
    /// # Panics
    /// Where the operating system has no randomness to give: no two writes may be the same.
    pub(super) fn write(record: Option<&[u8]>) -> Bytes {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system has randomness");
        let size = NAME.len() + NONCE_TEXT + REMOVED.len() + record.map_or(0, <[u8]>::len);
        let mut object = BytesMut::with_capacity(size);
        object.put_slice(NAME);
        object.put_slice(BASE32_DNSSEC.encode(&nonce).as_bytes());
        match record {
            Some(bytes) => {
                object.put_u8(b'\n');
                object.put_slice(bytes);
            }
            None => object.put_slice(REMOVED),
        }
        object.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_envelope_is_as_documented() {
        let nonce = "0123456789abcdev";
        let parse = |text: String| Envelope::parse(&Bytes::from(text));
        let record = |text: &'static str| Some(Envelope::Record(Bytes::from(text)));
        assert_eq!(
            parse(format!("sealslot-record 1 {nonce}\n{{}}")),
            record("{}")
        );
        assert_eq!(parse(format!("sealslot-record 1 {nonce}\n")), record(""));
        // A record may say anything.
        let like = parse(format!("sealslot-record 1 {nonce}\n removed\n"));
        assert_eq!(like, record(" removed\n"));
        let removed = parse(format!("sealslot-record 1 {nonce} removed\n"));
        assert_eq!(removed, Some(Envelope::Removed));
        for text in [
            String::new(),
            format!("sealslot-record 1 {nonce}"),
            format!("sealslot-record 2 {nonce}\n"),
            format!("sealslot-record 1 {nonce} removed"),
            format!("sealslot-record 1 {nonce} removed\nx"),
            format!("sealslot-record 1 {}\n", nonce.to_uppercase()),
            format!("sealslot-record 1 {}\n", &nonce[1..]),
        ] {
            assert_eq!(parse(text.clone()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: Vec<u8>) {
            let object = Envelope::write(Some(&bytes));
            prop_assert!(object.len() <= MAX_ENVELOPE - MAX_RECORD + bytes.len());
            prop_assert_ne!(&object, &Envelope::write(Some(&bytes)));
            prop_assert_eq!(Envelope::parse(&object), Some(Envelope::Record(bytes.into())));
            prop_assert_eq!(Envelope::parse(&Envelope::write(None)), Some(Envelope::Removed));
        }

        #[test]
        fn no_object_makes_parsing_panic(bytes: Vec<u8>) {
            let mut near = b"sealslot-record 1 ".to_vec();
            near.extend(&bytes);
            let _ = Envelope::parse(&near.into());
            let _ = Envelope::parse(&bytes.into());
        }
    }
}
