//! Ranges against the plain bytes, and what is read for them.

use std::io::Read;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::seal::{
    self, Begun, CHUNK_SIZE, ChunkBuffer, OpenError, PayloadError, SEALED_CHUNK_SIZE, TAG_SIZE,
};
use crate::store::{SealedUpload, UploadId};
use crate::upload::{Kind, Manifest, SegmentEntry, VERSION};

const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
/// Of a header, so much is read at once.
const HEADER_READ: u64 = 4096;

/// Bytes without a pattern that chunks could share.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_u32;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    bytes.take(20 * 3 * CHUNK_SIZE).collect()
});

/// What was read: of which segment, and which of its bytes.
type Reads = Arc<Mutex<Vec<(u32, Range<u64>)>>>;

/// Segments in memory that note every read.
struct Noting {
    segments: Vec<Arc<Vec<u8>>>,
    reads: Reads,
}

impl SealedUpload for Noting {
    fn files(&self) -> Result<Vec<SealedFile>, StoreError> {
        unreachable!("the manifest is there already")
    }

    fn open(&self, file: SealedFile) -> Result<Box<dyn ReadAt>, StoreError> {
        let SealedFile::Segment(number) = file else {
            unreachable!("the manifest is there already");
        };
        Ok(Box::new(NotingFile {
            number,
            bytes: Arc::clone(&self.segments[number as usize]),
            reads: Arc::clone(&self.reads),
        }))
    }
}

struct NotingFile {
    number: u32,
    bytes: Arc<Vec<u8>>,
    reads: Reads,
}

impl ReadAt for NotingFile {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let start = usize::try_from(offset).unwrap();
        let size = buf.len().min(self.bytes.len() - start);
        buf[..size].copy_from_slice(&self.bytes[start..start + size]);
        let read = offset..offset + size as u64;
        self.reads.lock().unwrap().push((self.number, read));
        Ok(size)
    }
}

/// An upload in segments of these sizes.
struct Upload {
    plain: Vec<u8>,
    sizes: Vec<usize>,
    segments: Vec<Arc<Vec<u8>>>,
    /// Where the payload begins in each segment.
    starts: Vec<u64>,
    manifest: Manifest,
    reads: Reads,
}

