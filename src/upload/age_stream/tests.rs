#![expect(
    clippy::cast_possible_truncation,
    reason = "test data of a few MiB at the most"
)]

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::seal::{CHUNK_SIZE, PayloadError, TAG_SIZE};
use crate::upload::AgeReader;

const KEY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
/// What takes longer hangs.
const LIMIT: Duration = Duration::from_mins(1);
const PLAIN_RUN: usize = CHUNKS * CHUNK_SIZE;

fn identities() -> [Identity; 1] {
    [Identity::X25519(KEY.parse().unwrap())]
}

fn recipients() -> [Recipient; 1] {
    [identities()[0].to_recipient().unwrap()]
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Gives what it has in pieces of odd sizes, as a pipe does.
struct Pipe(Cursor<Vec<u8>>, usize);

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.1 = (self.1 * 31 + 7) % 90_001;
        let size = into.len().min(self.1 + 1);
        self.0.read(&mut into[..size])
    }
}

/// What was written can be seen after an error, too.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `work` gives. Fails where it hangs.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, waits) = mpsc::channel();
    let working = thread::spawn(move || {
        let _ = done.send(work());
    });
    match waits.recv_timeout(LIMIT) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        // It panicked.
        Err(RecvTimeoutError::Disconnected) => resume_unwind(working.join().unwrap_err()),
    }
}

fn sealed_on(threads: usize, plaintext: &[u8], armored: bool) -> Vec<u8> {
    let begun = seal::begin(&recipients(), &[]).unwrap();
    let input = Pipe(Cursor::new(plaintext.to_vec()), 1);
    let done = seal_begun(begun, input, Vec::new(), armored, threads).unwrap();
    assert_eq!(done.size, plaintext.len() as u64);
    done.output
}

type Outcome = (Vec<u8>, Result<u64, String>);

fn said(error: AgeFileError) -> String {
    match error {
        AgeFileError::Open(error) => format!("{error:?}"),
        error => format!("{error:?}"),
    }
}

fn opened_on(threads: usize, sealed: &[u8]) -> Outcome {
    let output = Shared::default();
    let input = Pipe(Cursor::new(sealed.to_vec()), 1);
    let opened = open_on(threads, input, output.clone(), &identities());
    (output.bytes(), opened.map(|done| done.size).map_err(said))
}

fn opened_in_sequence(sealed: &[u8]) -> Outcome {
    let mut plaintext = Vec::new();
    let mut open = || {
        let mut reader = AgeReader::open(Cursor::new(sealed), &identities())?;
        while let Some(chunk) = reader.next_chunk()? {
            plaintext.extend_from_slice(chunk);
        }
        Ok(())
    };
    let outcome = open().map_err(said);
    let size = plaintext.len() as u64;
    (plaintext, outcome.map(|()| size))
}

#[test]
fn any_size_around_a_chunk_and_a_run_comes_back() {
    let borders = [0, CHUNK_SIZE, PLAIN_RUN, 3 * PLAIN_RUN];
    for border in borders {
        for size in [border.saturating_sub(1), border, border + 1, border + 16] {
            let plaintext = pattern(size);
            for threads in [1, 4] {
                let sealed = sealed_on(threads, &plaintext, false);
                let opened = seal::open(&sealed, &identities()).unwrap();
                assert!(*opened == plaintext, "{size} sealed on {threads}");
                let (opened, outcome) = opened_on(threads, &sealed);
                assert_eq!(outcome, Ok(size as u64));
                assert!(opened == plaintext, "{size} opened on {threads}");
            }
        }
    }
}

