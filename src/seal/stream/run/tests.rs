#![expect(
    clippy::cast_possible_truncation,
    reason = "test data of a few MiB at the most"
)]

use std::thread;

use proptest::prelude::*;

use super::*;
use crate::seal::{CHUNK_SIZE, FileKey, NONCE_SIZE, TAG_SIZE};

const NONCE: [u8; NONCE_SIZE] = [7; NONCE_SIZE];
/// Chunks in a run.
const CHUNKS: usize = 3;
const RUN: usize = CHUNKS * CHUNK_SIZE;

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// What one sealer gives that seals a chunk after the other.
fn in_sequence(key: &FileKey, plaintext: &[u8]) -> Vec<u8> {
    let mut sealer = PayloadSealer::new(key, &NONCE);
    let mut buffer = ChunkBuffer::new(1);
    let (mut rest, mut file) = (plaintext, Vec::new());
    loop {
        buffer.fill(&mut rest);
        if rest.is_empty() {
            file.extend_from_slice(buffer.seal_last(sealer).unwrap());
            return file;
        }
        file.extend_from_slice(buffer.seal(&mut sealer).unwrap());
    }
}

/// The same by tickets that are sealed on threads, the last one first.
fn by_tickets(key: &FileKey, plaintext: &[u8]) -> Vec<u8> {
    let mut sealer = PayloadSealer::new(key, &NONCE);
    let mut rest = plaintext;
    let mut tickets = Vec::new();
    loop {
        let mut buffer = ChunkBuffer::new(CHUNKS);
        buffer.fill(&mut rest);
        if rest.is_empty() {
            tickets.push((sealer.last_ticket(), buffer));
            break;
        }
        tickets.push((sealer.ticket(&buffer).unwrap(), buffer));
    }
    let seal = |(ticket, mut buffer): (SealTicket, ChunkBuffer)| {
        thread::spawn(move || ticket.seal(&mut buffer).unwrap().to_vec())
    };
    let threads: Vec<_> = tickets.into_iter().rev().map(seal).collect();
    let runs = threads.into_iter().rev().map(|one| one.join().unwrap());
    runs.collect::<Vec<_>>().concat()
}

type Outcome = (Vec<u8>, Result<(), PayloadError>);

fn opened_in_sequence(key: &FileKey, sealed: &[u8]) -> Outcome {
    let mut opener = StreamOpener::new(key, &NONCE);
    let (mut sealed, mut plaintext) = (sealed.to_vec(), Vec::new());
    let count = sealed.len().div_ceil(SEALED_CHUNK_SIZE);
    for (index, chunk) in sealed.chunks_mut(SEALED_CHUNK_SIZE).enumerate() {
        match opener.open_next(chunk, index + 1 == count) {
            Ok(text) => plaintext.extend_from_slice(text),
            Err(error) => return (plaintext, Err(error)),
        }
    }
    (plaintext, opener.finish())
}

/// The same in runs, the last one opened first.
fn opened_in_runs(key: &FileKey, sealed: &[u8]) -> Outcome {
    let opener = PayloadOpener::new(key, &NONCE);
    let mut sealed = sealed.to_vec();
    let count = sealed.len().div_ceil(CHUNKS * SEALED_CHUNK_SIZE);
    let runs = sealed.chunks_mut(CHUNKS * SEALED_CHUNK_SIZE).enumerate();
    let open = |(index, run)| opener.open_run((index * CHUNKS) as u64, run, index + 1 == count);
    let latest_first: Vec<_> = runs.rev().map(open).collect();
    let mut order = RunOrder::new();
    let mut plaintext = Vec::new();
    for run in latest_first.into_iter().rev() {
        let (chunks, outcome) = order.accept(run);
        plaintext.extend(chunks.concat());
        if outcome.is_err() {
            return (plaintext, outcome);
        }
    }
    (plaintext, order.finish())
}

/// A size near a border of a chunk or a run.
fn size() -> impl Strategy<Value = usize> {
    (0..=7_usize, -20..=20_isize)
        .prop_map(|(chunk, offset)| (chunk * CHUNK_SIZE).saturating_add_signed(offset))
}

/// What may happen to a payload.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index),
    Cut(prop::sample::Index),
    CutAtChunk(usize),
    Swap(usize, usize),
    Repeat(usize),
    Trail(usize),
    Join,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Damage::Flip),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (0..8_usize).prop_map(Damage::CutAtChunk),
        (0..8_usize, 0..8_usize).prop_map(|(one, other)| Damage::Swap(one, other)),
        (0..8_usize).prop_map(Damage::Repeat),
        prop_oneof![1..40_usize, Just(SEALED_CHUNK_SIZE)].prop_map(Damage::Trail),
        Just(Damage::Join),
    ]
}