impl Upload {
    fn new(sizes: &[usize]) -> Self {
        let identity = seal::Identity::X25519(IDENTITY.parse().unwrap());
        let plain = CONTENT[..sizes.iter().sum()].to_vec();
        let (mut segments, mut starts, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = &plain[..];
        for size in sizes {
            let begun = seal::begin(&[identity.to_recipient().unwrap()], &[]).unwrap();
            let Begun {
                prefix,
                sealer,
                file_key,
            } = begun;
            let mut buffer = ChunkBuffer::new(size.div_ceil(CHUNK_SIZE));
            let (mut data, after) = rest.split_at(*size);
            buffer.fill(&mut data);
            starts.push(prefix.len() as u64);
            segments.push(Arc::new(
                [&prefix, buffer.seal_last(sealer).unwrap()].concat(),
            ));
            entries.push(SegmentEntry {
                size: *size as u64,
                key: file_key,
            });
            rest = after;
        }
        let id = UploadId::generate(SystemTime::now());
        let manifest = Manifest {
            v: VERSION,
            id,
            submission: id,
            kind: Kind::File,
            name: None,
            name_bytes: None,
            media_type: None,
            size: plain.len() as u64,
            sha256: String::new(),
            time: SystemTime::now(),
            metadata: Vec::new(),
            segments: entries,
        };
        Self {
            plain,
            sizes: sizes.to_vec(),
            segments,
            starts,
            manifest,
            reads: Arc::default(),
        }
    }

    fn open(&self) -> Plaintext {
        self.opened().plaintext(0..0)
    }

    fn opened(&self) -> Arc<OpenUpload> {
        let manifest = serde_json::to_vec(&self.manifest).unwrap();
        let sealed = Noting {
            segments: self.segments.clone(),
            reads: Arc::clone(&self.reads),
        };
        let upload =
            OpenUpload::staged(serde_json::from_slice(&manifest).unwrap(), Box::new(sealed));
        Arc::new(upload)
    }

    /// What may be read for a range: headers, the chunks that hold it, and the last chunk of a segment that is left early.
    fn may_be_read(&self, range: &Range<u64>) -> Vec<(u32, Range<u64>)> {
        let mut may = Vec::new();
        let mut start = 0;
        for (number, size) in (0..).zip(&self.sizes) {
            let place = start..start + *size as u64;
            start = place.end;
            let within = range.start.max(place.start)..range.end.min(place.end);
            if within.is_empty() {
                continue;
            }
            let payload = self.starts[number as usize];
            let chunks = size.div_ceil(CHUNK_SIZE) as u64;
            let chunk = |byte: u64| (byte - place.start) / CHUNK_SIZE as u64;
            let end = self.segments[number as usize].len() as u64;
            let at = |chunk: u64| (payload + chunk * SEALED_CHUNK_SIZE as u64).min(end);
            may.push((number, 0..HEADER_READ));
            may.push((
                number,
                at(chunk(within.start))..at(chunk(within.end - 1) + 1),
            ));
            may.push((number, at(chunks - 1)..end));
        }
        may
    }
}

fn read(plaintext: &mut Plaintext, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
    plaintext.seek(range);
    let mut bytes = Vec::new();
    while let Some(piece) = plaintext.next_piece()? {
        assert!(!piece.is_empty() && piece.len() <= CHUNK_SIZE);
        bytes.extend_from_slice(piece);
    }
    assert_eq!(plaintext.remaining(), 0);
    Ok(bytes)
}

/// The same in batches of pieces.
fn read_in_batches(plaintext: &mut Plaintext, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
    plaintext.seek(range);
    let mut bytes = Vec::new();
    loop {
        let pieces = plaintext.next_pieces(2)?;
        if pieces.is_empty() {
            break;
        }
        assert!(pieces.len() <= 2);
        for piece in pieces {
            assert!(!piece.is_empty() && piece.len() <= CHUNK_SIZE);
            bytes.extend_from_slice(&piece);
        }
    }
    assert_eq!(plaintext.remaining(), 0);
    Ok(bytes)
}

fn slice(plain: &[u8], range: &Range<u64>) -> Vec<u8> {
    let cut = |at: u64| usize::try_from(at).unwrap().min(plain.len());
    plain[cut(range.start)..cut(range.end).max(cut(range.start))].to_vec()
}

/// Up to 20 segments, most of them ending near the end of a chunk.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![
        4 => (0..2usize, -1..=1isize).prop_map(|(chunks, around)| {
            (chunks * CHUNK_SIZE).saturating_add_signed(around).max(1)
        }),
        1 => 1..3 * CHUNK_SIZE,
    ];
    proptest::collection::vec(size, 1..=20)
}