#[test]
fn armor_comes_off_again() {
    for size in [0, 5, CHUNK_SIZE, PLAIN_RUN, 2 * PLAIN_RUN + 1] {
        let plaintext = pattern(size);
        let text = sealed_on(3, &plaintext, true);
        assert!(text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
        for threads in [1, 3] {
            let (opened, outcome) = opened_on(threads, &text);
            assert_eq!(outcome, Ok(size as u64));
            assert!(opened == plaintext, "{size} opened on {threads}");
        }
        assert!(opened_in_sequence(&text).0 == plaintext);
    }
}

#[test]
fn damage_anywhere_gives_the_same_plaintext_and_the_same_error_on_any_number_of_threads() {
    let file = sealed_on(1, &pattern(2 * PLAIN_RUN + 100), false);
    let start = file.len() - (2 * RUN_SIZE + 100 + TAG_SIZE);
    let flipped = |at: usize| {
        let mut file = file.clone();
        file[at] ^= 1;
        file
    };
    let mut cases = vec![
        ("in the header", flipped(40)),
        ("in the nonce", flipped(start - 1)),
        ("nothing behind the header", file[..start].to_vec()),
        ("a byte too many", [&file[..], b"x"].concat()),
        ("two files", [&file[..], &file[..]].concat()),
    ];
    // At the borders of runs, where one thread goes on after another.
    for chunk in [0, CHUNKS - 1, CHUNKS, 2 * CHUNKS - 1, 2 * CHUNKS] {
        let at = start + chunk * SEALED_CHUNK_SIZE;
        cases.push(("in a chunk", flipped(at + 5)));
        cases.push(("cut before a chunk", file[..at].to_vec()));
        cases.push(("cut in a tag", file[..at + 7].to_vec()));
        cases.push(("cut behind a tag", file[..at + TAG_SIZE].to_vec()));
        cases.push(("cut in a chunk", file[..at + 50].to_vec()));
    }
    // Two damaged chunks, the later one in a run that is through sooner.
    let mut twice = flipped(start + 5);
    twice[start + 2 * RUN_SIZE + 5] ^= 1;
    cases.push(("twice", twice));
    // A whole file, and then chunks of a longer one.
    let whole = sealed_on(1, &pattern(PLAIN_RUN), false);
    cases.push(("behind a full run", [&whole[..], &file[start..]].concat()));
    for (what, sealed) in cases {
        let expected = opened_in_sequence(&sealed);
        assert!(expected.1.is_err(), "{what}");
        for threads in [1, 3] {
            let (plaintext, outcome) = opened_on(threads, &sealed);
            assert_eq!(outcome, expected.1, "{what}, on {threads}");
            assert!(plaintext == expected.0, "{what}, on {threads}");
        }
    }
}

/// Gives a number of bytes, and then an error.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("no more"));
        }
        let size = into.len().min(self.0);
        self.0 -= size;
        Ok(size)
    }
}

#[test]
fn what_came_before_a_failed_read_is_written() {
    for threads in [1, 4] {
        let output = Shared::default();
        let begun = seal::begin(&recipients(), &[]).unwrap();
        let prefix = begun.prefix.len();
        let input = Failing(3 * PLAIN_RUN + 10);
        let failed = seal_begun(begun, input, output.clone(), false, threads);
        assert!(matches!(failed, Err(AgeFileError::Read(_))));
        assert_eq!(output.bytes().len(), prefix + 3 * RUN_SIZE);
    }
}

/// Gives zeros, and when they are used up nothing until the other end of the channel goes away.
struct Silent(usize, Receiver<()>);

impl Read for Silent {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            let _ = self.1.recv();
        }
        let size = into.len().min(self.0);
        self.0 -= size;
        Ok(size)
    }
}

/// Fails after that many writes.
struct Broken(usize);

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_output_is_told_of_while_the_input_is_silent() {
    let (held, silent) = mpsc::channel();
    let begun = seal::begin(&recipients(), &[]).unwrap();
    let input = Silent(3 * PLAIN_RUN + 1, silent);
    // The header and two runs pass.
    let failed = in_time(move || seal_begun(begun, input, Broken(3), false, 4).map(|_| ()));
    assert!(matches!(failed, Err(AgeFileError::Write(_))));
    drop(held);
}

#[test]
fn damage_is_told_of_while_the_input_is_silent() {
    let (held, silent) = mpsc::channel();
    let mut file = sealed_on(1, &pattern(3 * PLAIN_RUN), false);
    let end = file.len() - 1;
    file[end - RUN_SIZE] ^= 1;
    file.push(0);
    let input = Cursor::new(file).chain(Silent(0, silent));
    let failed = in_time(move || open_on(4, input, io::sink(), &identities()).map(|_| ()));
    let last_of_second = 2 * CHUNKS as u64 - 1;
    assert!(matches!(
        failed,
        Err(AgeFileError::Open(OpenError::Payload(PayloadError::Chunk(number)))) if number == last_of_second
    ));
    drop(held);
}

#[test]
fn each_run_is_put_out_while_the_next_one_is_waited_for() {
    let (held, silent) = mpsc::channel();
    let output = Shared::default();
    let begun = seal::begin(&recipients(), &[]).unwrap();
    let expected = begun.prefix.len() + 3 * RUN_SIZE;
    let input = Silent(3 * PLAIN_RUN + 1, silent);
    let shown = output.clone();
    let sealing = thread::spawn(move || seal_begun(begun, input, shown, false, 4));
    let deadline = Instant::now() + LIMIT;
    while output.bytes().len() < expected {
        assert!(Instant::now() < deadline, "it is not put out");
        thread::sleep(Duration::from_millis(1));
    }
    drop(held);
    let sealed = in_time(move || sealing.join().unwrap()).unwrap();
    assert_eq!(sealed.size, (3 * PLAIN_RUN + 1) as u64);
}

struct Panics(usize);

impl Write for Panics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += 1;
        assert!(self.0 < 4, "on purpose");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_is_handed_on_and_hangs_nobody() {
    let begun = seal::begin(&recipients(), &[]).unwrap();
    let input = Cursor::new(pattern(8 * PLAIN_RUN));
    let panicked = in_time(move || {
        let seal = AssertUnwindSafe(|| seal_begun(begun, input, Panics(0), false, 4).map(|_| ()));
        catch_unwind(seal).is_err()
    });
    assert!(panicked);
}
