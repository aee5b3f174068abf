//! What a crash, a full disk or a restored copy leaves of an upload, and what is made of it.

#![expect(
    clippy::cast_possible_truncation,
    reason = "test data of a few MiB at the most"
)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::seal::{CHUNK_SIZE, Identity, SEALED_CHUNK_SIZE};
use crate::store::{ENTRY_SIZE, UploadId};
use crate::upload::tests::open_store;
use crate::upload::{ExpectedDigest, Kind, OpenUpload, RunningDigest, Terms, Uploads};

const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
/// Bytes in one buffer of a segment: what is handed over to be written at a time.
const BUFFER: usize = 8 * CHUNK_SIZE;

fn identity() -> Identity {
    Identity::X25519(IDENTITY.parse().unwrap())
}

fn open_uploads(data: &Path, checkpoint: u64) -> Arc<Uploads> {
    let store = open_store(data);
    let recipient = crate::keys::NamedRecipient::new(identity().to_recipient().unwrap(), "");
    let limits = SessionLimits {
        checkpoint,
        ..SessionLimits::default()
    };
    Arc::new(Uploads::new(
        Arc::new(store),
        vec![recipient],
        Vec::new(),
        limits,
    ))
}

fn new(length: Option<u64>) -> NewSession {
    NewSession {
        submission: None,
        kind: Kind::File,
        name: Some(ClientName::new("a name")),
        media_type: None,
        length,
        ends_at_length: false,
        metadata: None,
        metadata_entries: Vec::new(),
        role: Role::Whole,
        repr_digests: Vec::new(),
        wants: None,
        terms: Terms::default(),
    }
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| ((i * 7 + i / 251) % 256) as u8).collect()
}

/// A folder that can be looked at as it would be after a crash.
struct Bench {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn segment(&self, url: &UploadUrl, number: u32) -> PathBuf {
        let name = format!("staging/{}/{number:04}.age", url.id());
        self.data().join(name)
    }

    /// Begins an upload, sends `bytes` in one body that never ends, and leaves the disk as it then is.
    fn crash_after(&self, bytes: &[u8], checkpoint: u64) -> UploadUrl {
        let uploads = open_uploads(&self.data(), checkpoint);
        self.runtime.block_on(async {
            let session = uploads.create_session(new(None)).await.unwrap();
            let url = session.url().clone();
            let mut append = session.append(&[]).unwrap();
            append.write(bytes).await.unwrap();
            // What was handed over to be written is waited for, and nothing is ended.
            drop(append.segment.give_up().await.unwrap());
            url
        })
    }

    /// Goes on with what there is, to its end; gives the offset that was found, and checks that all of `bytes` is there.
    fn go_on(&self, url: &UploadUrl, bytes: &[u8]) -> usize {
        let uploads = open_uploads(&self.data(), 1 << 20);
        let offset = self.runtime.block_on(async {
            let session = uploads.session(url.clone()).await.unwrap();
            let offset = session.offset() as usize;
            let mut append = session.append(&[]).unwrap();
            append.write(&bytes[offset..]).await.unwrap();
            let session = append.close(&[]).await.unwrap();
            assert_eq!(session.offset(), bytes.len() as u64);
            let session = session.finish(&[]).await.unwrap();
            assert!(session.receipt().unwrap().size == bytes.len() as u64);
            offset
        });
        assert_eq!(Self::opened(&uploads, url), bytes);
        offset
    }

    fn opened(uploads: &Uploads, url: &UploadUrl) -> Vec<u8> {
        let sealed = uploads.sealed_upload(url.id()).unwrap();
        let upload = OpenUpload::open(sealed, Some(url.id()), &[identity()]);
        let mut content = Vec::new();
        Arc::new(upload.unwrap())
            .copy_to(|piece| {
                content.extend_from_slice(piece);
                Ok::<_, crate::upload::ReadError>(())
            })
            .unwrap();
        content
    }
}

/// Where the first chunk of a segment begins: behind the header and nonce.
fn header_size(segment: &Path) -> usize {
    let bytes = fs::read(segment).unwrap();
    crate::seal::Header::parse(&bytes).unwrap().unwrap().1
}