/// Ranges that begin and end near boundaries of chunks and segments, and behind the end.
fn ranges_of(sizes: &[usize]) -> impl Strategy<Value = Vec<Range<u64>>> + use<> {
    let mut edges = vec![0];
    let mut start = 0;
    for size in sizes {
        edges.extend((0..*size).step_by(CHUNK_SIZE).map(|chunk| start + chunk));
        start += size;
        edges.push(start);
    }
    let end = start as u64 + 10;
    let near = (0..edges.len(), -1..=1i64)
        .prop_map(move |(edge, around)| (edges[edge] as u64).saturating_add_signed(around));
    let place = prop_oneof![3 => near, 1 => 0..end];
    let range = (place.clone(), place).prop_map(|(one, other)| one.min(other)..one.max(other));
    proptest::collection::vec(range, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_ranges_of_any_segments_are_those_of_the_plain_bytes(
        (sizes, ranges) in sizes().prop_flat_map(|sizes| {
            let ranges = ranges_of(&sizes);
            (Just(sizes), ranges)
        }),
    ) {
        let upload = Upload::new(&sizes);
        let mut opened = upload.open();
        for range in &ranges {
            let bytes = read(&mut opened, range.clone()).unwrap();
            prop_assert!(bytes == slice(&upload.plain, range), "{range:?}");
            let batches = read_in_batches(&mut opened, range.clone()).unwrap();
            prop_assert!(batches == bytes, "{range:?}");
            let may = upload.may_be_read(range);
            for (number, read) in upload.reads.lock().unwrap().drain(..) {
                let allowed = may.iter().any(|(of, may)| {
                    *of == number && may.start <= read.start && read.end <= may.end
                });
                prop_assert!(allowed, "{range:?} read {read:?} of segment {number}");
            }
        }
        // And at any place, as the inner layer of what a client sealed is read.
        let at = PlaintextAt::from(opened);
        prop_assert_eq!(at.len(), upload.plain.len() as u64);
        for range in &ranges {
            let mut buffer = vec![0; usize::try_from(range.end - range.start).unwrap()];
            let size = at.read_at(&mut buffer, range.start).unwrap();
            prop_assert!(buffer[..size] == slice(&upload.plain, range)[..]);
        }
    }
}

#[test]
fn a_byte_in_the_middle_takes_its_chunk_the_header_and_the_last_chunk() {
    let upload = Upload::new(&[10 * CHUNK_SIZE, 10 * CHUNK_SIZE + 5, CHUNK_SIZE]);
    let mut opened = upload.open();
    let taken = || std::mem::take(&mut *upload.reads.lock().unwrap());
    let size = |reads: &[(u32, Range<u64>)]| -> u64 {
        reads.iter().map(|(_, read)| read.end - read.start).sum()
    };
    let byte = (14 * CHUNK_SIZE) as u64;
    read(&mut opened, byte..byte + 1).unwrap();
    let reads = taken();
    assert!(reads.iter().all(|(number, _)| *number == 1));
    let last = 5 + TAG_SIZE as u64;
    assert_eq!(size(&reads), HEADER_READ + last + SEALED_CHUNK_SIZE as u64);
    // The next byte of the chunk takes nothing more.
    read(&mut opened, byte + 100..byte + 101).unwrap();
    assert_eq!(taken(), []);
    // Nor does another chunk of the segment take its header or its last chunk again.
    read(&mut opened, byte - 1..byte).unwrap();
    assert_eq!(size(&taken()), SEALED_CHUNK_SIZE as u64);
    // To the end of a segment, the last chunk is read once.
    let end = (20 * CHUNK_SIZE) as u64 + 5;
    read(&mut upload.open(), end - 6..end).unwrap();
    assert_eq!(
        size(&taken()),
        HEADER_READ + SEALED_CHUNK_SIZE as u64 + last
    );
    // All of it is read once.
    let (plain, sealed) = (
        &upload.plain,
        upload.segments.iter().map(|segment| segment.len()),
    );
    assert!(read(&mut upload.open(), 0..u64::MAX).unwrap() == *plain);
    let headers = upload
        .starts
        .iter()
        .map(|start| HEADER_READ - start)
        .sum::<u64>();
    assert_eq!(size(&taken()), sealed.sum::<usize>() as u64 + headers);
}

#[test]
fn the_end_of_a_segment_is_looked_at_once_for_all_who_read_the_same_manifest() {
    let mut upload = Upload::new(&[10 * CHUNK_SIZE, 10 * CHUNK_SIZE]);
    let byte = (3 * CHUNK_SIZE) as u64;
    let opened = upload.opened();
    let taken = |plaintext: &mut Plaintext| -> u64 {
        assert_eq!(
            read_in_batches(plaintext, byte..byte + 1).unwrap(),
            [upload.plain[3 * CHUNK_SIZE]]
        );
        let reads = std::mem::take(&mut *upload.reads.lock().unwrap());
        reads.iter().map(|(_, read)| read.end - read.start).sum()
    };
    let chunk = SEALED_CHUNK_SIZE as u64;
    assert_eq!(taken(&mut opened.plaintext(0..0)), HEADER_READ + 2 * chunk);
    assert_eq!(taken(&mut opened.plaintext(0..0)), HEADER_READ + chunk);
    // Of each segment for itself, and of each manifest that is opened.
    assert!(opened.opened().has_seen_end_of(0));
    assert!(!opened.opened().has_seen_end_of(1));
    assert_eq!(taken(&mut upload.open()), HEADER_READ + 2 * chunk);
    // What does not open was not seen.
    let mut damaged = upload.segments[1].to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    upload.segments[1] = Arc::new(damaged);
    let opened = upload.opened();
    let at = byte + (10 * CHUNK_SIZE) as u64;
    assert!(read_in_batches(&mut opened.plaintext(0..0), at..at + 1).is_err());
    assert!(!opened.opened().has_seen_end_of(1));
}

/// The error that reading a range ends in, and what came before.
fn cut(upload: &Upload, range: Range<u64>) -> (Vec<u8>, ReadError) {
    let mut opened = upload.open();
    opened.seek(range);
    let mut bytes = Vec::new();
    loop {
        match opened.next_piece() {
            Ok(piece) => bytes.extend_from_slice(piece.expect("an error before the end")),
            Err(error) => return (bytes, error),
        }
    }
}

#[test]
fn damage_ends_what_is_read_of_it_and_a_cut_off_end_is_no_end() {
    let mut upload = Upload::new(&[CHUNK_SIZE, 4 * CHUNK_SIZE + 10]);
    let whole = Arc::clone(&upload.segments[1]);
    let start = usize::try_from(upload.starts[1]).unwrap();
    let chunk = CHUNK_SIZE as u64;
    let mut damaged = whole.to_vec();
    damaged[start + 2 * SEALED_CHUNK_SIZE + 7] ^= 1;
    upload.segments[1] = Arc::new(damaged);
    let (bytes, error) = cut(&upload, 10..5 * chunk);
    assert!(bytes == upload.plain[10..3 * CHUNK_SIZE]);
    assert_eq!(error.to_string(), "0001.age does not open");
    // Around it everything can be had.
    for range in [0..3 * chunk, 4 * chunk..5 * chunk + 10] {
        let bytes = read(&mut upload.open(), range.clone()).unwrap();
        assert!(bytes == slice(&upload.plain, &range));
    }
    // Whoever leaves early learns first that there is an end, and that it is where it should be.
    for end in [
        whole.len() - 1,
        whole.len() - 26,
        start + 4 * SEALED_CHUNK_SIZE,
        start + 20,
        start,
        50,
    ] {
        upload.segments[1] = Arc::new(whole[..end].to_vec());
        let (bytes, error) = cut(&upload, chunk..chunk + 1);
        assert!(bytes.is_empty(), "{end}");
        let told = matches!(error, ReadError::Open { .. } | ReadError::Size(_));
        assert!(told, "{end}: {error}");
    }
    let mut damaged = whole.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    upload.segments[1] = Arc::new(damaged);
    let (_, error) = cut(&upload, chunk..chunk + 1);
    let last = ReadError::Open {
        file: SealedFile::Segment(1),
        source: OpenError::Payload(PayloadError::Chunk(4)),
    };
    assert_eq!(format!("{error:?}"), format!("{last:?}"));
}

#[test]
fn reading_on_after_seeking_back_gives_the_same_again() {
    let upload = Upload::new(&[5 * CHUNK_SIZE + 3]);
    let mut opened = upload.open();
    let chunk = CHUNK_SIZE as u64;
    for range in [
        0..1,
        0..3 * chunk,
        2 * chunk - 5..2 * chunk + 5,
        0..chunk,
        chunk..chunk + 1,
        0..2,
    ] {
        for _ in 0..2 {
            let bytes = read(&mut opened, range.clone()).unwrap();
            assert!(bytes == slice(&upload.plain, &range), "{range:?}");
        }
    }
    let mut reader = PlaintextRead::from(opened.upload.plaintext(7..2 * chunk));
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes == upload.plain[7..2 * CHUNK_SIZE]);
}
