//! Segments of several parts, read back in every way.

use super::*;

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
        let once = open();
        once.read_once(0);
        in_order(&*once, &whole, 256 << 10);
        here_and_there(&*open(), &whole);
        drop(once);
        settles(|| store.memory.try_take(memory).is_some());
    }
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
