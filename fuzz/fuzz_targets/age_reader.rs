//! Opening any bytes as an age file: the reader that streams and the one in memory agree.
#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use sealslot::seal::{self, ArmorDecoder, Identity, looks_armored};
use sealslot::upload::AgeReader;

/// The identity of age's public test vectors.
const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, file) = input;
    let identities = [Identity::X25519(IDENTITY.parse().expect("a test identity"))];
    let input = Pieces {
        rest: file,
        size: usize::from(piece) + 1,
    };
    assert_eq!(stream(input, &identities), in_memory(file, &identities));
});

fn stream(input: Pieces<'_>, identities: &[Identity]) -> Option<Vec<u8>> {
    let mut reader = AgeReader::open(input, identities).ok()?;
    let mut plaintext = Vec::new();
    while let Some(chunk) = reader.next_chunk().ok()? {
        plaintext.extend_from_slice(chunk);
    }
    Some(plaintext)
}

fn in_memory(file: &[u8], identities: &[Identity]) -> Option<Vec<u8>> {
    let mut binary = Vec::new();
    if looks_armored(file) {
        let mut decoder = ArmorDecoder::new();
        decoder.push(file, &mut binary).ok()?;
        decoder.finish(&mut binary).ok()?;
    } else {
        binary.extend_from_slice(file);
    }
    Some(seal::open(&binary, identities).ok()?.to_vec())
}

/// A source that gives a few bytes at a time.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(into.len());
        self.rest.read(&mut into[..size])
    }
}
