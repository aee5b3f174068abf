//! Runs of chunks that several threads seal or open at once.
//!
//! The order stays with one owner at each end. A [`PayloadSealer`] numbers the chunks of a run when it gives out its
//! [`SealTicket`], which seals once and is used up by it; so whoever holds tickets can seal them in any order and on any
//! thread, and no number seals twice. An [`OpenedRun`] keeps its plaintext to itself until a [`RunOrder`] has seen all that
//! comes before it.

use super::{
    CHUNK_SIZE, ChunkBuffer, PayloadError, PayloadOpener, PayloadSealer, SEALED_CHUNK_SIZE,
    SealError, StreamOpener,
};

impl PayloadSealer {
    /// Gives the chunks of a full buffer their numbers, none of them the last one, and moves past them.
    ///
    /// # Panics
    /// Where the buffer is not full: a short chunk can only be the last.
    pub fn ticket(&mut self, buffer: &ChunkBuffer) -> Result<SealTicket, SealError> {
        assert!(buffer.is_full(), "only the last chunk may be short");
        let first = self.take_numbers((buffer.len() / CHUNK_SIZE) as u64)?;
        Ok(SealTicket(Run::Middle {
            sealer: self.at(first),
            size: buffer.len(),
        }))
    }

    /// Gives the chunks that end the payload their numbers. There is nothing behind them, so the sealer is used up.
    pub fn last_ticket(self) -> SealTicket {
        SealTicket(Run::Last(self))
    }

    /// Private: what comes from here seals no other numbers than those that the sealer has moved past.
    fn at(&self, next: u64) -> Self {
        Self {
            cipher: self.cipher.clone(),
            next,
            #[cfg(feature = "audit-seals")]
            audit: self.audit.clone(),
        }
    }
}

/// The right to seal some chunks of a payload, each under a number that nothing else is sealed under.
///
/// It cannot be copied, and seals once:
///
/// ```compile_fail,E0599
/// # use sealslot::seal::SealTicket;
/// fn copied(ticket: &SealTicket) -> SealTicket {
///     ticket.clone()
/// }
/// ```
///
/// ```compile_fail,E0382
/// # use sealslot::seal::{ChunkBuffer, SealTicket};
/// fn used_again(ticket: SealTicket) {
///     let _ = ticket.seal(&mut ChunkBuffer::new(1)).map(|_| ());
///     let _ = ticket.seal(&mut ChunkBuffer::new(1)).map(|_| ());
/// }
/// ```
pub struct SealTicket(Run);

enum Run {
    Middle {
        sealer: PayloadSealer,
        /// Bytes of plaintext in the chunks that have numbers.
        size: usize,
    },
    Last(PayloadSealer),
}

impl SealTicket {
    /// Whether it is the one for the end of the payload.
    pub fn is_last(&self) -> bool {
        matches!(self.0, Run::Last(_))
    }

    /// Seals what the buffer holds, in place, and gives the sealed bytes. The buffer is empty then.
    ///
    /// # Panics
    /// Where the ticket is not the last one, and the buffer does not hold as many full chunks as it was given out for.
    pub fn seal(self, buffer: &mut ChunkBuffer) -> Result<&[u8], SealError> {
        match self.0 {
            Run::Middle { mut sealer, size } => {
                assert_eq!(buffer.len(), size, "a ticket is for its chunks alone");
                buffer.seal(&mut sealer)
            }
            Run::Last(sealer) => buffer.seal_last(sealer),
        }
    }
}

impl PayloadOpener {
    /// Opens the chunks from number `first` on, in place, up to the first one that does not open. All of them are full, but
    /// for the last one of a run that the payload ends with, as `at_end` says.
    pub fn open_run<'a>(&self, first: u64, sealed: &'a mut [u8], at_end: bool) -> OpenedRun<'a> {
        let mut opener = StreamOpener {
            opener: Self(self.0.clone()),
            next: first,
            ended: false,
        };
        let count = sealed.len().div_ceil(SEALED_CHUNK_SIZE);
        let mut plaintext = Vec::with_capacity(count);
        let mut error = None;
        for (index, chunk) in sealed.chunks_mut(SEALED_CHUNK_SIZE).enumerate() {
            match opener.open_next(chunk, at_end && index + 1 == count) {
                Ok(text) => plaintext.push(&*text),
                Err(damage) => {
                    error = Some(damage);
                    break;
                }
            }
        }
        OpenedRun {
            first,
            count: count as u64,
            plaintext,
            ended: opener.ended,
            error,
        }
    }
}

/// Chunks that were opened out of turn. What comes before them decides whether they are given out: [`RunOrder::accept`].
pub struct OpenedRun<'a> {
    first: u64,
    count: u64,
    plaintext: Vec<&'a [u8]>,
    /// One of the chunks was sealed as the last one.
    ended: bool,
    /// What is wrong behind the plaintext.
    error: Option<PayloadError>,
}

/// Puts the runs of one payload in order: together they give what a [`StreamOpener`] gives, and the same error.
#[derive(Default)]
pub struct RunOrder {
    next: u64,
    ended: bool,
}

impl RunOrder {
    /// Before the first run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives out the plaintext of the next run, a chunk at a time, and what is wrong behind it. After an error nothing more
    /// may be accepted.
    ///
    /// # Panics
    /// Where it is another run's turn.
    pub fn accept<'a>(&mut self, run: OpenedRun<'a>) -> (Vec<&'a [u8]>, Result<(), PayloadError>) {
        assert_eq!(run.first, self.next, "runs are accepted in their order");
        if self.ended && run.count > 0 {
            return (Vec::new(), Err(PayloadError::Trailing));
        }
        self.next = run.first.saturating_add(run.count);
        self.ended |= run.ended;
        (run.plaintext, run.error.map_or(Ok(()), Err))
    }

    /// Says whether the last chunk was reached.
    pub fn finish(&self) -> Result<(), PayloadError> {
        if self.ended {
            Ok(())
        } else {
            Err(PayloadError::Truncated)
        }
    }
}

#[cfg(test)]
mod tests;
