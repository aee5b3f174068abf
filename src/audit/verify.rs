//! Reading a log again, line by line, whatever was done to it.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::time::SystemTime;

use super::TORN;
use super::chain::{Chain, Hash, Line, MAX_TORN};
use super::entry::Event;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// It is no line of an audit log.
    NotALine,
    /// It has no end.
    Cut,
    /// It is torn, and the next line does not say so.
    Torn,
    /// It says that lines were torn, and none were.
    NotTorn,
    /// Lines are missing before it.
    Missing {
        /// The number of the first.
        first: u64,
        /// The number of the last.
        last: u64,
    },
    /// It was swapped with the next one.
    Swapped,
    /// It has the number of an earlier line.
    Again {
        /// Its number.
        seq: u64,
    },
    /// It was changed.
    Changed,
    /// It was, or the one before it, which is the last of what can tell.
    OneOfTwoChanged,
    /// It is not the first line of a log, nor one that goes on where another file ended.
    NoBeginning,
    /// It begins a log of its own.
    OtherLog,
    /// It is the last, and no line has the hash that was asked for.
    NotTheHead,
    /// There is none: a log has one from its first start on.
    Empty,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotALine => "changed: this is no line of an audit log",
            Self::Cut => {
                "cut: it has no end (where the server crashed, its next start says so in the log)"
            }
            Self::Torn => "cut: it is torn, and the next line does not say so",
            Self::NotTorn => "changed: it speaks of a torn line that is not there",
            Self::Missing { first, last } if first == last => {
                return write!(f, "removed: line number {first} is missing before it");
            }
            Self::Missing { first, last } => {
                return write!(
                    f,
                    "removed: lines number {first} to {last} are missing before it"
                );
            }
            Self::Swapped => "swapped: the line after it belongs before it",
            Self::Again { seq } => {
                return write!(f, "inserted or out of order: it has the number {seq} again");
            }
            Self::Changed => "changed: its hash is not the one in the line after it",
            Self::OneOfTwoChanged => {
                "changed: it or the line before it; they do not belong together"
            }
            Self::NoBeginning => {
                "removed: lines are missing before it, back to the beginning of the file"
            }
            Self::OtherLog => {
                "another log begins with it: it does not go on where the file before ended"
            }
            Self::NotTheHead => "cut, or written anew: no line has the hash that was given",
            Self::Empty => "cut: there is not a single line",
        })
    }
}

/// Why a log did not pass.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("cannot read it")]
    Read(#[from] io::Error),
    /// It is damaged.
    #[error("line {line}: {damage}")]
    Damaged {
        /// The first line that is wrong, counted from 1 in its file.
        line: u64,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What a log holds that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// How many lines, those aside that a crash tore.
    pub lines: u64,
    /// The number of the first: not 1 where earlier files were not given.
    pub from: u64,
    /// When it was written.
    pub first: SystemTime,
    /// When the last was written.
    pub last: SystemTime,
    /// The hash of the last.
    pub head: Hash,
}

/// Reads the files of a log, oldest first.
pub struct Verifier {
    chain: Chain,
    seen: Option<Verified>,
    /// The hash of a line that has not come yet.
    head: Option<Hash>,
    /// Lines of the file that is being read.
    line: u64,
}

impl Verifier {
    /// `head`: the hash of a line that must be there, as it was told when the log had come so far.
    pub fn new(head: Option<Hash>) -> Self {
        Self {
            chain: Chain::new(),
            seen: None,
            head,
            line: 0,
        }
    }

    /// Reads one file, in bounded memory whatever is in it.
    pub fn read(&mut self, file: &mut impl BufRead) -> Result<(), VerifyError> {
        self.line = 0;
        let mut text = Vec::new();
        loop {
            next(file, &mut text)?;
            if text.is_empty() {
                return Ok(());
            }
            self.line += 1;
            if text.len() > MAX_TORN {
                return Err(self.damaged(Damage::NotALine));
            }
            // Without an end it is the last of its file. What is torn, the next line has to speak of.
            if text.ends_with(TORN) || !text.ends_with(b"\n") {
                self.chain.tear(&text);
                continue;
            }
            let line = Line::parse(&text).ok_or_else(|| self.damaged(Damage::NotALine))?;
            self.check(&line, &text, file)?;
            self.chain = Chain::after(line.seq, &text);
            let head = self.chain.head();
            if self.head == Some(head) {
                self.head = None;
            }
            let seen = self.seen.get_or_insert(Verified {
                lines: 0,
                from: line.seq,
                first: line.time,
                last: line.time,
                head,
            });
            seen.lines += 1;
            seen.last = line.time;
            seen.head = head;
        }
    }

    /// Says what was read, when that was all.
    pub fn finish(&self) -> Result<Verified, VerifyError> {
        if self.chain.torn > 0 {
            return Err(self.damaged(Damage::Cut));
        }
        let seen = self.seen.ok_or_else(|| self.damaged(Damage::Empty))?;
        match self.head {
            Some(_) => Err(self.damaged(Damage::NotTheHead)),
            None => Ok(seen),
        }
    }

    fn damaged(&self, damage: Damage) -> VerifyError {
        VerifyError::Damaged {
            line: self.line,
            damage,
        }
    }

    /// Whether a line follows from what was read before.
    fn check(&self, line: &Line, text: &[u8], file: &mut impl BufRead) -> Result<(), VerifyError> {
        let before = || VerifyError::Damaged {
            line: self.line.saturating_sub(1),
            damage: Damage::Changed,
        };
        let begins = line.seq == 1 && line.prev == Hash::NONE;
        if self.seen.is_none() && self.chain.torn == 0 {
            let follows = matches!(line.event, Some(Event::Rotated | Event::Resumed));
            return if begins || (follows && line.seq > 1) {
                Ok(())
            } else {
                Err(self.damaged(Damage::NoBeginning))
            };
        }
        // No log comes so far; a line that says so was not written by one.
        let expected = self.chain.seq.saturating_add(1);
        if line.seq > expected {
            let next = peek(file)?;
            return Err(self.damaged(match next {
                Some(next) if next.seq == expected => Damage::Swapped,
                _ => Damage::Missing {
                    first: expected,
                    last: line.seq - 1,
                },
            }));
        }
        if line.seq < expected {
            let other = begins && self.line == 1;
            return Err(self.damaged(if other {
                Damage::OtherLog
            } else {
                Damage::Again { seq: line.seq }
            }));
        }
        let resumed = line.event == Some(Event::Resumed);
        if self.chain.torn > 0 && !resumed {
            return Err(self.damaged(Damage::Torn));
        }
        if line.prev != self.chain.head() {
            // The line after it tells which of the two was changed.
            let own = Chain::after(line.seq, text).head();
            return Err(match peek(file)? {
                Some(next) if next.prev == own && self.line > 1 => before(),
                Some(next) if next.seq == line.seq + 1 && next.prev != own => {
                    self.damaged(Damage::Changed)
                }
                _ => self.damaged(Damage::OneOfTwoChanged),
            });
        }
        if resumed && self.chain.torn == 0 {
            return Err(self.damaged(Damage::NotTorn));
        }
        Ok(())
    }
}

/// Reads one line, with its end, or a little more than a line may have.
fn next(file: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<()> {
    text.clear();
    let mut bounded = Read::take(file, MAX_TORN as u64 + 1);
    bounded.read_until(b'\n', text)?;
    Ok(())
}

/// The next line, where there is one. Only for saying better what is wrong: it is not read again.
fn peek(file: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut text = Vec::new();
    next(file, &mut text)?;
    Ok(Line::parse(&text))
}
