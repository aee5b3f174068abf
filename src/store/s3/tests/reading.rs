//! Segments of several parts, read back in every way.

use super::*;
use crate::store::s3::side_by_side::side_by_side;

pub(super) fn read_in_any_way(place: &InBucket) {
    let whole = bytes(20 * MIB + 12_345);
    // With memory to spare, and with none.
    for memory in [0, 256 * MIB as u64] {
        let store = place.store_within(memory);
        let id = new_id();
        let segment = stage(&store, &id, 0, &whole);
        settles(|| in_folder(&store, &id) == ["0000.age"]);
        publish(&store, &id, &[segment]);
        let upload = store.open(&id).unwrap();
        let open = || upload.open(SealedFile::Segment(0)).unwrap();
        assert_eq!(open().len(), whole.len() as u64);
        for piece in [65_552, MIB, 3 * MIB + 1] {
            in_order(&*open(), &whole, piece);
        }
        let before = store.bucket.requests().get;
        in_order(&*open(), &whole, 256 << 10);
        let asked = store.bucket.requests().get - before;
        let most = if memory == 0 { 23 } else { 8 };
        assert!(asked <= most, "{asked} requests");
        let once = open();
        once.read_once(0);
        in_order(&*once, &whole, 256 << 10);
        here_and_there(&*open(), &whole);
        drop(once);
        settles(|| store.memory.try_take(memory).is_some());
    }
}

/// With memory for one part more, all of them come to their ends, and it comes back.
pub(super) fn several_are_written_at_once(place: &InBucket) {
    let memory = 8 * MIB as u64;
    let store = place.store_within(memory);
    let sizes = [0, 1, 8 * MIB, 8 * MIB + 1, 16 * MIB, 21 * MIB];
    let id = new_id();
    let numbered: Vec<_> = (0..).zip(sizes).collect();
    let names = side_by_side(&numbered, |(number, size)| {
        stage(&store, &id, *number, &bytes(*size))
    });
    publish(&store, &id, &names);
    let upload = store.open(&id).unwrap();
    for (number, size) in numbered {
        assert!(read(&*upload, number).unwrap() == bytes(size), "{size}");
    }
    settles(|| store.memory.try_take(memory).is_some());
}

fn in_order(file: &dyn ReadAt, whole: &[u8], piece: usize) {
    let mut buf = vec![0; piece];
    let mut at = 0;
    for expected in whole.chunks(piece) {
        let read = file.read_at(&mut buf, at).unwrap();
        assert!(buf[..read] == *expected, "{piece} from {at}");
        at += read as u64;
    }
    assert_eq!(file.read_at(&mut buf, at).unwrap(), 0);
}

fn here_and_there(file: &dyn ReadAt, whole: &[u8]) {
    let mut at = 7;
    for round in 0..60 {
        // A walk that comes everywhere, forwards and backwards, over the edges of windows and the end.
        at = (at * 69_069 + 12_345) % (whole.len() + 100_000);
        let mut buf = vec![0; [1, 100, 65_536, 200_000][round % 4]];
        let read = file.read_at(&mut buf, at as u64).unwrap();
        let expected = whole.get(at..).unwrap_or_default();
        let expected = &expected[..expected.len().min(buf.len())];
        assert!(buf[..read] == *expected, "{} from {at}", buf.len());
    }
}