#[test]
fn a_segment_is_recovered_to_its_last_whole_chunk_wherever_it_was_cut() {
    let bytes = content(2 * BUFFER + 1);
    let probe = Bench::new();
    let url = probe.crash_after(&bytes, u64::MAX);
    let header = header_size(&probe.segment(&url, 0));
    let cuts = [
        0,
        header - 1,
        header,
        header + 1,
        header + SEALED_CHUNK_SIZE - 1,
        header + SEALED_CHUNK_SIZE,
        header + SEALED_CHUNK_SIZE + 1,
        header + 7 * SEALED_CHUNK_SIZE + 16,
        header + 16 * SEALED_CHUNK_SIZE,
    ];
    for cut in cuts {
        let bench = Bench::new();
        let url = bench.crash_after(&bytes, u64::MAX);
        let segment = fs::OpenOptions::new()
            .write(true)
            .open(bench.segment(&url, 0))
            .unwrap();
        segment.set_len(cut as u64).unwrap();
        let whole = cut.saturating_sub(header) / SEALED_CHUNK_SIZE;
        assert_eq!(
            bench.go_on(&url, &bytes),
            whole * CHUNK_SIZE,
            "cut at {cut}"
        );
    }
}

#[test]
fn what_is_damaged_behind_a_checkpoint_is_cut_off() {
    let bytes = content(3 * BUFFER + 1);
    for (chunk, whole) in [(15, None), (16, Some(16)), (20, Some(20)), (23, Some(23))] {
        let bench = Bench::new();
        let url = bench.crash_after(&bytes, 2 * BUFFER as u64);
        let path = bench.segment(&url, 0);
        let mut damaged = fs::read(&path).unwrap();
        let header = header_size(&path);
        damaged[header + chunk * SEALED_CHUNK_SIZE + 5] ^= 1;
        fs::write(&path, damaged).unwrap();
        if let Some(whole) = whole {
            assert_eq!(bench.go_on(&url, &bytes), whole * CHUNK_SIZE);
        } else {
            let uploads = open_uploads(&bench.data(), 1 << 20);
            let session = bench.runtime.block_on(uploads.session(url));
            assert!(matches!(session.err(), Some(SessionError::Lost)));
        }
    }
}

#[test]
fn a_checkpoint_that_is_gone_is_an_error_and_not_a_smaller_offset() {
    let bytes = content(3 * BUFFER + 1);
    for cut in [0, 1000, 2 * BUFFER] {
        let bench = Bench::new();
        let url = bench.crash_after(&bytes, BUFFER as u64);
        let segment = fs::OpenOptions::new()
            .write(true)
            .open(bench.segment(&url, 0))
            .unwrap();
        segment.set_len(cut as u64).unwrap();
        let uploads = open_uploads(&bench.data(), 1 << 20);
        let session = bench.runtime.block_on(uploads.session(url.clone()));
        assert!(matches!(session.err(), Some(SessionError::Lost)), "{cut}");
    }
}

/// Copies a folder as a snapshot would.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn recovery_on_any_copy_seals_the_same_bytes() {
    for (size, checkpoint) in [(BUFFER + 1, u64::MAX), (3 * BUFFER + 1, BUFFER as u64)] {
        let bytes = content(size);
        let bench = Bench::new();
        let url = bench.crash_after(&bytes, checkpoint);
        let copied = Bench::new();
        copy(&bench.data(), &copied.data());
        let recovered = [&bench, &copied].map(|bench| {
            let uploads = open_uploads(&bench.data(), checkpoint);
            let session = bench
                .runtime
                .block_on(uploads.session(url.clone()))
                .unwrap();
            assert_eq!(session.offset() as usize, size - 1);
            drop(session);
            fs::read(bench.segment(&url, 0)).unwrap()
        });
        assert!(recovered[0] == recovered[1]);
        assert_eq!(bench.go_on(&url, &bytes), size - 1);
        assert_eq!(copied.go_on(&url, &bytes), size - 1);
    }
}

