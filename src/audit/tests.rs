//! What is written passes, and whatever is done to it is found.

use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;

use super::chain::Chain;
use super::sink::{Sink, Stamped};
use super::writer::Writer;
use super::*;
use crate::store::UploadId;

/// A log as it would be written, a line each.
fn lines(count: usize) -> Vec<Vec<u8>> {
    let mut chain = Chain::new();
    let line = |n: usize| {
        let entry = Entry {
            by: Some(Actor::new("token:scanner")),
            upload: Some(UploadId::generate(
                SystemTime::UNIX_EPOCH + Duration::from_secs(n as u64),
            )),
            size: Some(n as u64),
            ..Entry::new(if n == 0 {
                Event::Started
            } else {
                Event::Finished
            })
        };
        let mut line = Vec::new();
        chain.extend(SystemTime::now(), &entry, &mut line);
        line
    };
    (0..count).map(line).collect()
}

fn verify(text: &[u8], head: Option<Hash>) -> Result<Verified, VerifyError> {
    // A small buffer: lines come in pieces.
    let mut verifier = Verifier::new(head);
    verifier.read(&mut BufReader::with_capacity(7, text))?;
    verifier.finish()
}

#[track_caller]
fn damage(lines: &[Vec<u8>]) -> (u64, Damage) {
    match verify(&lines.concat(), None) {
        Err(VerifyError::Damaged { line, damage }) => (line, damage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_log_passes_and_tells_its_head() {
    let lines = lines(5);
    let verified = verify(&lines.concat(), None).unwrap();
    assert_eq!((verified.lines, verified.from), (5, 1));
    // As `tail -n 1 FILE | sha256sum` has it.
    let head = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&lines[4]));
    assert_eq!(verified.head, Hash(head.into()));
    assert_eq!(verified.head.to_string().parse(), Ok(verified.head));
    assert!(verify(&lines.concat(), Some(verified.head)).is_ok());
    // A head that was told earlier is still in it.
    let earlier = verify(&lines[..3].concat(), None).unwrap().head;
    assert!(verify(&lines.concat(), Some(earlier)).is_ok());
    let cut = verify(&lines[..4].concat(), Some(verified.head));
    let expected = Damage::NotTheHead;
    assert!(matches!(cut, Err(VerifyError::Damaged { line: 4, damage }) if damage == expected));
}

#[test]
fn the_first_line_that_is_wrong_is_named_with_what_is_wrong() {
    let whole = lines(6);
    let changed = |n: usize| {
        let mut lines = whole.clone();
        let text = String::from_utf8(lines[n].clone()).unwrap();
        lines[n] = text.replace("scanner", "scammer").into_bytes();
        lines
    };
    assert_eq!(damage(&changed(2)), (3, Damage::Changed));
    assert_eq!(damage(&changed(4)), (6, Damage::OneOfTwoChanged));
    let mut removed = whole.clone();
    removed.remove(2);
    assert_eq!(damage(&removed), (3, Damage::Missing { first: 3, last: 3 }));
    removed.remove(2);
    assert_eq!(damage(&removed), (3, Damage::Missing { first: 3, last: 4 }));
    assert_eq!(damage(&whole[1..]), (1, Damage::NoBeginning));
    let mut swapped = whole.clone();
    swapped.swap(2, 3);
    assert_eq!(damage(&swapped), (3, Damage::Swapped));
    let mut doubled = whole.clone();
    doubled.insert(3, whole[2].clone());
    assert_eq!(damage(&doubled), (4, Damage::Again { seq: 3 }));
    let mut foreign = whole.clone();
    foreign.insert(1, b"hello\n".to_vec());
    assert_eq!(damage(&foreign), (2, Damage::NotALine));
    let mut cut = whole.clone();
    cut[5].truncate(40);
    assert_eq!(damage(&cut), (6, Damage::Cut));
    let mut torn = whole.clone();
    torn[3] = [&whole[3][..40], TORN].concat();
    assert_eq!(damage(&torn), (5, Damage::Missing { first: 4, last: 4 }));
    assert_eq!(damage(&[]), (0, Damage::Empty));
    assert_eq!(damage(&[vec![b'x'; 300_000]]), (1, Damage::NotALine));
    assert_eq!(
        damage(&[vec![b'x'; 5000], b"\n".to_vec()]),
        (1, Damage::NotALine)
    );
}

#[test]
fn several_files_are_one_log() {
    let lines = lines(6);
    let mut verifier = Verifier::new(None);
    verifier.read(&mut lines[..4].concat().as_slice()).unwrap();
    verifier.read(&mut lines[4..].concat().as_slice()).unwrap();
    assert_eq!(verifier.finish().unwrap().lines, 6);
    let mut verifier = Verifier::new(None);
    verifier.read(&mut lines[..4].concat().as_slice()).unwrap();
    let other = verifier.read(&mut lines[..1].concat().as_slice());
    let expected = Damage::OtherLog;
    assert!(matches!(other, Err(VerifyError::Damaged { line: 1, damage }) if damage == expected));
}

/// A folder with a log in it.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("audit.log")
    }

    fn text(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

fn stamped() -> Stamped {
    Stamped {
        time: SystemTime::now(),
        entry: Entry::new(Event::Read),
    }
}

#[test]
fn a_chain_goes_on_after_a_start_and_after_a_crash() {
    let bench = Bench::new();
    for torn in ["", "", "{\"seq\":9,", "{\"a", ""] {
        let mut text = if bench.path().exists() {
            bench.text()
        } else {
            Vec::new()
        };
        text.extend_from_slice(torn.as_bytes());
        std::fs::write(bench.path(), &text).unwrap();
        set_private(&bench.path());
        let mut writer = Writer::open(&bench.path()).unwrap();
        let (written, result) = writer.write(&[stamped(), stamped()]);
        result.unwrap();
        assert_eq!(written, 2);
        let verified = verify(&bench.text(), None).unwrap();
        assert_eq!(writer.head(), (verified.lines, verified.head));
        // Nothing that was there is gone.
        assert!(bench.text().starts_with(&text));
    }
    assert_eq!(verify(&bench.text(), None).unwrap().lines, 12);
}

fn set_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_file_that_was_moved_away_is_followed_by_another() {
    let bench = Bench::new();
    let log = AuditLog::open(&bench.path()).unwrap();
    log.append_durably(Entry::new(Event::Read)).unwrap();
    let moved = bench.0.path().join("audit.log.1");
    std::fs::rename(bench.path(), &moved).unwrap();
    log.append_durably(Entry::new(Event::Read)).unwrap();
    log.close();
    let moved = std::fs::read(moved).unwrap();
    let mut verifier = Verifier::new(None);
    verifier.read(&mut &moved[..]).unwrap();
    verifier.read(&mut &bench.text()[..]).unwrap();
    // started, read; rotated, read, stopped
    assert_eq!(verifier.finish().unwrap().lines, 5);
    // The newer alone says where it begins.
    assert_eq!(verify(&bench.text(), None).unwrap().from, 3);
}

#[test]
fn what_cannot_be_gone_on_with_is_refused() {
    let bench = Bench::new();
    let log = AuditLog::open(&bench.path()).unwrap();
    assert!(matches!(
        AuditLog::open(&bench.path()),
        Err(AuditError::Locked(_))
    ));
    drop(log);
    std::fs::write(bench.path(), "something else\n").unwrap();
    assert!(matches!(
        AuditLog::open(&bench.path()),
        Err(AuditError::Damaged(_))
    ));
    assert_eq!(bench.text(), b"something else\n");
    std::fs::write(bench.path(), "").unwrap();
    let public = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(bench.path(), public).unwrap();
    assert!(matches!(
        AuditLog::open(&bench.path()),
        Err(AuditError::Exposed { .. })
    ));
    let missing = bench.0.path().join("missing").join("audit.log");
    assert!(matches!(
        AuditLog::open(&missing),
        Err(AuditError::Io { .. })
    ));
}

#[test]
fn lines_of_many_threads_are_whole_and_in_order() {
    let bench = Bench::new();
    let log = Arc::new(AuditLog::open(&bench.path()).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let log = Arc::clone(&log);
            scope.spawn(move || {
                for n in 0..50 {
                    let entry = Entry::new(Event::Read);
                    if (thread + n) % 5 == 0 {
                        log.append_durably(entry).unwrap();
                    } else {
                        log.append(entry);
                    }
                }
            });
        }
    });
    log.close();
    assert_eq!(verify(&bench.text(), None).unwrap().lines, 16 * 50 + 2);
    assert!(matches!(
        log.append_durably(Entry::new(Event::Read)),
        Err(AuditError::Failing)
    ));
}

