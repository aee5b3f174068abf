//! Where an upload stands between two requests, as its last entry tells.

use super::SessionError;
use super::record::{Entry, Event, Final, Finish, NewSession, OpenSegment};
use crate::store::SegmentName;
use crate::upload::digest::Digests;

/// Where an upload stands.
pub(super) struct State {
    /// The number that the next entry gets.
    pub(super) next: u32,
    pub(super) offset: u64,
    pub(super) segments: u32,
    pub(super) length: Option<u64>,
    pub(super) last_sealed_size: u64,
    pub(super) last_name: Option<SegmentName>,
    pub(super) digests: Digests,
    pub(super) phase: Phase,
}

pub(super) enum Phase {
    /// It takes more.
    Open,
    /// A segment has no end: the server did not come to it.
    Interrupted(OpenSegment),
    /// It was to be published.
    Finishing(Finish),
    Finished(Finish),
    /// A part that is about to go into a final upload.
    Joining(Final),
    /// A part that went into a final upload.
    Concatenated(Final),
}

impl State {
    /// Of an upload that has no entries yet.
    pub(super) fn new(head: &NewSession) -> Self {
        Self {
            next: 0,
            offset: 0,
            segments: 0,
            length: head.length,
            last_sealed_size: 0,
            last_name: None,
            digests: Digests::new(head.with_sha512()),
            phase: Phase::Open,
        }
    }

    pub(super) fn after(number: u32, entry: Entry) -> Result<Self, SessionError> {
        Ok(Self {
            next: number + 1,
            offset: entry.offset,
            segments: entry.segments,
            length: entry.length,
            last_sealed_size: entry.last_sealed_size,
            last_name: entry.last_name,
            digests: match entry.digests {
                Some(digests) => digests.resume().ok_or(SessionError::Lost)?,
                None => Digests::new(false),
            },
            phase: match entry.event {
                Event::Length | Event::Closed(_) => Phase::Open,
                Event::Open(segment) => Phase::Interrupted(segment),
                Event::Finishing(finish) => Phase::Finishing(finish),
                Event::Finished(finish) => Phase::Finished(finish),
                Event::Joining(into) => Phase::Joining(into),
                Event::Concatenated(into) => Phase::Concatenated(into),
            },
        })
    }
}