fn damaged(sealed: &[u8], damage: &Damage) -> Vec<u8> {
    let mut chunks: Vec<_> = sealed
        .chunks(SEALED_CHUNK_SIZE)
        .map(<[u8]>::to_vec)
        .collect();
    let count = chunks.len();
    match damage {
        Damage::Flip(at) => {
            let at = at.index(sealed.len());
            chunks[at / SEALED_CHUNK_SIZE][at % SEALED_CHUNK_SIZE] ^= 1;
        }
        Damage::Cut(at) => return sealed[..at.index(sealed.len())].to_vec(),
        Damage::CutAtChunk(at) => chunks.truncate(at % count),
        Damage::Swap(one, other) => chunks.swap(one % count, other % count),
        Damage::Repeat(at) => chunks.insert(at % count, chunks[at % count].clone()),
        Damage::Trail(size) => chunks.push(vec![0; *size]),
        Damage::Join => chunks.push(sealed.to_vec()),
    }
    chunks.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn tickets_seal_what_one_sealer_seals(size in size()) {
        let key = FileKey::generate().unwrap();
        let plaintext = pattern(size);
        let sealed = by_tickets(&key, &plaintext);
        prop_assert!(sealed == in_sequence(&key, &plaintext));
        let (opened, outcome) = opened_in_runs(&key, &sealed);
        prop_assert_eq!(outcome, Ok(()));
        prop_assert!(opened == plaintext);
    }

    #[test]
    fn runs_open_like_one_opener_whatever_happened(size in size(), damage in damage()) {
        let key = FileKey::generate().unwrap();
        let sealed = damaged(&in_sequence(&key, &pattern(size)), &damage);
        let (expected, found) = (opened_in_sequence(&key, &sealed), opened_in_runs(&key, &sealed));
        prop_assert_eq!(expected.1, found.1);
        prop_assert!(expected.0 == found.0);
    }
}

#[test]
fn what_ends_early_is_not_gone_on_with() {
    let key = FileKey::generate().unwrap();
    // The last chunk of one payload at each place of a run, and another payload's behind it.
    for chunks in 1..=2 * CHUNKS {
        let ended = in_sequence(&key, &pattern(chunks * CHUNK_SIZE));
        let sealed = [&ended[..], &ended[..]].concat();
        let (plaintext, outcome) = opened_in_runs(&key, &sealed);
        assert_eq!(outcome, Err(PayloadError::Trailing), "{chunks}");
        assert_eq!(plaintext.len(), chunks * CHUNK_SIZE);
        assert_eq!(opened_in_sequence(&key, &sealed), (plaintext, outcome));
    }
}

#[test]
#[should_panic(expected = "a ticket is for its chunks alone")]
fn a_ticket_seals_no_more_chunks_than_it_was_given_out_for() {
    let key = FileKey::generate().unwrap();
    let mut sealer = PayloadSealer::new(&key, &NONCE);
    let full = |chunks| {
        let mut buffer = ChunkBuffer::new(chunks);
        buffer.fill(&mut &vec![0; chunks * CHUNK_SIZE][..]);
        buffer
    };
    let ticket = sealer.ticket(&full(1)).unwrap();
    let _ = ticket.seal(&mut full(2)).map(|_| ());
}

#[test]
#[should_panic(expected = "only the last chunk may be short")]
fn a_short_run_in_the_middle_gets_no_ticket() {
    let key = FileKey::generate().unwrap();
    let mut buffer = ChunkBuffer::new(CHUNKS);
    buffer.fill(&mut &vec![0; RUN - 1][..]);
    let _ = PayloadSealer::new(&key, &NONCE).ticket(&buffer);
}

#[test]
#[should_panic(expected = "runs are accepted in their order")]
fn a_run_is_not_accepted_before_those_in_front_of_it() {
    let key = FileKey::generate().unwrap();
    let mut sealed = in_sequence(&key, &pattern(RUN + 1));
    let at = CHUNKS * SEALED_CHUNK_SIZE;
    let opener = PayloadOpener::new(&key, &NONCE);
    let run = opener.open_run(CHUNKS as u64, &mut sealed[at..], true);
    RunOrder::new().accept(run).1.unwrap();
}

#[test]
fn an_empty_payload_is_one_chunk_and_nothing_is_none() {
    let key = FileKey::generate().unwrap();
    let sealed = by_tickets(&key, b"");
    assert_eq!(sealed.len(), TAG_SIZE);
    assert_eq!(opened_in_runs(&key, &sealed), (Vec::new(), Ok(())));
    let outcome = opened_in_runs(&key, b"");
    assert_eq!(outcome, (Vec::new(), Err(PayloadError::Truncated)));
}