#[test]
fn a_recovery_that_was_interrupted_is_done_again() {
    let bytes = content(2 * BUFFER + 1);
    // Before its entry was written; at a checkpoint, and behind one.
    for checkpoint in [u64::MAX, BUFFER as u64, 2 * BUFFER as u64] {
        let bench = Bench::new();
        let url = bench.crash_after(&bytes, checkpoint);
        let entries = bench.data().join(format!("sessions/{}.entries", url.id()));
        let before = fs::read(&entries).unwrap();
        let uploads = open_uploads(&bench.data(), checkpoint);
        drop(
            bench
                .runtime
                .block_on(uploads.session(url.clone()))
                .unwrap(),
        );
        drop(uploads);
        let recovered = fs::read(bench.segment(&url, 0)).unwrap();
        for torn in [
            before.clone(),
            [&before[..], &[0x55; 300]].concat(),
            [&before[..], &[0; 1024]].concat(),
        ] {
            fs::write(&entries, torn).unwrap();
            let uploads = open_uploads(&bench.data(), checkpoint);
            let session = bench
                .runtime
                .block_on(uploads.session(url.clone()))
                .unwrap();
            assert_eq!(session.offset() as usize, 2 * BUFFER);
            assert!(fs::read(bench.segment(&url, 0)).unwrap() == recovered);
        }
        assert_eq!(bench.go_on(&url, &bytes), 2 * BUFFER);
    }
}

#[test]
fn a_segment_that_nobody_counted_gives_way() {
    let bytes = content(1000);
    let bench = Bench::new();
    let uploads = open_uploads(&bench.data(), 1 << 20);
    let url = bench.runtime.block_on(async {
        let session = uploads.create_session(new(Some(1000))).await.unwrap();
        session.url().clone()
    });
    drop(uploads);
    // As a crash between the segment and its entry leaves it.
    let path = bench.segment(&url, 0);
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, b"left over").unwrap();
    assert_eq!(bench.go_on(&url, &bytes), 0);
}

#[test]
fn a_body_that_fails_its_digest_leaves_everything_as_it_was() {
    let bench = Bench::new();
    let uploads = open_uploads(&bench.data(), BUFFER as u64);
    let (first, second) = (content(1000), content(3 * BUFFER));
    bench.runtime.block_on(async {
        let session = uploads.create_session(new(None)).await.unwrap();
        let url = session.url().clone();
        let mut append = session.append(&[]).unwrap();
        append.write(&first).await.unwrap();
        drop(append.close(&[]).await.unwrap());
        let before = fs::read(bench.data().join(format!("sessions/{}.entries", url.id()))).unwrap();

        let session = uploads.session(url.clone()).await.unwrap();
        let mut append = session.append(&[Algorithm::Sha1]).unwrap();
        append.write(&second).await.unwrap();
        let wrong = ExpectedDigest {
            algorithm: Algorithm::Sha1,
            value: vec![0; 20],
        };
        let failed = append.close(&[wrong]).await.err();
        assert!(matches!(
            failed,
            Some(SessionError::Receive(ReceiveError::Digest(Algorithm::Sha1)))
        ));
        let after = fs::read(bench.data().join(format!("sessions/{}.entries", url.id()))).unwrap();
        assert!(before == after && !bench.segment(&url, 1).exists());

        let session = uploads.session(url.clone()).await.unwrap();
        assert_eq!(session.offset(), 1000);
        let mut append = session.append(&[Algorithm::Sha1]).unwrap();
        append.write(&second).await.unwrap();
        let mut digest = RunningDigest::new(Algorithm::Sha1);
        digest.update(&second);
        let right = ExpectedDigest {
            algorithm: Algorithm::Sha1,
            value: digest.finish(),
        };
        let session = append.close(&[right]).await.unwrap();
        let session = session.finish(&[]).await.unwrap();
        assert_eq!(
            Bench::opened(&uploads, session.url()),
            [first, second].concat()
        );
    });
}

