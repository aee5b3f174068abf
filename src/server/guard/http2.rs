//! How many frames a client may send over HTTP/2 that bring nothing (RFC 9113, section 10.5).
//!
//! h2 bounds some of what can be flooded (streams that are reset, CONTINUATION, empty DATA), and nothing of PING, SETTINGS,
//! PRIORITY, `WINDOW_UPDATE` and frames of unknown types: a client could have a processor to itself with them, and be nobody's
//! upload. So every frame costs, and what a client gets done pays: bytes of bodies, bytes of answers, and answers.
//! Who has run out of it loses the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// What a frame costs, in bytes that were of use. A client that fetches something may send a `WINDOW_UPDATE` for so few.
const FRAME: u64 = 256;
/// What a connection may owe: ten thousand frames.
const MOST: u64 = FRAME * 10_000;
/// What each second pays: a thousand frames. It takes far less than a hundredth of a processor.
const A_MILLISECOND: u64 = FRAME;
/// `PRI * HTTP/2.0`, which h2 checks.
const PREFACE: u32 = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PADDED: u8 = 8;

/// The frames of a connection.
pub struct Frames {
    header: [u8; 9],
    /// So much of a frame's header has come.
    came: usize,
    /// So much of a frame's content is to come.
    content: u32,
    left: u64,
    paid: Instant,
    answered: Arc<AtomicU64>,
    /// How many answers have paid.
    answers_paid: u64,
}

/// Too many frames that bring nothing.
#[derive(Debug, thiserror::Error)]
#[error("too many frames that bring nothing: the client may connect again, and shall send fewer")]
pub struct Flood;

impl Frames {
    /// At the beginning of a connection. `answered` counts its requests that were answered.
    pub fn new(answered: Arc<AtomicU64>) -> Self {
        Self {
            header: [0; 9],
            came: 0,
            content: PREFACE,
            left: MOST,
            paid: Instant::now(),
            answered,
            answers_paid: 0,
        }
    }

    /// So many bytes were sent to the client. Answers to PING and SETTINGS are among them, and are shorter than what they cost.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.pay(bytes as u64);
    }

    /// What the connection may still owe, in bytes, and how much of the frame is to come in which it stands.
    pub fn standing(&self) -> (u64, u64) {
        (self.left, u64::from(self.content))
    }

    fn pay(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(bytes).min(MOST);
    }

    /// Takes the next bytes of the connection.
    pub fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        while !bytes.is_empty() {
            if self.content > 0 {
                let content = usize::try_from(self.content).unwrap_or(usize::MAX);
                let taken = content.min(bytes.len());
                bytes = &bytes[taken..];
                self.content -= u32::try_from(taken).unwrap_or(self.content);
                continue;
            }
            let taken = (self.header.len() - self.came).min(bytes.len());
            self.header[self.came..][..taken].copy_from_slice(&bytes[..taken]);
            self.came += taken;
            bytes = &bytes[taken..];
            if self.came == self.header.len() {
                self.came = 0;
                let [high, middle, low, kind, flags, ..] = self.header;
                self.content = u32::from_be_bytes([0, high, middle, low]);
                self.charge(kind, flags)?;
            }
        }
        Ok(())
    }

    fn charge(&mut self, kind: u8, flags: u8) -> Result<(), Flood> {
        let content = u64::from(self.content);
        let cost = match kind {
            DATA => {
                let padding = if flags & PADDED == 0 { 0 } else { 256 };
                self.pay(content.saturating_sub(padding));
                FRAME
            }
            // Their size is bounded by what h2 takes of headers.
            HEADERS => FRAME,
            _ => FRAME + content,
        };
        if self.left < cost {
            self.pay_by_time();
        }
        self.left = self.left.checked_sub(cost).ok_or(Flood)?;
        Ok(())
    }

    /// Only where it is needed: most connections never look at the clock.
    fn pay_by_time(&mut self) {
        let answered = self.answered.load(Relaxed);
        let answers = answered.saturating_sub(self.answers_paid);
        self.answers_paid = answered;
        let now = Instant::now();
        let waited = now.duration_since(self.paid).as_millis();
        self.paid = now;
        let waited = u64::try_from(waited).unwrap_or(u64::MAX);
        self.pay(answers.saturating_mul(FRAME));
        self.pay(waited.saturating_mul(A_MILLISECOND));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, flags: u8, size: usize) -> Vec<u8> {
        let mut frame = u32::try_from(size).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        frame.resize(9 + size, 0);
        frame
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(Arc::default());
        assert!(frames.follow(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").is_ok());
        frames
    }

    /// How many of these frames pass before the connection is lost.
    fn passing(frames: &mut Frames, frame: &[u8]) -> usize {
        let pass = |_: &usize| frames.follow(frame).is_ok();
        (0..100_000).take_while(pass).count()
    }

    #[test]
    fn frames_that_bring_nothing_end_it() {
        for (kind, size) in [
            (0, 0),
            (1, 0),
            (2, 5),
            (4, 6),
            (6, 8),
            (8, 4),
            (9, 1),
            (77, 0),
        ] {
            let passed = passing(&mut begun(), &frame(kind, 0, size));
            // What time pays while the test runs is not known.
            assert!((9_500..50_000).contains(&passed), "{kind}: {passed}");
        }
        // Padding is nothing, either, and large frames of unknown types cost what they are.
        assert!(passing(&mut begun(), &frame(0, 8, 250)) < 50_000);
        assert!(passing(&mut begun(), &frame(77, 0, 16_000)) < 2_000);
    }

    #[test]
    fn bodies_answers_and_time_pay() {
        assert_eq!(passing(&mut begun(), &frame(0, 0, 256)), 100_000);
        let mut frames = begun();
        let ping = frame(6, 0, 8);
        assert!(passing(&mut frames, &ping) < 50_000);
        frames.sent(264 * 100);
        assert!(passing(&mut frames, &ping) >= 100);
        frames.answered.fetch_add(200, Relaxed);
        assert!(passing(&mut frames, &ping) >= 190);
        frames.paid = frames.paid.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(passing(&mut frames, &ping) >= 900);
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_come() {
        let mut frames = begun();
        let two = [frame(6, 0, 8), frame(0, 0, 0)].concat();
        for byte in two.repeat(10) {
            assert!(frames.follow(&[byte]).is_ok());
        }
        assert_eq!(frames.left, MOST - 10 * (264 + 256));
    }
}
