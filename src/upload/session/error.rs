//! Why a resumable upload cannot be gone on with.

use crate::grant::Refused;
use crate::seal::SealError;
use crate::store::{MAX_SEGMENTS, StoreError};
use crate::upload::ClientSealedError;
use crate::upload::receive::ReceiveError;

/// Why a resumable upload cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such upload, another secret, or expired.
    #[error(
        "there is no such upload: it was never created, was cancelled or has expired; begin anew"
    )]
    Unknown,
    /// Its record or what it had received is damaged. Nothing that was acknowledged may be passed over.
    #[error("what the server kept of this upload is damaged; begin anew")]
    Lost,
    /// More bodies than an upload can have segments.
    #[error("an upload takes at most {MAX_SEGMENTS} requests that bring data; send larger pieces")]
    TooManySegments,
    /// More came than the length that was given.
    #[error("more was sent than the length that was given; the upload is void")]
    TooLong,
    /// It is finished, or part of another.
    #[error("the upload is complete and takes nothing more")]
    Complete,
    /// A part that is to be concatenated has not arrived whole.
    #[error("an upload that is to be concatenated is no part, or not complete yet")]
    PartIncomplete,
    /// The same part twice.
    #[error("the same part is named twice; send it twice to have it twice")]
    PartTwice,
    /// A part that went into another upload already.
    #[error("a part went into another upload already; send it again to use it once more")]
    PartUsed,
    /// It is, or its parts are together, larger than it may be.
    #[error("the upload is larger than the {0} bytes that are allowed")]
    TooLarge(u64),
    /// It calls itself an age file and is none that could be opened here.
    #[error(transparent)]
    ClientSealed(#[from] ClientSealedError),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The link that it comes through was revoked.
    #[error("the link was revoked: nothing more is taken through it")]
    LinkRevoked,
    /// It cannot be taken back any more.
    #[error("the time in which the upload could be taken back is over")]
    WithdrawalOver,
    /// Parts and what is made of them came in different ways.
    #[error(
        "parts, and what is made of them, must all come through the same link, or all through none"
    )]
    PartForeign,
    /// Receiving failed.
    #[error(transparent)]
    Receive(ReceiveError),
}

impl SessionError {
    /// Whether another server went on with the upload.
    pub(super) fn is_overtaken(&self) -> bool {
        matches!(
            self,
            Self::Receive(ReceiveError::Store(StoreError::Overtaken))
        )
    }

    /// Whether it says that what arrived is not what it should be. To try again would not help.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::ClientSealed(_) | Self::Receive(ReceiveError::Digest(_))
        )
    }
}

impl From<ReceiveError> for SessionError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Refused(refused) => refused.into(),
            ReceiveError::TooLarge(limit) => Self::TooLarge(limit),
            error => Self::Receive(error),
        }
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Receive(error.into())
    }
}

impl From<Refused> for SessionError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Revoked | Refused::Unknown => Self::LinkRevoked,
            refused => Self::Receive(ReceiveError::Refused(refused)),
        }
    }
}

impl From<SealError> for SessionError {
    fn from(error: SealError) -> Self {
        Self::Receive(error.into())
    }
}