#[test]
fn publishing_that_was_interrupted_is_brought_to_its_end() {
    let bytes = content(100_000);
    let bench = Bench::new();
    let uploads = open_uploads(&bench.data(), 1 << 20);
    let url = bench.runtime.block_on(async {
        let session = uploads.create_session(new(None)).await.unwrap();
        let mut append = session.append(&[]).unwrap();
        append.write(&bytes).await.unwrap();
        let mut session = append.close(&[]).await.unwrap();
        // The server goes no further.
        let digested = session.state.digests.clone().finish();
        session.begin_finish(digested).unwrap();
        session.url().clone()
    });
    drop(uploads);
    let entries = bench.data().join(format!("sessions/{}.entries", url.id()));
    let interrupted = fs::read(&entries).unwrap();
    // Something of the manifest may be there already, and a segment that never counted.
    fs::write(bench.segment(&url, 0).with_file_name("meta.age"), b"half").unwrap();
    fs::write(bench.segment(&url, 1), b"left over").unwrap();
    let receipt = |uploads: &Arc<Uploads>| {
        let session = bench.runtime.block_on(uploads.session(url.clone()));
        serde_json::to_string(&session.unwrap().receipt().unwrap()).unwrap()
    };
    let uploads = open_uploads(&bench.data(), 1 << 20);
    let told = receipt(&uploads);
    assert_eq!(Bench::opened(&uploads, &url), bytes);
    // Nothing is left of the record but that it is finished: no file key, no state of a digest.
    assert_eq!(fs::read(&entries).unwrap().len(), ENTRY_SIZE);
    assert_eq!(receipt(&uploads), told);

    // It was published, and the server did not come to write that down.
    fs::write(&entries, &interrupted).unwrap();
    assert_eq!(receipt(&uploads), told);
    // The same, and its receiver was quick.
    fs::write(&entries, &interrupted).unwrap();
    uploads.delete(url.id()).unwrap();
    assert_eq!(receipt(&uploads), told);
    assert!(uploads.sealed_upload(url.id()).is_err());
}

#[test]
fn a_finished_upload_takes_no_length_any_more() {
    let bench = Bench::new();
    let uploads = open_uploads(&bench.data(), 1 << 20);
    bench.runtime.block_on(async {
        let session = uploads.create_session(new(None)).await.unwrap();
        let url = session.url().clone();
        let mut append = session.append(&[]).unwrap();
        append.write(b"all of it").await.unwrap();
        let session = append.close(&[]).await.unwrap().finish(&[]).await.unwrap();
        let (session, fits) = session.declare_length(20).await.unwrap();
        assert!(!fits && session.length() == Some(9));
        assert!(session.append(&[]).is_err());
        assert!(uploads.session(url).await.unwrap().finished().is_some());
    });
}

#[test]
fn a_damaged_entry_is_an_error_and_a_torn_one_is_not_there() {
    let bench = Bench::new();
    let uploads = open_uploads(&bench.data(), 1 << 20);
    let url = bench.runtime.block_on(async {
        let mut session = uploads.create_session(new(None)).await.unwrap();
        for piece in [&b"one"[..], b"two"] {
            let mut append = session.append(&[]).unwrap();
            append.write(piece).await.unwrap();
            session = append.close(&[]).await.unwrap();
        }
        session.url().clone()
    });
    let entries = bench.data().join(format!("sessions/{}.entries", url.id()));
    let whole = fs::read(&entries).unwrap();
    let offset = |entry: &mut dyn FnMut(&mut [u8])| {
        let mut changed = whole.clone();
        entry(&mut changed[ENTRY_SIZE..]);
        fs::write(&entries, changed).unwrap();
        let session = bench.runtime.block_on(uploads.session(url.clone()));
        session.map(|session| session.offset()).ok()
    };
    assert_eq!(offset(&mut |_| {}), Some(6));
    assert_eq!(offset(&mut |entry| entry[700] ^= 1), None);
    assert_eq!(offset(&mut |entry| entry[512..].fill(0)), Some(3));
    assert_eq!(offset(&mut |entry| entry[..512].fill(0)), Some(3));
    assert_eq!(offset(&mut |entry| entry.fill(0)), Some(3));
}

#[test]
fn what_is_lost_can_still_be_cancelled() {
    let bytes = content(2 * BUFFER + 1);
    let bench = Bench::new();
    let url = bench.crash_after(&bytes, BUFFER as u64);
    fs::write(bench.segment(&url, 0), b"").unwrap();
    let uploads = open_uploads(&bench.data(), 1 << 20);
    bench.runtime.block_on(async {
        assert!(uploads.session(url.clone()).await.is_err());
        uploads.cancel_session(url.clone()).await.unwrap();
        assert!(!bench.segment(&url, 0).exists());
        let again = uploads.cancel_session(url.clone()).await;
        assert!(matches!(again, Err(SessionError::Unknown)));
    });
}