#[test]
fn names_cannot_look_like_anything_else() {
    let actor = Actor::new("token:a\"b\\c\n\u{202e}d e");
    let json = serde_json::to_string(&actor).unwrap();
    assert_eq!(json, "\"token:a_b_c__d_e\"");
    assert_eq!(LinkId::new("../../etc/passwd"), None);
}

proptest! {
    #[test]
    fn any_changed_byte_is_found(count in 1_usize..6, at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut text = lines(count).concat();
        let head = verify(&text, None).unwrap().head;
        let at = at.index(text.len());
        text[at] ^= flip;
        prop_assert!(verify(&text, Some(head)).is_err());
        // Without the head, all but the last line is safe.
        let last = lines(count)[count - 1].len();
        if at < text.len() - last {
            prop_assert!(verify(&text, None).is_err());
        }
    }

    #[test]
    fn any_removed_doubled_or_moved_line_is_found(count in 2_usize..8, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let whole = lines(count);
        let head = verify(&whole.concat(), None).unwrap().head;
        let (a, b) = (a.index(count), b.index(count));
        let mut removed = whole.clone();
        removed.remove(a);
        prop_assert!(verify(&removed.concat(), Some(head)).is_err());
        prop_assert!(a == count - 1 || verify(&removed.concat(), None).is_err());
        let mut doubled = whole.clone();
        doubled.insert(b, whole[a].clone());
        prop_assert!(verify(&doubled.concat(), None).is_err());
        let mut swapped = whole.clone();
        swapped.swap(a, b);
        prop_assert_eq!(verify(&swapped.concat(), None).is_ok(), a == b);
    }

    #[test]
    fn any_cut_is_found(count in 1_usize..5, at in any::<prop::sample::Index>()) {
        let text = lines(count).concat();
        let head = verify(&text, None).unwrap().head;
        let at = at.index(text.len());
        prop_assert!(verify(&text[..at], Some(head)).is_err());
        prop_assert!(at == 0 || verify(&text[at..], None).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = verify(&text, None);
    }
}
