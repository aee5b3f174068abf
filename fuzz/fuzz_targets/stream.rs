//! Payloads: what was sealed opens to the same bytes, and changed in any way it does not open.
#![no_main]

use std::io::Cursor;
use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sealslot::seal::{
    self, FileKey, Header, Identity, PayloadLayout, SEALED_CHUNK_SIZE, StreamOpener,
};
use sealslot::upload::{AgeReader, seal_stream};

/// The identity of age's public test vectors.
static IDENTITY: LazyLock<[Identity; 1]> = LazyLock::new(|| {
    let key = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
    [Identity::X25519(key.parse().expect("a test identity"))]
});

/// A little more than what the streaming reader and writer hold at a time.
const MAX_PLAINTEXT: u32 = 10 * SEALED_CHUNK_SIZE as u32;

#[derive(Arbitrary, Debug)]
enum Change {
    Nothing,
    Flip { at: u32, bit: u8 },
    Cut { at: u32 },
    Remove { at: u32, size: u8 },
    Append(Vec<u8>),
    MoveChunk { from: u8, to: u8 },
    RepeatChunk { from: u8, to: u8 },
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    length: u64,
    plaintext: u32,
    /// Near a multiple of the chunk size, where the ends are.
    aligned: bool,
    change: Change,
    payload: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    check_layout(input.length);
    open_nonsense(input.payload);
    let size = if input.aligned {
        let chunks = input.plaintext / 8 % 10;
        (chunks * seal::CHUNK_SIZE as u32 + input.plaintext % 8).saturating_sub(4)
    } else {
        input.plaintext % MAX_PLAINTEXT
    };
    let plaintext: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
    check_file(&plaintext, &input.change);
});

fn check_layout(sealed: u64) {
    let Ok(layout) = PayloadLayout::of_sealed(sealed) else {
        return;
    };
    assert!(layout.chunks() > 0);
    assert!(layout.plaintext_size() < sealed);
    assert_eq!(layout.sealed_range(0).start, 0);
    let last = layout.sealed_range(layout.chunks() - 1);
    assert_eq!(last.end, sealed);
    assert!(!last.is_empty() && last.end - last.start <= SEALED_CHUNK_SIZE as u64);
}

fn open_nonsense(payload: &[u8]) {
    let file_key = FileKey::try_from([7; 16].as_slice()).expect("16 bytes");
    let mut opener = StreamOpener::new(&file_key, &[0; 16]);
    let at_end = payload.len().is_multiple_of(2);
    assert!(opener.open_next(&mut payload.to_vec(), at_end).is_err());
    assert!(opener.finish().is_err());
}

fn check_file(plaintext: &[u8], change: &Change) {
    let recipients = [IDENTITY[0].to_recipient().expect("a key at hand")];
    let input = Cursor::new(plaintext.to_vec());
    let sealed = seal_stream(input, Vec::new(), &recipients, false).expect("sealed");
    assert_eq!(sealed.size, plaintext.len() as u64);
    let file = sealed.output;
    let (_, start) = Header::parse(&file).expect("ours").expect("whole");
    let changed = apply(change, &file, start);
    let (streamed, in_memory) = (stream(&changed), seal::open(&changed, &*IDENTITY));
    if changed == file {
        assert!(streamed.expect("ours") == plaintext);
        assert!(**in_memory.as_ref().expect("ours") == plaintext);
    } else {
        assert!(streamed.is_none() && in_memory.is_err());
    }
}

fn apply(change: &Change, file: &[u8], start: usize) -> Vec<u8> {
    let place = |at: u32| at as usize % file.len();
    let mut changed = file.to_vec();
    match *change {
        Change::Nothing => {}
        Change::Flip { at, bit } => changed[place(at)] ^= 1 << (bit % 8),
        Change::Cut { at } => changed.truncate(place(at)),
        Change::Remove { at, size } => {
            let end = (place(at) + usize::from(size)).min(file.len());
            changed.drain(place(at)..end);
        }
        Change::Append(ref bytes) => changed.extend_from_slice(bytes),
        Change::MoveChunk { from, to } => {
            let mut chunks: Vec<_> = file[start..].chunks(SEALED_CHUNK_SIZE).collect();
            let chunk = chunks.remove(usize::from(from) % chunks.len());
            chunks.insert(usize::from(to) % (chunks.len() + 1), chunk);
            changed.splice(start.., chunks.concat());
        }
        Change::RepeatChunk { from, to } => {
            let mut chunks: Vec<_> = file[start..].chunks(SEALED_CHUNK_SIZE).collect();
            let chunk = chunks[usize::from(from) % chunks.len()];
            chunks.insert(usize::from(to) % (chunks.len() + 1), chunk);
            changed.splice(start.., chunks.concat());
        }
    }
    changed
}

fn stream(file: &[u8]) -> Option<Vec<u8>> {
    let mut reader = AgeReader::open(file, &*IDENTITY).ok()?;
    let mut plaintext = Vec::new();
    while let Some(chunk) = reader.next_chunk().ok()? {
        plaintext.extend_from_slice(chunk);
    }
    Some(plaintext)
}