#[test]
fn an_upload_whose_creation_fails_leaves_nothing() {
    let bench = Bench::new();
    let uploads = open_uploads(&bench.data(), BUFFER as u64);
    bench.runtime.block_on(async {
        let session = uploads.begin_session(new(None)).await.unwrap();
        let url = session.url().clone();
        let mut append = session.append(&[]).unwrap();
        append.write(&content(3 * BUFFER)).await.unwrap();
        drop(append);
        uploads.settled().await;
        assert!(!bench.segment(&url, 0).exists());
        assert!(uploads.store.sessions().unwrap().is_empty());
    });
}

#[test]
fn an_upload_takes_10000_segments_and_no_more() {
    let bench = Bench::new();
    let uploads = open_uploads(&bench.data(), 1 << 20);
    bench.runtime.block_on(async {
        let mut session = uploads.create_session(new(None)).await.unwrap();
        session.state.segments = crate::store::MAX_SEGMENTS - 1;
        let mut append = session.append(&[]).unwrap();
        append.write(b"the last").await.unwrap();
        let session = append.close(&[]).await.unwrap();
        assert_eq!(session.offset(), 8);
        assert!(matches!(
            session.append(&[]).err(),
            Some(SessionError::TooManySegments)
        ));
    });
}

#[test]
fn what_expired_is_swept_and_what_is_in_hand_is_not() {
    let bench = Bench::new();
    let uploads = open_uploads(&bench.data(), 1 << 20);
    let later = SystemTime::now() + Duration::from_hours(8 * 24);
    bench.runtime.block_on(async {
        let session = uploads.create_session(new(None)).await.unwrap();
        let url = session.url().clone();
        let mut append = session.append(&[]).unwrap();
        append.write(b"some").await.unwrap();
        let session = append.close(&[]).await.unwrap();
        assert_eq!(uploads.sweep_sessions(SystemTime::now()).unwrap(), 0);
        assert_eq!(uploads.sweep_sessions(later).unwrap(), 0);
        drop(session);
        assert_eq!(uploads.sweep_sessions(later).unwrap(), 1);
        assert!(!bench.segment(&url, 0).exists());
        assert!(matches!(
            uploads.session(url).await.err(),
            Some(SessionError::Unknown)
        ));
    });
    // A head that was never written to its end.
    let id = UploadId::generate(SystemTime::now());
    uploads.store.create_session(&id, b"{\"v\":1").unwrap();
    assert_eq!(uploads.sweep_sessions(SystemTime::now()).unwrap(), 0);
    assert_eq!(uploads.sweep_sessions(later).unwrap(), 1);
    assert!(uploads.store.sessions().unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Bodies of any sizes, some cut off in mid-body, some by a crash.
    #[test]
    fn whatever_interrupts_it_an_upload_ends_equal(
        pieces in proptest::collection::vec((0..2 * BUFFER, 0..3_u8, any::<u16>()), 1..5),
        checkpoint in prop_oneof![Just(CHUNK_SIZE as u64), Just(BUFFER as u64), Just(u64::MAX)],
    ) {
        let bench = Bench::new();
        let bytes = content(pieces.iter().map(|(size, ..)| size).sum());
        let mut uploads = open_uploads(&bench.data(), checkpoint);
        let url = bench.runtime.block_on(uploads.create_session(new(None))).unwrap().url().clone();
        let mut acknowledged = 0;
        for (size, ending, cut) in pieces {
            let number = bench.runtime.block_on(async {
                let session = uploads.session(url.clone()).await.unwrap();
                let offset = session.offset() as usize;
                assert!(offset >= acknowledged);
                acknowledged = offset;
                let number = session.state.segments;
                let mut append = session.append(&[]).unwrap();
                append.write(&bytes[offset..bytes.len().min(offset + size)]).await.unwrap();
                if ending == 0 {
                    acknowledged = append.close(&[]).await.unwrap().offset() as usize;
                } else {
                    drop(append.segment.give_up().await.unwrap());
                }
                number
            });
            if ending == 2 {
                drop(uploads);
                // A crash of the machine: what no checkpoint covers may be there in part.
                let segment = fs::OpenOptions::new().write(true).open(bench.segment(&url, number));
                if let (Ok(file), u64::MAX) = (segment, checkpoint) {
                    let length = file.metadata().unwrap().len();
                    file.set_len(length * u64::from(cut) / 65536).unwrap();
                }
                uploads = open_uploads(&bench.data(), checkpoint);
            }
        }
        drop(uploads);
        bench.go_on(&url, &bytes);
    }
}
